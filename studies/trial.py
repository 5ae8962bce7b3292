"""One trial of an experiment: a network trained on some emoji and tested on emoji it has never seen, beside PCA.

Nothing here is run by itself: `python experiments.py NAME` computes many trials, in processes or on a cluster.
"""

import time
from collections import Counter
from functools import lru_cache
from typing import Iterator

import torch
from sklearn.metrics import recall_score
from threadpoolctl import threadpool_limits
from torch import nn

import data
from common.errors import UserError
from lab import baselines, classification, presets, training
from lab.mixture import mixture
from lab.multitask import UNLABELLED, MultiTaskLoss, class_probabilities
from lab.options import BestPreset, Preset, ReportPreset
from lab.presets import Material
from studies.hypotheses import Trial

CPU = torch.device("cpu")
LINE = 100  # steps between two tests
EPSILON = 8 / 255  # of the adversarial examples: how far a pixel is moved
PCA_IMAGES = 2048  # PCA is fitted on at most so many training images; more take a minute and gigabytes

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
    place = classification.class_of(name)
    return None if place is None else list(classification.CLASSES)[place]


CLASSES = {  # their names, and the rule that gives an emoji's
    "none": (("face",), lambda name: "face"),
    "happy or sad": (tuple(classification.CLASSES), happy_or_sad),
    "emotions": (tuple(EMOTIONS), emotion),
    "two emotions": (("happy", "sad"), emotion),
}


# ---------------------------------------------------------------- emoji


@lru_cache(2)
def pictures(
    source: str, keyword: str, also: tuple[str, ...] = (), hold_out_style: str | None = None
) -> data.Originals:
    """The originals, opened once per process."""
    return data.gather(data.DataConfig(source=source, keyword=keyword, also=also, hold_out_style=hold_out_style))


def labels(names: list[str], classes: str) -> torch.Tensor:
    """(N,) int64, UNLABELLED for names of no class."""
    members, rule = CLASSES[classes]
    places = {name: place for place, name in enumerate(members)}
    return torch.tensor([places.get(rule(name), UNLABELLED) for name in names], dtype=torch.int64)


def chosen(trial: Trial) -> tuple[data.Originals, torch.Tensor]:
    """The faces that the trial is about, and the labels by which folds are stratified. Raises UserError for too few."""
    classes = trial.images if trial.images in CLASSES else "none"
    return chosen_from(trial.source, classes, trial.also, trial.hold_out_style)


@lru_cache(4)
def chosen_from(
    source: str, classes: str, also: tuple[str, ...], hold_out_style: str | None
) -> tuple[data.Originals, torch.Tensor]:
    """The faces of all styles that have one of the `classes`, and their labels. Raises UserError for too few."""
    faces = pictures(source, data.KEYWORD, also, hold_out_style)
    whole = labels(faces.names, classes)
    originals, known = data.take(faces, (whole >= 0).nonzero().flatten().tolist()), whole[whole >= 0]
    members = Counter(dict(zip(originals.keys, known.tolist())).values())
    for k, name in enumerate(CLASSES[classes][0]):
        if members[k] < classification.FOLDS:
            needed = f"{classification.FOLDS} folds need as many; try --source twemoji"
            raise UserError(f"{source} has {members[k]} different emoji of class {name} and {needed}")
    return originals, known


def fold_of(trial: Trial) -> data.Splits:
    """The emoji to train on and those to test on, each once, without twins or mirror images on both sides."""
    config = data.DataConfig(copies="none", seed=trial.seed, hold_out_style=trial.hold_out_style)
    return classification.fold_of_seed(*chosen(trial), config)


def divide(trial: Trial) -> tuple[data.Originals, data.Originals]:
    """The pictures to train on and those to test on: of the fold, and in training all others if the trial says so."""
    fold = fold_of(trial)
    tested = data.take(fold.originals, fold.test.emoji.tolist())
    if trial.images == "all":
        return data.without(pictures(trial.source, ""), tested.names), tested
    return data.take(fold.originals, fold.train.emoji.tolist()), tested


# ---------------------------------------------------------------- training images


def copied(trial: Trial, originals: data.Originals) -> data.Part:
    """The originals with their copies, augmented as the trial says."""
    augment = "report" if trial.augmentation == "original" else "none"
    config = data.DataConfig(augment=augment, copies=trial.copies, seed=trial.seed)
    return data.expand(originals, torch.arange(len(originals.names)), config, "train")


def stream(part: data.Part, batch_size: int, order: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches without end, all equally large: passes over `part`, each in its own order, end to end."""
    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < batch_size:
            waiting = torch.cat([waiting, torch.randperm(len(part), generator=order)])
        yield part[waiting[:batch_size]]
        waiting = waiting[batch_size:]


def preset_of(trial: Trial) -> Preset:
    """The preset's options: its own, but for those that the trial has."""
    shared = {name: getattr(trial, name) for name in ("source", "latent", "seed", "batch_size")}
    shared["precision"] = "float32"
    if trial.preset == "best":
        return presets.settled(BestPreset(**shared, also=trial.also, steps=trial.steps), CPU)
    return ReportPreset(**shared, dropout=trial.dropout)


def fresh_mixture(trial: Trial, fold: data.Splits):
    """The best preset's training images, but for moving and mixing: new copies at every step."""
    others = "all" if trial.images == "all" else "faces"
    alike = {"split": "emoji", "precision": "float32", "shift": 0.0, "mixing": 0.0}
    recipe = BestPreset(source=trial.source, also=trial.also, train_on=others, **alike)
    return mixture(fold, presets.settled(recipe, CPU), CPU)


def material(trial: Trial, config: Preset) -> tuple[Material, list[str]]:
    """What the trial trains on, and the names of the emoji in it."""
    budget = training.Budget(trial.steps, lines=max(1, trial.steps // LINE))
    order, sampled = data.generator("order", trial.seed), data.generator("sample", trial.seed)
    if trial.copies == "fresh":
        fold = fold_of(trial)
        mixed = fresh_mixture(trial, fold)
        pca = baselines.fit_pca(mixed.sample(PCA_IMAGES, sampled), trial.latent)
        return Material(mixed.batches(config.batch_size, order), pca, budget, order), fold.originals.names
    emoji, _ = divide(trial)
    images = copied(trial, emoji)
    sample = torch.randperm(len(images), generator=sampled)[:PCA_IMAGES]
    if trial.preset == "best" and len(sample) <= trial.latent:
        raise UserError(f"{len(sample)} training images are too few for a start at PCA with {trial.latent} components")
    pca = baselines.fit_pca(images.images[sample], trial.latent)
    return Material(stream(images, config.batch_size, order), pca, budget, order), emoji.names


# ---------------------------------------------------------------- losses


def adversarial(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Every pixel of the (N, 3, H, W) images moved by EPSILON to where the MSE to the true image rises.

    The fast gradient sign method, Goodfellow et al. 2015.
    """
    inputs = images.clone().requires_grad_()
    slope = torch.autograd.grad(nn.functional.mse_loss(model(inputs), images), inputs)[0]
    return (images + EPSILON * slope.sign()).clamp(0, 1)


def adversarial_loss(model: nn.Module, images: torch.Tensor, emoji: torch.Tensor) -> dict[str, torch.Tensor]:
    """The MSE where half of the images come attacked.

    As a class survives an attack, so does what is to be reconstructed.
    """
    inputs = images.clone()
    inputs[::2] = adversarial(model, images[::2])
    return {"loss": nn.functional.mse_loss(model(inputs), images)}


def loss_of(trial: Trial, names: list[str]) -> training.LossFunction:
    """What the trial descends; `names` are those of the emoji in its batches."""
    if trial.augmentation == "adversarial":
        return adversarial_loss
    if trial.classes == "none":
        return training.reconstruction_loss
    return MultiTaskLoss(labels(names, trial.classes), trial.weight)


# ---------------------------------------------------------------- the trial


def balanced_accuracy(trial: Trial, model: nn.Module, tested: data.Originals, device: torch.device) -> float:
    """Mean recall over the classes that occur, of the pictures that have one."""
    truth = labels(tested.names, trial.classes)
    known = truth >= 0
    predicted = class_probabilities(model, tested.images[known], device).argmax(1)
    return float(recall_score(truth[known], predicted, labels=truth[known].unique(), average="macro"))


def tested_parts(trial: Trial) -> dict[str, data.Part]:
    """What a trial is tested on: the tested pictures, their augmented copies, and the faces trained on, upright.

    If a style is held out, its pictures of the tested emoji too.
    """
    _, tested = divide(trial)
    test = data.Part(tested.images, torch.arange(len(tested.names)))
    copies = data.expand(tested, test.emoji, data.DataConfig(copies=2, seed=trial.seed), "test")
    fold = fold_of(trial)
    parts = {"mse": test, "copies_mse": copies, "train_mse": fold.train}
    return parts | ({"unseen_style_mse": fold.elsewhere[trial.hold_out_style]} if trial.hold_out_style else {})


@threadpool_limits.wrap(limits=1)
def measure(trial: Trial) -> dict[str, float | list | None]:
    """Train and test. A pure function of the trial: in one thread, since other cores have other trials.

    The MSEs are those of `tested_parts`. They are lists over `steps`; accuracies are None where nothing was taught.
    """
    started, config, device = time.monotonic(), preset_of(trial), training.choose_device(trial.device)
    given, names = material(trial, config)
    classes = 0 if trial.classes == "none" else len(CLASSES[trial.classes][0])
    parts, (_, tested) = tested_parts(trial), divide(trial)

    def tests(model: nn.Module) -> dict[str, float | None]:
        loss = training.reconstruction_loss
        errors = {name: training.evaluate(model, part, loss, device)["loss"] for name, part in parts.items()}
        taught = classes and trial.weight
        return errors | ({"balanced_accuracy": balanced_accuracy(trial, model, tested, device)} if taught else {})

    rows = presets.fit_network(config, given, device, loss_of(trial, names), classes, validate=tests).history
    metrics = {name.removeprefix("val_"): [row[name] for row in rows] for name in rows[0] if name.startswith("val_")}
    if classes:
        occurring = labels(tested.names, trial.classes)
        metrics.setdefault("balanced_accuracy", None)
        metrics["majority_balanced_accuracy"] = 1 / len(occurring[occurring >= 0].unique())  # one is always right
    metrics |= {"steps": [row["step"] for row in rows], **baselines.errors(given.pca, parts["mse"])}
    if trial.hold_out_style:
        metrics["unseen_style_pca_mse"] = baselines.errors(given.pca, parts["unseen_style_mse"])["pca_mse"]
    return {**metrics, "seconds": round(time.monotonic() - started, 1)}
