"""The two presets: all that decides what a training gives, and how a network is trained by it.

A preset is a dataclass whose fields are options of the command line and fields of the record, so what ran is on record.
"""

from dataclasses import dataclass, field, replace
from typing import Callable, Iterator, Literal

import torch
from sklearn.decomposition import PCA
from tqdm import tqdm

import data
from common.errors import UserError, at_least, at_most
from lab import baselines, networks, precision
from lab.checkpoint import Checkpoint
from lab.contract import Autoencoder
from lab.mixture import mixture
from lab.multitask import MultiTaskAutoencoder
from lab.optimizers import Muon, constant, one_cycle
from lab.precision import Precision
from lab.training import Budget, LossFunction, evaluate, loss_line, reconstruction_loss, to_device, train

LARGEST_LATENT = 2**12  # a third of the numbers of an image
LINES = 30  # rows of the best preset's record, as many as the original has epochs


@dataclass(frozen=True, kw_only=True)
class ReportPreset(data.DataConfig):
    """The coursework report's network and training."""

    preset: Literal["report"] = "report"  # report or best; `--preset best --help` lists the options of that one
    network: str = "convolutional"  # its architecture, or a network of your own as my_file.py:MyClass
    latent: int = 128  # numbers an image is compressed to
    dropout: float = 0.2  # probability that a latent number is dropped in training
    initialization: Literal["he", "pytorch"] = "he"  # the original's was pytorch's default, which learns slower

    epochs: int = 30  # passes over the training images
    batch_size: int = 64  # images per step
    learning_rate: float = 1e-3  # of Adam
    weight_decay: float = 1e-5  # L2 penalty of Adam
    precision: Precision = "float32"  # auto: bfloat16 where the processor computes in it; bfloat16: in any case

    def __post_init__(self):
        super().__post_init__()
        at_least(1, latent=self.latent, epochs=self.epochs, batch_size=self.batch_size)
        at_most(LARGEST_LATENT, latent=self.latent)
        at_least(0, dropout=self.dropout, learning_rate=self.learning_rate, weight_decay=self.weight_decay)
        if self.dropout >= 1:
            raise UserError(f"--dropout is {self.dropout}; it must be below 1")

    def build(self) -> Autoencoder:
        options = {"dropout": self.dropout, "initialization": self.initialization}
        return networks.build(self.network, self.latent, options)


@dataclass(frozen=True, kw_only=True)
class BestPreset(data.DataConfig):
    """A start at PCA, a convolutional residual, Muon, and fresh augmentation at every step."""

    preset: Literal["best"] = "best"  # report or best; `--preset report --help` lists the options of that one
    network: str = "residual"  # its architecture, or a network of your own as my_file.py:MyClass
    latent: int = 128  # numbers an image is compressed to
    pca_images: int = 2048  # augmented images to which the PCA at the start is fitted

    steps: int | None = None  # training steps, 1800 unless --seconds is given; the schedule is planned for them
    seconds: float | None = None  # plan for so many seconds of training instead of steps
    batch_size: int = 32  # images per step
    muon_learning_rate: float = 0.015  # of the convolutions, at its peak
    muon_weight_decay: float = 0.2  # of the convolutions
    linear_learning_rate: float = 2e-4  # of the PCA's matrices: they start where they should be
    bias_learning_rate: float = 1e-3  # of biases
    precision: Precision = "auto"  # bfloat16 where the processor computes in it, else float32

    train_on: Literal["auto", "faces", "all"] = "auto"  # other pictures among the faces; auto: for unseen emoji
    other_pictures: float | None = None  # part of a batch that is no faces; 0.25 if there are any
    shift: float | None = None  # shifts of up to so many sides, twice as much scale; 0.015 for unseen emoji, else 0
    mixing: float | None = None  # probability of MixUp or CutMix; 0.7 for unseen emoji, else 0

    def __post_init__(self):
        super().__post_init__()
        at_least(1, latent=self.latent, batch_size=self.batch_size)
        at_least(1, steps=1 if self.steps is None else self.steps, seconds=1 if self.seconds is None else self.seconds)
        rates = ("muon_learning_rate", "muon_weight_decay", "linear_learning_rate", "bias_learning_rate")
        at_least(0, **{name: getattr(self, name) for name in rates})
        parts = {name: getattr(self, name) or 0 for name in ("other_pictures", "shift", "mixing")}
        at_least(0, **parts)
        at_most(1, **parts)
        at_least(2, pca_images=self.pca_images)
        if self.steps and self.seconds:
            raise UserError("--steps and --seconds are two budgets; give one of them")
        if self.latent >= self.pca_images:
            raise UserError(f"--latent is {self.latent}; it must be below --pca-images, {self.pca_images}")

    def build(self) -> Autoencoder:
        return networks.build(self.network, self.latent, {})


Preset = ReportPreset | BestPreset


def settled(config: Preset, device: torch.device, recorded: dict | None = None) -> Preset:
    """`config` with all that was left open decided, so that the record holds what runs.

    `recorded` is the config of a run that is resumed: its precision is kept.
    """
    config = precision.settled(config, device, (recorded or {}).get("precision"))
    if not isinstance(config, BestPreset):
        return config
    unseen = config.split == "emoji"  # else the tested emoji are in training: nothing new is to come
    train_on = ("all" if unseen else "faces") if config.train_on == "auto" else config.train_on
    decided = {
        "train_on": train_on,
        "other_pictures": 0.25 if train_on == "all" else 0.0,
        "shift": 0.015 if unseen else 0.0,
        "mixing": 0.7 if unseen else 0.0,
        "steps": None if config.seconds else 1800,
    }
    return replace(config, **{k: v for k, v in decided.items() if getattr(config, k) in (None, "auto")})


@dataclass(frozen=True)
class Trained:
    """What a training leaves."""

    model: Autoencoder  # on its device
    history: list[dict] = field(repr=False)  # a row per line of the record
    pca: PCA = field(repr=False)  # of the images that the network saw, with as many components as its latent


@dataclass(frozen=True)
class Material:
    """What a network is trained on, and for how long."""

    batches: Iterator[tuple[torch.Tensor, torch.Tensor]]  # without end
    pca: PCA  # of training images: where the best preset starts
    budget: Budget
    order: torch.Generator  # from which the batches are drawn


def material(config: Preset, splits: data.Splits, device: torch.device) -> Material:
    """The training images of `splits` as the preset takes them."""
    if isinstance(config, BestPreset):
        order = data.generator("diet", config.seed)  # a label; another would draw others
        mixed = mixture(splits, config, device)
        sample = mixed.sample(config.pca_images, data.generator("PCA", config.seed)).cpu()
        budget = Budget(config.steps, config.seconds, LINES)
        pca = baselines.fit_pca(sample, config.latent)
        return Material(mixed.batches(config.batch_size, order), pca, budget, order)
    order = data.generator("order", config.seed)
    loader = data.batches(splits.train, config.batch_size, order)
    budget = Budget(config.epochs * len(loader), lines=config.epochs, unit="epoch")
    return Material(endless(loader), baselines.fit_pca(splits.train.images, config.latent), budget, order)


def fit_network(
    config: Preset, given: Material, device: torch.device, loss_function: LossFunction, classes: int = 0,
    checkpoint: Checkpoint | None = None, validate: Callable[[Autoencoder], dict] | None = None,
) -> Trained:  # fmt: skip
    """Train the preset's network, with a classifier if there are `classes`, on any material, or go on with it.

    `validate` gives what is recorded of the network on the way.
    """
    torch.manual_seed(data.seed_for("weights", config.seed))
    model = config.build()
    model = MultiTaskAutoencoder(model, classes) if classes else model
    model.start_at_pca(given.pca)
    model = to_device(model, device)
    torch.manual_seed(data.seed_for("dropout", config.seed))
    history = train(
        model, given.batches, loss_function, optimizers(config, model, device), given.budget, device,
        precision=config.precision, schedule=one_cycle if isinstance(config, BestPreset) else constant,
        generators=[given.order], checkpoint=checkpoint,
        validate=(lambda: validate(model)) if validate else None,
    )  # fmt: skip
    return Trained(model, history, given.pca)


def fit(
    config: Preset, splits: data.Splits, device: torch.device, record,
    loss_function: LossFunction = reconstruction_loss, classes: int = 0, run: dict | None = None,
) -> Trained:  # fmt: skip
    """Train a network as the preset says, with a classifier if there are `classes`, or go on with it.

    `run` tells the training apart where a script makes many: it goes into the rows, and they are not printed.
    """
    given = material(config, splits, device)
    checkpoint = Checkpoint(record, run, lambda row: tqdm.write(shown(row, given.budget)))
    val = (lambda model: evaluate(model, splits.val, loss_function, device)) if splits.val else None
    return fit_network(config, given, device, loss_function, classes, checkpoint, val)


def endless(loader) -> Iterator:
    """Pass after pass over a loader."""
    while True:
        yield from loader


def optimizers(config: Preset, model: Autoencoder, device: torch.device) -> list[torch.optim.Optimizer]:
    """Adam for the report preset; for the best one Muon for matrices, and AdamW for the rest and the linear path."""
    fused = device.type != "mps"
    if isinstance(config, ReportPreset):
        rates = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
        return [torch.optim.Adam(model.parameters(), **rates, fused=fused)]
    linear = [parameter for name, parameter in model.named_parameters() if name in model.linear_path]
    others = [parameter for name, parameter in model.named_parameters() if name not in model.linear_path]
    matrices, biases = ([p for p in others if (p.dim() > 1) == wide] for wide in (True, False))
    rates = ((linear, config.linear_learning_rate), (biases, config.bias_learning_rate))
    groups = [{"params": parameters, "lr": rate} for parameters, rate in rates if parameters]
    return [
        Muon(matrices, config.muon_learning_rate, weight_decay=config.muon_weight_decay),
        torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0, fused=fused),
    ]


def shown(row: dict, budget: Budget) -> str:
    """A row of the record for the terminal."""
    if budget.unit == "epoch":
        return f"Epoch [{row['epoch']}/{budget.lines}], {loss_line(row)}"
    return f"Step {row['step']}, {loss_line(row)}"
