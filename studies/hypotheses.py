"""What the experiments vary, and what the coursework expects of it: settings and hypotheses, as data alone.

A setting is what differs from the coursework's training (studies/trial.py says what can). A new experiment is one entry
in EXPERIMENTS."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Hypothesis:
    """A claim of the coursework, or our question: with `setting`, `metric` is lower or higher than with `reference`.
    The gap is the MSE on unseen emoji minus that on the training emoji, both upright: overfitting."""

    letter: str  # the coursework's question
    text: str
    metric: Literal["mse", "copies_mse", "train_mse", "gap", "unseen_style_mse", "balanced_accuracy", "probe_accuracy"]
    setting: str
    expected: Literal["lower", "higher"]
    reference: str


@dataclass(frozen=True)
class Experiment:
    """Some settings by name, and hypotheses on pairs of them."""

    varied: str  # label of the figure
    settings: dict[str, dict]
    hypotheses: tuple[Hypothesis, ...]


CLASSIFIER = {"images": "happy or sad", "classes": "happy or sad", "copies": 50, "dropout": 0.0}  # Part 2
TEN_EPOCHS = CLASSIFIER | {"epochs": 10, "steps": None, "batch_size": 64}  # as the coursework has it
EMOTIONS = CLASSIFIER | {"images": "emotions", "classes": "emotions", "copies": 10}
H = Hypothesis


def each(base: dict, option: str, *values, of: str = "") -> dict[str, dict]:
    """A setting for each value of an option, by that value, which follows `of`."""
    return {of + str(value).removesuffix(".0"): {**base, option: value} for value in values}


EXPERIMENTS = {
    "dropout": Experiment("dropout in the latent", each({}, "dropout", 0.0, 0.2, 0.5), (
        H("1c", "dropout of 0.2 prevents overfitting", "gap", "0.2", "lower", "0"),
        H("1c", "dropout of 0.2 lowers the error on unseen emoji", "mse", "0.2", "lower", "0"),
    )),
    "augmentation": Experiment("augmentation", each({}, "augment", "none", "coursework", "adversarial"), (
        H("1h", "augmentation improves generalization: less overfitting", "gap", "coursework", "lower", "none"),
        H("1h", "augmentation lowers the error on unseen emoji", "mse", "coursework", "lower", "none"),
        H("1h", "augmentation lowers the error on moved and recoloured unseen emoji",
           "copies_mse", "coursework", "lower", "none"),
        H("2f.3", "augmentation makes the training emoji harder to reconstruct",
           "train_mse", "coursework", "higher", "none"),
        H("1a", "adversarial examples are worth exploring as augmentation", "mse", "adversarial", "lower", "none"),
    )),
    "data": Experiment("training pictures", {
        "faces": {},  # Part 1: no change
        "all pictures": {"images": "all", "copies": 1},
        "all, no copies": {"images": "all", "copies": "none", "augment": "none"},
    }, (
        H("3c.2", "a larger dataset would help", "mse", "all pictures", "lower", "faces"),
        H("2f.3", "with enough pictures no augmentation is needed", "mse", "all, no copies", "lower", "faces"),
    )),
    "styles": Experiment("styles in training", {
        "one": {"hold_out_style": "noto"},
        "two": {"also": ("openmoji",), "hold_out_style": "noto"},
        "three": {"also": ("openmoji", "noto")},
    }, (
        H("3c.2", "another style's faces help on the first one's unseen emoji", "mse", "two", "lower", "one"),
        H("3c.2", "two other styles' faces help on the first one's unseen emoji", "mse", "three", "lower", "one"),
        H("3c.2", "a second style's faces help on an unseen style", "unseen_style_mse", "two", "lower", "one"),
    )),
    "weight": Experiment("weight of the classification loss", each(CLASSIFIER, "weight", 0.0, 0.5, 5.0), (
        H("2e", "classification competes with reconstruction", "mse", "0.5", "higher", "0"),
        H("2e", "too high a weight costs reconstruction", "mse", "5", "higher", "0.5"),
    )),
    "ten-epochs": Experiment("split and weight of the classification loss, 10 epochs", {
        **each(TEN_EPOCHS | {"split": "coursework"}, "weight", 0.0, 0.5, of="coursework's order, "),
        **each(TEN_EPOCHS | {"probe": True}, "weight", 0.0, 0.5, of="unseen, "),
    }, (
        H("2e", "classification competes in 10 epochs, coursework's order",
           "mse", "coursework's order, 0.5", "higher", "coursework's order, 0"),
        H("2e", "classification competes in 10 epochs, on unseen emoji",
           "mse", "unseen, 0.5", "higher", "unseen, 0"),
        H("2e", "the classification loss structures the latent",
           "probe_accuracy", "unseen, 0.5", "higher", "unseen, 0"),
    )),
    "low-weight": Experiment("weight of the classification loss", each(CLASSIFIER, "weight", 0.1, 0.5), (
        H("2e", "too low a weight does little for classification", "balanced_accuracy", "0.1", "lower", "0.5"),
    )),
    "copies": Experiment("augmented copies of each picture", {
        "none": CLASSIFIER | {"copies": "none", "augment": "none"},
        "4": CLASSIFIER | {"copies": 4},
        "50": CLASSIFIER,
    }, (
        H("2e", "50 copies of each emoji resulted in overfitting", "gap", "50", "higher", "4"),
        H("2f.3", "augmentation makes the classification robust", "balanced_accuracy", "50", "higher", "none"),
        H("2f.3", "augmentation hurts the reconstruction", "mse", "50", "higher", "none"),
    )),
    "emotions": Experiment("classes", {
        "none": EMOTIONS | {"classes": "none"},
        "happy or sad": EMOTIONS | {"classes": "two emotions"},
        "seven emotions": EMOTIONS,
    }, (
        H("2f.1", "a harder classification lowers the error more than an easy one",
           "mse", "seven emotions", "lower", "happy or sad"),
        H("2f.1", "a hard classification benefits the autoencoder", "mse", "seven emotions", "lower", "none"),
    )),
    "latent": Experiment("numbers in the latent", each(CLASSIFIER, "latent", 64, 128, 256, 512), (
        H("2f.2", "larger latents classify better", "balanced_accuracy", "512", "higher", "128"),
        H("2f.2", "larger latents reconstruct worse", "mse", "512", "higher", "128"),
        H("2f.2", "a smaller latent generalizes better: less overfitting", "gap", "64", "lower", "128"),
    )),
}  # fmt: skip
