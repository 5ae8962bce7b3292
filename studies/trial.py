"""One trial of studies/experiments.py: the coursework's training, with what is varied, tested on unseen emoji."""

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from typing import Literal

import torch
from threadpoolctl import threadpool_limits
from torch import nn

import data
from lab.classes import CLASSES as HAPPY_OR_SAD
from lab.classes import UNLABELLED, MultiTaskAutoencoder, MultiTaskLoss, class_of, class_probabilities, linear_probe
from lab.cli import UserError
from lab.names import normalise
from lab.networks import encode_all
from lab.options import DataOptions, TrainingOptions, resolve_defaults
from lab.pictures import Part, Pictures, Splits
from lab.training import baseline_errors, evaluate, fit, reconstruction_loss

ROW = 100  # steps between two tests

# An emoji's emotion is the first of which its description contains a phrase. The special stand before the general:
# `smiling face with heart shaped eyes` is love, `frowning face with open mouth` sad, `face with open mouth` surprised.
EMOTIONS = {
    "love": ("heart", "kiss", "hugging face"),
    "sick": ("medical mask", "thermometer", "head bandage", "vomiting", "nauseated", "sneezing", "overheated",
             "freezing", "dizzy face", "wavy mouth"),
    "angry": ("angry face", "pouting", "look of triumph", "symbols covering mouth"),
    "sad": ("sad face", "crying", "frowning", "holding back tears", "disappointed", "pensive", "worried", "weary",
            "tired face", "confounded", "persevering", "anguished"),
    "happy": ("happy face", "smiling", "grinning", "tears of joy", "savouring", "party", "winking", "stuck out tongue"),
    "surprised": ("astonished", "hushed", "flushed", "shocked", "screaming", "hand over mouth", "face with open mouth"),
    "neutral": ("neutral face", "expressionless", "without mouth", "dotted line", "unamused", "rolling eyes",
                "diagonal mouth", "eyebrow raised", "zipper mouth", "thinking"),
}  # fmt: skip


def emotion(name: str) -> str | None:
    """The emotion of a normalised name, None if it has none."""
    return next((emotion for emotion, phrases in EMOTIONS.items() if any(phrase in name for phrase in phrases)), None)


CLASSES = {  # their names, and the rule that gives an emoji's
    "none": (("face",), lambda name: "face"),
    "happy or sad": (tuple(HAPPY_OR_SAD), lambda name: dict(enumerate(HAPPY_OR_SAD)).get(class_of(name))),
    "emotions": (tuple(EMOTIONS), emotion),
    "two emotions": (("happy", "sad"), emotion),
}


def labels_of(names: list[str], classes: str) -> torch.Tensor:
    """(N,) int64, UNLABELLED for names of no class."""
    members, rule = CLASSES[classes]
    labels = {name: k for k, name in enumerate(members)}
    return torch.tensor([labels.get(rule(name), UNLABELLED) for name in names], dtype=torch.int64)


@dataclass(frozen=True, kw_only=True)
class Trial(TrainingOptions):
    """All that a result depends on: a training's options, and what to train on and to teach."""

    images: Literal["faces", "all", "happy or sad", "emotions"] = "faces"  # to train on; all is tested on faces
    classes: Literal["none", "happy or sad", "emotions", "two emotions"] = "none"  # what the classifier learns
    weight: float = 0.5  # lambda, of the classification loss
    split: Literal["unseen", "coursework"] = "unseen"
    probe: bool | None = None  # also test a linear classifier that learns from the latents, as a measure of these
    steps: int = 3000
    batch_size: int = 32  # half of the coursework's, so that an experiment takes minutes
    pca_images: int = 2048  # more take a minute and gigabytes
    precision: Literal["float32"] = "float32"
    device: str = "cpu"

    def recorded(self) -> dict:
        """The trial as JSON has it, without the best preset's options."""
        return json.loads(json.dumps({name: value for name, value in asdict(self).items() if value is not None}))


def trial_of(setting: dict, **changes) -> Trial:
    """The trial of an experiment's setting, with everything decided."""
    return resolve_defaults(Trial(**setting | changes))


@lru_cache(4)
def chosen_pictures(options: DataOptions, classes: str) -> tuple[Pictures, torch.Tensor]:
    """The faces of all styles that have one of the `classes`, and their labels. Raises UserError for too few."""
    faces = data.load_styles(options)
    labels = labels_of(faces.names, classes)
    pictures, labels = faces.take((labels >= 0).nonzero().flatten().tolist()), labels[labels >= 0]
    members = Counter(dict(zip(pictures.keys, labels.tolist())).values())
    if few := [name for k, name in enumerate(CLASSES[classes][0]) if members[k] < data.FOLDS]:
        needed = f"{data.FOLDS} different emoji of each class for as many folds; try --source twemoji"
        raise UserError(f"{options.source} has too few emoji of class {' and '.join(few)}; it needs {needed}")
    return pictures, labels


def fold_of(trial: Trial) -> Splits:
    """The emoji to train on and those to test on, upright, each picture once; in the coursework's order all images.
    Raises UserError for too few emoji."""
    classes = trial.images if trial.images in CLASSES else "none"
    options = DataOptions(source=trial.source, also=trial.also, hold_out_style=trial.hold_out_style)
    pictures, labels = chosen_pictures(options, classes)
    if trial.split == "coursework":
        return data.split(pictures, trial)
    division, place = divmod(trial.seed, data.FOLDS)  # five seeds test every emoji once
    fold = [*data.folds(pictures, labels, replace(trial, copies="none", seed=division))][place]
    if trial.hold_out_style not in (None, *fold.other_styles):
        raise UserError(f"{trial.hold_out_style} has no tested emoji of {trial.source}; try --source twemoji")
    return fold


def splits_of(trial: Trial, fold: Splits) -> Splits:
    """What is trained on: the fold's pictures, or all that show no tested emoji, with their copies."""
    if trial.split == "coursework":
        return fold
    pictures, train, test = fold.pictures, fold.train.emoji, fold.test.emoji
    if trial.images == "all":
        pictures = data.all_pictures(trial.source, trial.also, trial.skip_bad)
        faces = [i for i, name in enumerate(pictures.names) if normalise(fold.pictures.keyword) in name]
        test = torch.tensor(faces)[test]
        train = torch.tensor(sorted({*range(len(pictures))} - pictures.related(test.tolist())))
    copied = data.expand(pictures, train, trial, "train")
    return replace(fold, pictures=pictures, train=copied, test=Part(fold.test.images, test))


def parts_to_test(trial: Trial, fold: Splits) -> dict[str, Part]:
    """The tested pictures, the faces trained on, augmented copies of unseen ones, and a style that is held out."""
    parts = {"mse": fold.test, "train_mse": fold.train}
    if trial.split == "unseen":
        two = DataOptions(copies=2, seed=trial.seed)
        parts["copies_mse"] = data.expand(fold.pictures, fold.test.emoji, two, "test")
    return parts | ({"unseen_style_mse": fold.other_styles[trial.hold_out_style]} if trial.hold_out_style else {})


@threadpool_limits.wrap(limits=1)
def measure(trial: Trial) -> dict[str, float | list | None]:
    """Train and test, in one thread: other trials take the other cores. Depends on the trial alone, except the seconds.
    The MSEs of `parts_to_test` are lists over `steps`. So is the balanced accuracy, the mean recall over the classes
    that are tested; it is None if no class was taught."""
    from sklearn.metrics import recall_score  # takes half a second to import

    started, fold = time.monotonic(), fold_of(trial)
    splits, parts = splits_of(trial, fold), parts_to_test(trial, fold)
    count = 0 if trial.classes == "none" else len(CLASSES[trial.classes][0])
    labels = labels_of(fold.pictures.names, trial.classes)[fold.test.emoji]
    known, truth = labels >= 0, labels[labels >= 0]

    def tests(model: nn.Module) -> dict[str, float]:
        found = {name: evaluate(model, part, reconstruction_loss)["loss"] for name, part in parts.items()}
        if count and trial.weight:
            predicted = class_probabilities(model, fold.test.images[known]).argmax(1)
            found["balanced_accuracy"] = float(recall_score(truth, predicted, labels=truth.unique(), average="macro"))
        return found

    wrap = partial(MultiTaskAutoencoder, classes=count) if count else None
    loss = MultiTaskLoss(labels_of(splits.pictures.names, trial.classes), trial.weight) if count else None
    rows = max(1, (trial.steps or 0) // ROW)
    model, history, pca = fit(trial, splits, loss_function=loss, wrap=wrap, validate=tests, rows=rows)
    metrics = {name.removeprefix("val_"): [row[name] for row in history] for name in history[0] if "val_" in name}
    if count:
        metrics = {"balanced_accuracy": None, **metrics, "majority_balanced_accuracy": 1 / len(truth.unique())}
    if trial.probe:
        latents, labels = encode_all(model, splits.pictures.images), labels_of(splits.pictures.names, trial.classes)
        emoji = (part.emoji.unique() for part in (splits.train, splits.test))
        metrics["probe_accuracy"] = linear_probe(latents, labels, *emoji)
    if trial.hold_out_style:
        metrics["unseen_style_pca_mse"] = baseline_errors(pca, parts["unseen_style_mse"])["pca_mse"]
    about = {"steps": [row["step"] for row in history], "seconds": round(time.monotonic() - started, 1)}
    return {**metrics, **baseline_errors(pca, fold.test), **about}
