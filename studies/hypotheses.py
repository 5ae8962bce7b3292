"""What the experiments vary, and what should come of it: settings and hypotheses, as data alone.

A new experiment is one entry in EXPERIMENTS.
"""

from dataclasses import asdict, dataclass, replace
from typing import Literal

BUDGETS = (300, 1000, 3000)  # steps after which there are verdicts; the last one counts


@dataclass(frozen=True)
class Trial:
    """All that a result depends on. What is not here is as the preset has it: optimizers and learning rates."""

    steps: int = BUDGETS[-1]  # of training
    batch_size: int = 32  # images per step; half of the original's, so that an experiment takes minutes
    images: Literal["faces", "all", "happy or sad", "emotions"] = "faces"  # all: tested on faces alone
    classes: Literal["none", "happy or sad", "emotions", "two emotions"] = "none"  # what the classifier learns
    weight: float = 0.5  # lambda, of the classification loss
    latent: int = 128  # numbers an image is compressed to, and components of PCA
    dropout: float = 0.2
    augmentation: Literal["none", "original", "adversarial"] = "original"
    copies: int | Literal["none", "fresh"] = 4  # augmented copies of each original; fresh: new ones at every step
    source: str = "twemoji"
    also: tuple[str, ...] = ()  # further art styles to train on
    hold_out_style: str | None = None  # an art style that is only tested on
    seed: int = 0  # of the split, the copies, the weights and the order
    preset: Literal["report", "best"] = "report"  # whose network and optimizers
    device: str = "cpu"  # on which it is trained

    def __post_init__(self):
        if self.preset == "best" and self.dropout:
            raise ValueError("the best preset's network has no dropout")
        if self.copies == "fresh" and self.augmentation != "original":
            raise ValueError(f"fresh copies are augmented, not {self.augmentation}")

    def recorded(self) -> dict:
        """The trial as it is read again from JSON."""
        return asdict(self) | {"also": list(self.also)}


def of_preset(trial: Trial, preset: str) -> Trial:
    """A trial of the report preset as `preset` would do it: the best one has no dropout, and its copies are fresh."""
    if preset == "report":
        return trial
    fresh = trial.copies != "none" and trial.augmentation == "original"
    return replace(trial, preset=preset, dropout=0.0, copies="fresh" if fresh else "none")


@dataclass(frozen=True)
class Hypothesis:
    """Something the original says, or we ask, under a letter: `metric` will be `expected` with `setting` than with `reference`.

    The gap is the MSE on unseen emoji minus that on the training emoji, both upright: overfitting.
    """

    letter: str
    text: str
    metric: Literal["mse", "copies_mse", "train_mse", "gap", "unseen_style_mse", "balanced_accuracy"]
    setting: str
    expected: Literal["lower", "higher"]
    reference: str


@dataclass(frozen=True)
class Experiment:
    varied: str  # label of the figure's axis
    settings: dict[str, Trial]
    hypotheses: tuple[Hypothesis, ...]


FACES = Trial()  # Part 1
CLASSIFIER = Trial(images="happy or sad", classes="happy or sad", copies=50, dropout=0.0)  # Part 2
EMOTIONS = replace(CLASSIFIER, images="emotions", classes="emotions", copies=10)

EXPERIMENTS = {
    "dropout": Experiment(
        "dropout in the latent",
        {f"{dropout:g}": replace(FACES, dropout=dropout) for dropout in (0.0, 0.2, 0.5)},
        (
            Hypothesis("1c", "dropout of 0.2 prevents overfitting", "gap", "0.2", "lower", "0"),
            Hypothesis("1c", "dropout of 0.2 lowers the error on unseen emoji", "mse", "0.2", "lower", "0"),
        ),
    ),
    "augmentation": Experiment(
        "augmentation",
        {name: replace(FACES, augmentation=name) for name in ("none", "original", "adversarial")},
        (
            Hypothesis(
                "1h", "augmentation improves generalization: less overfitting", "gap", "original", "lower", "none"
            ),
            Hypothesis("1h", "augmentation lowers the error on unseen emoji", "mse", "original", "lower", "none"),
            Hypothesis(
                "1h",
                "augmentation lowers the error on moved and recoloured unseen emoji",
                "copies_mse",
                "original",
                "lower",
                "none",
            ),
            Hypothesis(
                "2f.3",
                "augmentation makes the training emoji harder to reconstruct",
                "train_mse",
                "original",
                "higher",
                "none",
            ),
            Hypothesis(
                "1a", "adversarial examples are worth exploring as augmentation", "mse", "adversarial", "lower", "none"
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
            Hypothesis("3c.2", "a larger dataset would help", "mse", "all pictures", "lower", "faces"),
            Hypothesis(
                "2f.3", "with enough originals no augmentation is needed", "mse", "all, no copies", "lower", "faces"
            ),
        ),
    ),
    "styles": Experiment(
        "art styles in training",
        {
            "one": replace(FACES, hold_out_style="noto"),
            "two": replace(FACES, also=("openmoji",), hold_out_style="noto"),
            "three": replace(FACES, also=("openmoji", "noto")),
        },
        (
            Hypothesis(
                "3c.2", "another artist's faces help on the first one's unseen emoji", "mse", "two", "lower", "one"
            ),
            Hypothesis("3c.2", "two other artists' faces do", "mse", "three", "lower", "one"),
            Hypothesis("2f.3", "faces by more artists make for less overfitting", "gap", "three", "lower", "one"),
            Hypothesis(
                "3c.2", "a second artist's faces help on a style never seen", "unseen_style_mse", "two", "lower", "one"
            ),
        ),
    ),
    "weight": Experiment(
        "weight of the classification loss",
        {f"{weight:g}": replace(CLASSIFIER, weight=weight) for weight in (0.0, 0.5, 5.0)},
        (
            Hypothesis("2e", "classification competes with reconstruction", "mse", "0.5", "higher", "0"),
            Hypothesis("2e", "too high a weight costs reconstruction", "mse", "5", "higher", "0.5"),
        ),
    ),
    "low-weight": Experiment(
        "weight of the classification loss",
        {f"{weight:g}": replace(CLASSIFIER, weight=weight) for weight in (0.1, 0.5)},
        (
            Hypothesis(
                "2e", "too low a weight does little for classification", "balanced_accuracy", "0.1", "lower", "0.5"
            ),
        ),
    ),
    "copies": Experiment(
        "augmented copies of each emoji",
        {
            "none": replace(CLASSIFIER, augmentation="none", copies="none"),
            "4": replace(CLASSIFIER, copies=4),
            "50": CLASSIFIER,
        },
        (
            Hypothesis("2e", "50 copies of each emoji resulted in overfitting", "gap", "50", "higher", "4"),
            Hypothesis(
                "2f.3", "augmentation makes the classification robust", "balanced_accuracy", "50", "higher", "none"
            ),
            Hypothesis("2f.3", "augmentation hurts the reconstruction beside it", "mse", "50", "higher", "none"),
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
                "mse",
                "seven emotions",
                "lower",
                "happy or sad",
            ),
            Hypothesis(
                "2f.1", "a hard classification benefits the autoencoder", "mse", "seven emotions", "lower", "none"
            ),
        ),
    ),
    "latent": Experiment(
        "numbers in the latent",
        {str(latent): replace(CLASSIFIER, latent=latent) for latent in (64, 128, 512)},
        (
            Hypothesis("2f.2", "larger latents classify better", "balanced_accuracy", "512", "higher", "128"),
            Hypothesis("2f.2", "larger latents reconstruct worse", "mse", "512", "higher", "128"),
            Hypothesis("2f.2", "a smaller latent generalizes better: less overfitting", "gap", "64", "lower", "128"),
        ),
    ),
}
