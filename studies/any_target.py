"""The original's attribute on sixteen targets that have no true picture: what it looks like, and what is nearest."""

import torch

import data
from common import names
from lab import arithmetic, composites, pretrained
from lab.composites import Equation

TARGETS = (
    "dog face", "full moon with face", "robot face", "slice of pizza", "sun with face", "panda face", "frog face",
    "ghost", "baby", "snowman without snow", "tiger face", "jack-o-lantern", "alien monster", "pile of poo",
    "cow face", "nerd face",
)  # fmt: skip
BASELINE, FEATURED = "grinning face", "smiling face with heart-shaped eyes"
METHODS = {"difference": "original's network", "learned": "learned composer"}
CPU = torch.device("cpu")


def equations(everything: data.Originals) -> list[Equation]:
    """The original's attribute for each target. Raises UserError for one that the source has not."""
    baseline, featured = (names.find(everything.names, name, everything.codes) for name in (BASELINE, FEATURED))
    targets = [names.find(everything.names, name, everything.codes) for name in TARGETS]
    return [Equation(target, baseline, featured, None, []) for target in targets]


def measure(everything: data.Originals) -> tuple[list[dict], dict[str, torch.Tensor]]:
    """The nearest emoji of every composite, three sources left out, and each method's (16, 3, 64, 64) composites."""
    model, _ = pretrained.load("report")
    rows, made = [], {method: [] for method in METHODS}
    for equation in equations(everything):
        small, images = composites.reduced(equation, everything)
        network = arithmetic.network_space(model, images, CPU)
        for method, label in METHODS.items():
            space = composites.space_of(method, network, images)
            composite = composites.compose(space, small, method, [1.0])[0]
            errors = composites.errors_to_all({label: composite}, everything)
            nearest, mse = composites.nearest(errors[label], equation)
            about = {"target": everything.names[equation.target], "method": label}
            rows.append(about | {"nearest": everything.names[nearest], "mse": mse})
            made[method].append(composite)
    return rows, {method: torch.stack(pictures) for method, pictures in made.items()}
