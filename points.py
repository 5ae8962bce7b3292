"""One point of an experiment: a network trained on some emoji and tested on emoji it has never seen, beside PCA.

Nothing here is run by itself: `python experiments.py NAME` computes many points, in processes or on a cluster.
"""

import math
import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Iterator, Literal

import torch
from sklearn.metrics import recall_score
from threadpoolctl import threadpool_limits
from torch import nn

import augmentation
import baselines
import data
import multiTaskModel as part2
import training
from cli import UserError
from multiTaskModel import UNLABELLED

EPSILON = 8 / 255  # of the adversarial examples: how far a pixel is moved
PCA_IMAGES = 2048  # PCA is fitted on at most so many training images; more take a minute and gigabytes

# An emoji's emotion is the first of which its description contains a phrase. The special stand before the general:
# `smiling face with heart shaped eyes` is love, `frowning face with open mouth` sad, `face with open mouth` surprised.
EMOTIONS = {
    "love": ("heart", "kiss", "hugging face"),
    "sick": (
        "medical mask", "thermometer", "head bandage", "vomiting", "nauseated", "sneezing", "overheated", "freezing", "dizzy face",
        "wavy mouth",
    ),
    "angry": ("angry face", "pouting", "look of triumph", "symbols covering mouth"),
    "sad": (
        "sad face", "crying", "frowning", "holding back tears", "disappointed", "pensive", "worried", "weary", "tired face", "confounded",
        "persevering", "anguished",
    ),
    "happy": ("happy face", "smiling", "grinning", "tears of joy", "savouring", "party", "winking", "stuck out tongue"),
    "surprised": ("astonished", "hushed", "flushed", "shocked", "screaming", "hand over mouth", "face with open mouth"),
    "neutral": (
        "neutral face", "expressionless", "without mouth", "dotted line", "unamused", "rolling eyes", "diagonal mouth", "eyebrow raised",
        "zipper mouth", "thinking",
    ),
}  # fmt: skip


def emotion(name: str) -> str | None:
    """The emotion of a normalised name, None if it has none."""
    return next((emotion for emotion, phrases in EMOTIONS.items() if any(phrase in name for phrase in phrases)), None)


def happy_or_sad(name: str) -> str | None:
    """The class of Part 2."""
    place = part2.class_of(name)
    return None if place is None else list(part2.CLASSES)[place]


CLASSES = {  # their names, and the rule that gives an emoji's
    "none": (("face",), lambda name: "face"),
    "happy or sad": (tuple(part2.CLASSES), happy_or_sad),
    "emotions": (tuple(EMOTIONS), emotion),
    "two emotions": (("happy", "sad"), emotion),
}


@dataclass(frozen=True)
class Point:
    """All that a result depends on. What is not here is as in Parts 1 and 2: batches of 64, Adam, learning rate 1e-3."""

    steps: int = 300  # of training
    images: Literal["faces", "all", "happy or sad", "emotions"] = "faces"  # which emoji; all: tested on faces, trained on all other pictures too
    classes: Literal["none", "happy or sad", "emotions", "two emotions"] = "none"  # what the classifier learns; emoji of no class teach it nothing
    weight: float = 0.5  # lambda, of the classification loss
    latent: int = 128  # numbers an image is compressed to, and components of PCA
    dropout: float = 0.2
    augmentation: Literal["none", "report", "strong", "adversarial"] = "report"
    copies: int | Literal["none"] = 4  # augmented copies of each original
    source: str = "twemoji"
    seed: int = 0  # of the split, the copies, the weights and the order


# ---------------------------------------------------------------- emoji


@lru_cache(2)
def pictures(source: str, keyword: str) -> data.Originals:
    """The originals, opened once per process."""
    return data.load_originals(source, keyword)


def labels(names: list[str], classes: str) -> torch.Tensor:
    """(N,) int64, UNLABELLED for names of no class."""
    members, rule = CLASSES[classes]
    places = {name: place for place, name in enumerate(members)}
    return torch.tensor([places.get(rule(name), UNLABELLED) for name in names], dtype=torch.int64)


def chosen(point: Point) -> tuple[data.Originals, torch.Tensor]:
    """The faces that the point is about, and the labels by which folds are stratified. Raises UserError for too few."""
    classes = point.images if point.images in CLASSES else "none"
    faces = pictures(point.source, data.DataConfig().keyword)
    whole = labels(faces.names, classes)
    originals, known = data.take(faces, (whole >= 0).nonzero().flatten().tolist()), whole[whole >= 0]
    members = Counter(dict(zip(originals.keys, known.tolist())).values())
    for k, name in enumerate(CLASSES[classes][0]):
        if members[k] < part2.FOLDS:
            needed = f"{part2.FOLDS} folds need as many; try --source twemoji"
            raise UserError(f"{point.source} has {members[k]} different emoji of class {name} and {needed}")
    return originals, known


def divide(point: Point) -> tuple[data.Originals, data.Originals]:
    """The emoji to train on and those to test on, without twins or mirror images on both sides.

    Seed s tests fold s mod 5 of the s // 5-th division, so that five seeds test every emoji once.
    """
    originals, known = chosen(point)
    division = part2.Config(copies="none", seed=point.seed // part2.FOLDS)
    fold = part2.folds(originals, known, division)[point.seed % part2.FOLDS]
    tested = data.take(originals, fold.test.emoji.tolist())
    if point.images == "all":
        return data.without(pictures(point.source, ""), tested.names), tested
    return data.take(originals, fold.train.emoji.tolist()), tested


# ---------------------------------------------------------------- training images


def copied(point: Point, originals: data.Originals) -> data.Part:
    """The originals with their copies, augmented as the point says."""
    config = data.DataConfig(augment="report" if point.augmentation == "report" else "none", copies=point.copies, seed=point.seed)
    part = data.expand(originals, torch.arange(len(originals.names)), config, "train")
    if point.augmentation == "strong":  # twice the report's angles and jitter, and shifts and scales
        generator = data.generator("strong augmentation", point.seed)
        for batch in part.images[len(originals.names) :].split(256):  # views: written in place
            strong = augmentation.augment(data.to_float(batch), generator, move=0.05, strength=2)
            batch.copy_((strong * 255).round())
    return part


def stream(part: data.Part, steps: int, batch_size: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """`steps` batches: passes over `part`, each in its own order, end to end. So every material gets as many steps."""
    generator, count = data.generator("order", seed), steps * batch_size
    passes = [torch.randperm(len(part), generator=generator) for _ in range(math.ceil(count / len(part)))]
    return (part[indices] for indices in torch.cat(passes)[:count].split(batch_size))


def reconstruction_loss(model: nn.Module, images: torch.Tensor, emoji: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"loss": nn.functional.mse_loss(model(images)[0], images)}


def adversarial(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Every pixel of the (N, 3, H, W) images moved by EPSILON to where the MSE to the true image rises.

    The fast gradient sign method, Goodfellow et al. 2015.
    """
    inputs = images.clone().requires_grad_()
    slope = torch.autograd.grad(nn.functional.mse_loss(model(inputs)[0], images), inputs)[0]
    return (images + EPSILON * slope.sign()).clamp(0, 1)


def adversarial_loss(model: nn.Module, images: torch.Tensor, emoji: torch.Tensor) -> dict[str, torch.Tensor]:
    """The MSE where half of the images come attacked. As a class survives an attack, so does what is to be reconstructed."""
    inputs = images.clone()
    inputs[::2] = adversarial(model, images[::2])
    return {"loss": nn.functional.mse_loss(model(inputs)[0], images)}


# ---------------------------------------------------------------- the point


@torch.no_grad()
def balanced_accuracy(model: part2.MultiTaskAutoencoder, images: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean recall, over the classes that occur, of the (N, 3, H, W) uint8 images that have a label."""
    labelled = truth >= 0
    predicted = model.eval()(data.to_float(images[labelled]))[1].argmax(1)
    return float(recall_score(truth[labelled], predicted, labels=truth[labelled].unique(), average="macro"))


@threadpool_limits.wrap(limits=1)
def measure(point: Point) -> dict[str, float | None]:
    """Train and test. A pure function of the point: in one thread, since other cores have other points.

    Errors are MSEs: of the tested pictures as they are (`mse`) and with four augmented copies each (`copies_mse`), and of up to
    256 training images; accuracies are None where nothing was taught.
    """
    device, started = training.choose_device("cpu"), time.monotonic()
    emoji, tested = divide(point)
    images, test = copied(point, emoji), data.Part(tested.images, torch.arange(len(tested.names)))
    copies = data.expand(tested, test.emoji, data.DataConfig(seed=point.seed), "test")
    config = part2.Config(latent=point.latent, dropout=point.dropout)

    loss = part2.MultiTaskLoss(labels(emoji.names, point.classes), point.weight) if point.classes != "none" else reconstruction_loss
    if point.augmentation == "adversarial":
        loss = adversarial_loss
    torch.manual_seed(data.seed_for("weights", point.seed))
    network = part2.MultiTaskAutoencoder(point.latent, point.dropout, classes=len(CLASSES[point.classes][0]))
    model = training.to_device(network, device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    torch.manual_seed(data.seed_for("dropout", point.seed))
    training.one_pass(model, stream(images, point.steps, config.batch_size, point.seed), loss, device, optimizer)

    def mse(part: data.Part) -> float:
        return training.evaluate(model, part, reconstruction_loss, device)["loss"]

    sample = torch.randperm(len(images), generator=data.generator("sample", point.seed))[:PCA_IMAGES]
    metrics = {"mse": mse(test), "copies_mse": mse(copies), "train_mse": mse(data.Part(*images[sample[:256]]))}
    metrics |= baselines.errors(baselines.fit_pca(images.images[sample], point.latent), test)
    if point.classes != "none":
        truth = labels(tested.names, point.classes)
        metrics["balanced_accuracy"] = balanced_accuracy(model, test.images, truth) if point.weight else None
        metrics["majority_balanced_accuracy"] = 1 / len(truth[truth >= 0].unique())  # one class is always right, the others never
    return {**metrics, "seconds": round(time.monotonic() - started, 1)}
