"""What the experiments vary, and what the original says will come of it: settings and hypotheses, as data alone.

A new experiment is one entry in EXPERIMENTS.
"""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Trial:
    """All that a result depends on. What is not here is as the preset has it: batches, optimizers, learning rates."""

    steps: int = 300  # of training
    images: Literal["faces", "all", "happy or sad", "emotions"] = "faces"  # all: tested on faces alone
    classes: Literal["none", "happy or sad", "emotions", "two emotions"] = "none"  # what the classifier learns
    weight: float = 0.5  # lambda, of the classification loss
    latent: int = 128  # numbers an image is compressed to, and components of PCA
    dropout: float = 0.2
    augmentation: Literal["none", "report", "strong", "adversarial"] = "report"
    copies: int | Literal["none", "fresh"] = 4  # augmented copies of each original; fresh: new ones at every step
    source: str = "twemoji"
    seed: int = 0  # of the split, the copies, the weights and the order
    preset: Literal["report", "best"] = "report"  # whose network and optimizers

    def __post_init__(self):
        if self.preset == "best" and self.dropout:
            raise ValueError("the best preset's network has no dropout")
        if self.copies == "fresh" and self.augmentation not in ("report", "strong"):
            raise ValueError(f"fresh copies are augmented, not {self.augmentation}")


def of_preset(trial: Trial, preset: str) -> Trial:
    """A trial of the report preset as `preset` would do it: the best one has no dropout, and its copies are fresh."""
    if preset == "report":
        return trial
    fresh = trial.copies != "none" and trial.augmentation in ("report", "strong")
    return replace(trial, preset=preset, dropout=0.0, copies="fresh" if fresh else "none")


@dataclass(frozen=True)
class Comparison:
    """Expects `metric` to be `expected` with `setting` than with `reference`."""

    metric: Literal["mse", "balanced_accuracy"]
    setting: str
    expected: Literal["lower", "higher"]
    reference: str


@dataclass(frozen=True)
class Hypothesis:
    """Something the original says, under a letter, as comparisons that must all come out as expected."""

    letter: str
    text: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Experiment:
    varied: str  # label of the figure's axis
    settings: dict[str, Trial]
    hypotheses: tuple[Hypothesis, ...]


FACES = Trial()  # Part 1: 300 steps, as many as 23 epochs of the original on unseen emoji
# Part 2: its 10 epochs
CLASSIFIER = Trial(images="happy or sad", classes="happy or sad", copies=50, dropout=0.0, steps=150)
EMOTIONS = replace(CLASSIFIER, images="emotions", classes="emotions", copies=10, steps=300)

EXPERIMENTS = {
    "latent": Experiment(
        "numbers in the latent",
        {str(latent): replace(CLASSIFIER, latent=latent) for latent in (16, 32, 64, 128, 256, 512)},
        (
            Hypothesis(
                "2f.2",
                "128 numbers are too few for reconstruction and classification: more of them do both better",
                (Comparison("mse", "512", "lower", "128"), Comparison("balanced_accuracy", "512", "higher", "128")),
            ),
            Hypothesis(
                "2f.2",
                "the test it proposes: larger latents classify better but reconstruct worse",
                (Comparison("balanced_accuracy", "512", "higher", "128"), Comparison("mse", "512", "higher", "128")),
            ),
        ),
    ),
    "weight": Experiment(
        "weight of the classification loss",
        {f"{weight:g}": replace(CLASSIFIER, weight=weight) for weight in (0.0, 0.1, 0.5, 1.0, 5.0)},
        (
            Hypothesis(
                "2e",
                "classification competes with reconstruction",
                (Comparison("mse", "0.5", "higher", "0"),),
            ),
            Hypothesis("2e", "too high a weight costs reconstruction", (Comparison("mse", "5", "higher", "0.5"),)),
            Hypothesis(
                "2e",
                "too low a weight does little for classification",
                (Comparison("balanced_accuracy", "0.1", "lower", "0.5"),),
            ),
        ),
    ),
    "emotions": Experiment(
        "classes",
        {
            "none": replace(EMOTIONS, classes="none"),
            "happy or sad": replace(EMOTIONS, classes="two emotions"),
            "seven emotions": EMOTIONS,
        },
        (
            Hypothesis(
                "2f.1",
                "a harder classification makes for better features",
                (Comparison("mse", "seven emotions", "lower", "happy or sad"),),
            ),
            Hypothesis(
                "2f.1",
                "a hard classification helps the autoencoder",
                (Comparison("mse", "seven emotions", "lower", "none"),),
            ),
        ),
    ),
    "augmentation": Experiment(
        "augmentation of the training images",
        {name: replace(FACES, augmentation=name) for name in ("none", "report", "strong", "adversarial")},
        (
            Hypothesis(
                "1h",
                "augmentation makes the network generalize better",
                (Comparison("mse", "report", "lower", "none"),),
            ),
            Hypothesis(
                "2f.3",
                "augmentation makes reconstruction harder",
                (Comparison("mse", "report", "higher", "none"),),
            ),
            Hypothesis(
                "1a",
                "adversarial examples are worth exploring as augmentation",
                (Comparison("mse", "adversarial", "lower", "none"),),
            ),
        ),
    ),
    "data": Experiment(
        "training material",
        {
            "faces": FACES,
            "all pictures": replace(FACES, images="all", copies=1),
            "all, no copies": replace(FACES, images="all", copies="none"),
        },
        (
            Hypothesis(
                "3c.2",
                "the faces are too few, more emoji would help",
                (Comparison("mse", "all pictures", "lower", "faces"),),
            ),
            Hypothesis(
                "2f.3",
                "with enough originals no augmentation is needed",
                (Comparison("mse", "all, no copies", "lower", "faces"),),
            ),
        ),
    ),
    "dropout": Experiment(
        "dropout in the latent",
        {f"{dropout:g}": replace(FACES, dropout=dropout) for dropout in (0.0, 0.2, 0.5)},
        (Hypothesis("1c", "dropout of 0.2 prevents overfitting", (Comparison("mse", "0.2", "lower", "0"),)),),
    ),
}
