"""How a network is trained by a preset. What a preset is made of stands in options.py."""

from dataclasses import dataclass, field, replace
from typing import Callable, Iterator

import torch
from sklearn.decomposition import PCA
from tqdm import tqdm

import data
from lab import baselines, networks, precision
from lab.checkpoint import Checkpoint
from lab.contract import Autoencoder
from lab.mixture import mixture
from lab.multitask import MultiTaskAutoencoder
from lab.optimizers import Muon, constant, one_cycle
from lab.options import BestPreset, Preset, ReportPreset
from lab.training import Budget, LossFunction, evaluate, loss_line, reconstruction_loss, to_device, train

LINES = 30  # rows of the best preset's record, as many as the original has epochs


def build(config: Preset) -> Autoencoder:
    """A new network as the preset says. Raises UserError for an architecture that is not there."""
    names = ("dropout", "initialization") if isinstance(config, ReportPreset) else ()
    return networks.build(config.network, config.latent, {name: getattr(config, name) for name in names})


def settled(config: Preset, device: torch.device, recorded: dict | None = None) -> Preset:
    """`config` with all that was left open decided, so that the record holds what runs.

    `recorded` is the config of a run that is resumed: its precision is kept.
    """
    config = precision.settled(config, device, (recorded or {}).get("precision"))
    if not isinstance(config, BestPreset):
        return config
    unseen = config.split == "emoji"  # else the tested emoji are in training: nothing new is to come
    train_on = ("all" if unseen else "faces") if config.train_on == "auto" else config.train_on
    styles = bool(config.also)  # more to learn: smaller steps, more of them
    decided = {
        "network": "informed" if styles else "residual",
        "batch_size": 16 if styles else 32,
        "muon_learning_rate": 0.02 if styles else 0.015,
        "train_on": train_on,
        "other_pictures": 0.25 if train_on == "all" else 0.0,
        "shift": 0.015 if unseen else 0.0,
        "mixing": 0.7 if unseen else 0.0,
        "steps": None if config.seconds else 3000 if styles else 1800,
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
    model = build(config)
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
