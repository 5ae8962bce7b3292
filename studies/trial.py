"""One trial of an experiment: a preset's training, with what the experiment varies, tested on emoji it has never seen.

Nothing here is run by itself: `python -m studies.experiments NAME` computes many trials.
"""

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
from threadpoolctl import threadpool_limits
from torch import nn

import data
from lab import classes as part_2
from lab import training
from lab.classes import UNLABELLED, MultiTaskLoss
from lab.cli import UserError
from lab.names import normalise
from lab.networks import class_probabilities
from lab.options import BEST_UNSEEN, DataOptions, TrainingOptions, resolve_defaults
from lab.pictures import Part, Pictures, Splits

ROW = 100  # steps between two tests

# An emoji's emotion is the first of which its description contains a phrase. The special stand before the general:
# `smiling face with heart shaped eyes` is love, `frowning face with open mouth` sad, `face with open mouth` surprised.
EMOTIONS = {
    "love": ("heart", "kiss", "hugging face"),
    "sick": (
        "medical mask", "thermometer", "head bandage", "vomiting", "nauseated", "sneezing", "overheated", "freezing",
        "dizzy face", "wavy mouth",
    ),
    "angry": ("angry face", "pouting", "look of triumph", "symbols covering mouth"),
    "sad": (
        "sad face", "crying", "frowning", "holding back tears", "disappointed", "pensive", "worried", "weary",
        "tired face", "confounded", "persevering", "anguished",
    ),
    "happy": ("happy face", "smiling", "grinning", "tears of joy", "savouring", "party", "winking", "stuck out tongue"),
    "surprised": ("astonished", "hushed", "flushed", "shocked", "screaming", "hand over mouth", "face with open mouth"),
    "neutral": (
        "neutral face", "expressionless", "without mouth", "dotted line", "unamused", "rolling eyes", "diagonal mouth",
        "eyebrow raised", "zipper mouth", "thinking",
    ),
}  # fmt: skip


def emotion(name: str) -> str | None:
    """The emotion of a normalised name, None if it has none."""
    return next((emotion for emotion, phrases in EMOTIONS.items() if any(phrase in name for phrase in phrases)), None)


def happy_or_sad(name: str) -> str | None:
    """The class of Part 2."""
    k = part_2.class_of(name)
    return None if k is None else list(part_2.CLASSES)[k]


CLASSES = {  # their names, and the rule that gives an emoji's
    "none": (("face",), lambda name: "face"),
    "happy or sad": (tuple(part_2.CLASSES), happy_or_sad),
    "emotions": (tuple(EMOTIONS), emotion),
    "two emotions": (("happy", "sad"), emotion),
}


def labels_of(names: list[str], classes: str) -> torch.Tensor:
    """(N,) int64, UNLABELLED for names of no class."""
    members, rule = CLASSES[classes]
    labels = {name: k for k, name in enumerate(members)}
    return torch.tensor([labels.get(rule(name), UNLABELLED) for name in names], dtype=torch.int64)


# ---------------------------------------------------------------- what a trial is


@dataclass(frozen=True, kw_only=True)
class Trial(TrainingOptions):
    """All that a result depends on: a training's options, and what to train on and to teach."""

    images: Literal["faces", "all", "happy or sad", "emotions"] = "faces"  # all pictures; they are tested on faces alone
    classes: Literal["none", "happy or sad", "emotions", "two emotions"] = "none"  # what the classifier learns
    weight: float = 0.5  # lambda, of the classification loss
    split: Literal["unseen"] = "unseen"
    steps: int = 3000
    batch_size: int = 32  # half of the coursework's, so that an experiment takes minutes
    pca_images: int = 2048  # more take a minute and gigabytes
    precision: Literal["float32"] = "float32"
    device: str = "cpu"

    def recorded(self) -> dict:
        """The trial as JSON has it, without the options of the other preset."""
        return json.loads(json.dumps({name: value for name, value in asdict(self).items() if value is not None}))


def trial_of(setting: dict, preset: str, **changes) -> Trial:
    """The trial of an experiment's setting, with everything decided.

    The best preset has no dropout, and fresh augmentation instead of copies: the coursework's, for a fair comparison.
    """
    trial = Trial(**setting, preset=preset, **changes)
    if preset == "best":
        exact = trial.copies == "none" and trial.augment == "coursework"
        own = {"dropout": None, "copies": "none", "augment": "none" if exact else trial.augment}
        others = BEST_UNSEEN["other_pictures"] if trial.images == "all" else 0.0
        trial = replace(trial, **own, other_pictures=others, shift=0.0, mixing=0.0)
    return resolve_defaults(trial)


# ---------------------------------------------------------------- pictures


@lru_cache(4)
def chosen_pictures(
    source: str, also: tuple[str, ...], hold_out_style: str | None, classes: str
) -> tuple[Pictures, torch.Tensor]:
    """The faces of all styles that have one of the `classes`, and their labels. Raises UserError for too few."""
    faces = data.load_styles(DataOptions(source=source, also=also, hold_out_style=hold_out_style))
    labels = labels_of(faces.names, classes)
    pictures, labels = faces.take((labels >= 0).nonzero().flatten().tolist()), labels[labels >= 0]
    members = Counter(dict(zip(pictures.keys, labels.tolist())).values())
    for k, name in enumerate(CLASSES[classes][0]):
        if members[k] < data.FOLDS:
            needed = f"{data.FOLDS} folds need as many; try --source twemoji"
            raise UserError(f"{source} has {members[k]} different emoji of class {name} and {needed}")
    return pictures, labels


def fold_of(trial: Trial) -> Splits:
    """The emoji to train on and those to test on, upright, each picture once. Raises UserError for too few emoji."""
    classes = trial.images if trial.images in CLASSES else "none"
    pictures, labels = chosen_pictures(trial.source, trial.also, trial.hold_out_style, classes)
    return data.fold_of_seed(pictures, labels, replace(trial, copies="none"))


def splits_of(trial: Trial, fold: Splits) -> Splits:
    """What the preset trains on. For the coursework, the fold's pictures, or all without a tested emoji, with copies."""
    if trial.preset == "best":
        return fold
    pictures, train, test = fold.pictures, fold.train.emoji, fold.test.emoji
    if trial.images == "all":
        pictures = data.all_pictures(trial.source, trial.also, trial.skip_bad)
        faces = [i for i, name in enumerate(pictures.names) if normalise(fold.pictures.keyword) in name]
        test = torch.tensor(faces)[test]
        train = torch.tensor(sorted({*range(len(pictures))} - pictures.related(test.tolist())))
    copied = data.expand(pictures, train, trial, "train")
    return replace(fold, pictures=pictures, train=copied, test=Part(fold.test.images, test))


# ---------------------------------------------------------------- training and tests


def balanced_accuracy(model: nn.Module, images: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean recall over the classes that occur, of the images that have one. `truth` holds a label per image."""
    from sklearn.metrics import recall_score

    known = truth >= 0
    predicted = class_probabilities(model, images[known]).argmax(1)
    return float(recall_score(truth[known], predicted, labels=truth[known].unique(), average="macro"))


@threadpool_limits.wrap(limits=1)
def measure(trial: Trial) -> dict[str, float | list | None]:
    """Train and test. A pure function of the trial, except for the seconds: in one thread, as other cores have others.

    MSEs are of the tested pictures, of their augmented copies, of the faces trained on, upright, and of a style that is
    held out. They are lists over `steps`. The balanced accuracy is None where the classifier was not taught.
    """
    started, fold = time.monotonic(), fold_of(trial)
    copies = data.expand(fold.pictures, fold.test.emoji, DataOptions(copies=2, seed=trial.seed), "test")
    parts = {"mse": fold.test, "copies_mse": copies, "train_mse": fold.train}
    parts |= {"unseen_style_mse": fold.other_styles[trial.hold_out_style]} if trial.hold_out_style else {}
    splits, count = splits_of(trial, fold), 0 if trial.classes == "none" else len(CLASSES[trial.classes][0])
    truth = labels_of(fold.pictures.names, trial.classes)[fold.test.emoji]

    def tests(model: nn.Module) -> dict[str, float]:
        errors = {name: training.evaluate(model, part, training.reconstruction_loss) for name, part in parts.items()}
        taught = {"balanced_accuracy": balanced_accuracy(model, fold.test.images, truth)} if count and trial.weight else {}
        return {name: losses["loss"] for name, losses in errors.items()} | taught

    loss = MultiTaskLoss(labels_of(splits.pictures.names, trial.classes), trial.weight) if count else None
    rows = max(1, trial.steps // ROW)
    trained = training.fit(trial, splits, loss_function=loss, classes=count, validate=tests, rows=rows)
    history = trained.history
    metrics = {name.removeprefix("val_"): [row[name] for row in history] for name in history[0] if "val_" in name}
    if count:
        metrics.setdefault("balanced_accuracy", None)
        metrics["majority_balanced_accuracy"] = 1 / len(truth[truth >= 0].unique())  # one class is always right
    metrics |= {"steps": [row["step"] for row in history], **training.baseline_errors(trained.pca, fold.test)}
    if trial.hold_out_style:
        unseen = training.baseline_errors(trained.pca, parts["unseen_style_mse"])
        metrics["unseen_style_pca_mse"] = unseen["pca_mse"]
    return {**metrics, "seconds": round(time.monotonic() - started, 1)}
