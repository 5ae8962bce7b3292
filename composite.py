"""Part 3: composites by latent arithmetic, scored against the emoji that really exists.

    python composite.py                                   # heart-shaped eyes onto the cat, as in the original
    python composite.py --target 😺 --baseline 😃 --featured 😢 --out runs/crying
    python composite.py --method mean --out runs/mean     # ideas for better composites: mean, isolated, map
    python composite.py --model runs/multitask --out runs/multitask-composite  # in Part 2's latent

z = z_target + strength x (z_featured - z_baseline), decoded by the network that Part 1 left in runs/autoencoder.
Writes runs/composite/ and plots/composite_*.png.
Expect an MSE to the true picture of about 0.027: better than the unchanged target (0.041), no better than PCA.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common import command_line
from common.errors import UserError

LARGEST_STRENGTH = 1000  # beyond it a composite is a corner of the colour cube
STRIP = [i / 4 for i in range(9)]  # strengths of the strip, 0 to 2


@dataclass(frozen=True, kw_only=True)
class Config:
    """Add an attribute to a picture in latent space, and score the composite."""

    source: str = "auto"  # that of the network in --model, or hub, twemoji, your own parquet file or image folder
    target: str = "smiling cat face with open mouth"  # the picture to change: a name or the emoji itself
    baseline: str = "grinning face"  # a picture without the attribute
    featured: str = "smiling face with heart-shaped eyes"  # a picture with the attribute
    truth: str = "auto"  # the picture that the composite should be; auto knows it for nine cats and faces

    method: Literal["difference", "mean", "isolated", "map"] = "difference"  # how the attribute is found
    strength: float = 1.0  # how much of the attribute is added

    model: Path = Path("runs/autoencoder")  # folder of a trained network; Part 1 is trained there if there is none
    network: str = "convolutional"  # architecture to train there; of your own as my_file.py:MyClass, also to load it
    device: str = "auto"  # auto takes CUDA, MPS or the processor; cpu, cuda or mps decide
    out: Path = Path("runs/composite")  # folder of the record
    plots: Path = Path("plots")  # folder of the figures
    overwrite: bool = False  # replace the record in --out, whatever it is of

    def __post_init__(self):
        if not abs(self.strength) <= LARGEST_STRENGTH:
            limits = f"between -{LARGEST_STRENGTH} and {LARGEST_STRENGTH}"
            raise UserError(f"--strength is {self.strength}; it must be {limits}")


if __name__ == "__main__":
    command_line.answer(Config)  # --help and mistakes: before the imports that take seconds

import torch

import data
from common import figures, files, names
from lab import arithmetic, baselines, records, trained, training
from lab.arithmetic import COUNTERPARTS, Space
from lab.options import ReportRun


@dataclass(frozen=True)
class Equation:
    """target + featured - baseline = truth, as indices into the originals."""

    target: int
    baseline: int
    featured: int
    truth: int | None  # None: no such picture is known
    known: list[tuple[int, int]]  # cats and their human counterparts, but for the truth

    def sources(self) -> list[int]:
        return [self.target, self.baseline, self.featured]


def equation_of(config: Config, everything: data.Originals) -> Equation:
    """The pictures that are asked for. Raises UserError if there are none such, or too few pairs for the method."""
    asked = (config.target, config.baseline, config.featured)
    target, baseline, featured = (names.find(everything.names, name) for name in asked)
    truth = known_truth(everything.names, config.truth, target, featured)
    known = [
        (everything.names.index(cat), everything.names.index(human))
        for cat, human in COUNTERPARTS.items()
        if {cat, human} <= set(everything.names) and truth != everything.names.index(cat)
    ]
    if config.method != "difference" and len(known) < 2:
        learns = f"--method {config.method} learns from cats with human counterparts"
        raise UserError(f"{learns}, of which {everything.source} has {len(known)}; use --method difference")
    return Equation(target, baseline, featured, truth, known)


def known_truth(all_names: list[str], truth: str, target: int, featured: int) -> int | None:
    """Index of the picture that the composite should be, if there is one."""
    if truth != "auto":
        return names.find(all_names, truth)
    cats = {human: cat for cat, human in COUNTERPARTS.items()}
    answer = cats.get(all_names[featured])
    return all_names.index(answer) if all_names[target] in COUNTERPARTS and answer in all_names else None


def compose(space: Space, equation: Equation, method: str, strengths: list[float]) -> torch.Tensor:
    """(S, 3, H, W) composites in [0, 1], one for each strength, from a space with one row per original."""
    z = space.latents
    attribute = arithmetic.ATTRIBUTES[method](z, *equation.sources(), equation.known)
    return space.decode(torch.stack([z[equation.target] + strength * attribute for strength in strengths]))


def reduced(equation: Equation, everything: data.Originals) -> tuple[Equation, torch.Tensor]:
    """The equation with its pictures alone, counted anew, and these pictures: what the arithmetic looks at."""
    used = sorted({*equation.sources(), *(i for pair in equation.known for i in pair)})
    place = {original: row for row, original in enumerate(used)}
    known = [(place[cat], place[human]) for cat, human in equation.known]
    return Equation(*(place[i] for i in equation.sources()), None, known), everything.images[used]


def score(answers: dict[str, torch.Tensor], everything: data.Originals, equation: Equation) -> dict[str, dict]:
    """Each answer's scores against the true picture, over all of it and in the region where it differs from the target.

    The rank is among all pictures of the source, 1 for the nearest.
    """
    truth, target = (data.to_float(everything.images[i]) for i in (equation.truth, equation.target))
    region = (truth - target).abs().amax(0) > arithmetic.VISIBLE_DIFFERENCE
    errors = arithmetic.squared_errors(torch.stack(list(answers.values())), everything.images)
    ranks = arithmetic.ranks(errors, [equation.truth] * len(answers), [equation.sources()] * len(answers))
    similarities = (arithmetic.similarity(answer, truth, region) for answer in answers.values())
    return {name: {**similarity, "rank_of_truth": rank} for name, similarity, rank in zip(answers, similarities, ranks)}


def table(scores: dict[str, dict], truth: str, count: int) -> str:
    """The scores, one line per answer; `count` pictures were ranked."""
    lines = [
        f"truth: {truth}; scores over the picture, and in the region where it differs from the target",
        f"{'':18} {'MSE':>7} {'SSIM':>7} {'MSE in':>7} {'SSIM in':>7} {f'rank of {count}':>13}",
    ]
    for name, row in scores.items():
        mse, ssim, mse_in, ssim_in, rank = row.values()
        lines.append(f"{name.replace('_', ' '):18} {mse:7.4f} {ssim:7.3f} {mse_in:7.4f} {ssim_in:7.3f} {rank:13}")
    return "\n".join(lines)


def formula(config: Config) -> tuple[tuple[str, ...], str]:
    """The signs before target, featured, baseline and composite, and the label, which names another formula."""
    if config.method == "difference" and config.strength == 1:
        return ("", "+", "−", "="), "composite"
    return ("", "", "", "→"), f"composite\n{config.method}, strength {config.strength:g}"


def draw(config: Config, everything: data.Originals, equation: Equation, network: Space, small: Equation) -> None:
    """The equation in pictures, target and composite side by side, and the strip of strengths.

    `small` is the equation as indices into the network's space.
    """
    shown = (equation.target, equation.featured, equation.baseline)
    pictures = [data.to_float(everything.images[i]) for i in shown]
    reconstructions = network.decode(network.latents[[small.target, small.featured, small.baseline]])
    composite, *strip = compose(network, small, config.method, [config.strength, *STRIP])
    truth = None if equation.truth is None else data.to_float(everything.images[equation.truth])
    signs, about = formula(config)
    titles = [*(everything.names[i] for i in shown), about]
    reconstructions = torch.cat([reconstructions, composite[None]])
    for path in (
        figures.equation(pictures, reconstructions, titles, signs, truth, config.plots / "composite_equation.png"),
        figures.strip([pictures[0], composite], ["target", "composite"], config.plots / "composite_side_by_side.png"),
        figures.strip(strip, [f"strength {strength:g}" for strength in STRIP], config.plots / "composite_strip.png"),
    ):
        print("figure", path)


def described(config: Config, everything: data.Originals, equation: Equation, splits: data.Splits, latent: int) -> dict:
    """What the record says of a composite beside its scores."""
    metrics = {"source": everything.source, "method": config.method, "strength": config.strength, "latent": latent}
    metrics |= {role: everything.names[getattr(equation, role)] for role in ("target", "baseline", "featured")}
    metrics["truth"] = None if equation.truth is None else everything.names[equation.truth]
    if equation.truth is not None:
        metrics["truth_in_training"] = metrics["truth"] in {splits.originals.names[i] for i in splits.train.emoji}
    return metrics


def main(config: Config) -> dict:
    """Compose, score, draw and record. Returns the metrics that go into metrics.json."""
    device = training.choose_device(config.device)
    everything = data.load_originals(trained.source_for(config.source, config.model), keyword="")
    equation = equation_of(config, everything)
    files.writable(config.out, config.plots)
    part1 = ReportRun(
        source=everything.source, network=config.network, device=config.device, out=config.model, plots=config.model
    )
    model, trained_on = trained.network(part1)
    with records.recording(config, everything, device) as record:
        splits = trained.splits_of(model, trained_on)
        small, images = reduced(equation, everything)
        network = arithmetic.network_space(model.to(device), images, device)
        spaces = {
            "composite": network,
            "pixel_arithmetic": arithmetic.pixel_space(images),
            "pca_arithmetic": arithmetic.pca_space(images, baselines.fit_pca(splits.train.images, model.latent)),
        }
        answers = {name: compose(space, small, config.method, [config.strength])[0] for name, space in spaces.items()}
        metrics = described(config, everything, equation, splits, model.latent)
        if equation.truth is not None:
            unchanged = data.to_float(everything.images[equation.target])
            scores = score({**answers, "unchanged_target": unchanged}, everything, equation)
            print(table(scores, metrics["truth"], len(everything.names)))
            metrics |= scores.pop("composite") | scores
        draw(config, everything, equation, network, small)
        return record.finish(metrics)


if __name__ == "__main__":
    command_line.run(main, Config)
