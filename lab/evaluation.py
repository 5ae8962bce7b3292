"""A finished run tested again without training: the test numbers of its record, from its folder alone."""

import math
from dataclasses import fields
from pathlib import Path

import torch

import data
from common import files
from common.errors import UserError
from lab import networks, presets, trained, training
from lab.options import Run

KEPT = {"evaluate", "preset", "network", "device"}  # what may stand beside --evaluate: the record has the rest


def refuse_options(config: Run) -> None:
    """Raise UserError for an option beside --evaluate that the record decides."""
    given = [field.name for field in fields(config) if field.name not in KEPT]
    given = [name for name in given if getattr(config, name) != getattr(type(config), name)]
    if given:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"--evaluate takes all options from the record in {config.evaluate}; leave {names} out")


def reopened(config: Run, *kinds: type[Run]) -> tuple[Run, presets.Trained, data.Splits, torch.device]:
    """The options of the finished run in `config.evaluate`, as one of `kinds`, what it left, its data and the device.

    The PCA is fitted again to what the network saw. Raises UserError.
    """
    refuse_options(config)
    folder, device = config.evaluate, training.choose_device(config.device)
    model = training.to_device(networks.load(folder, own=config.network), device)
    run = trained.options(folder, *kinds)
    splits = trained.splits_of(model, run)
    print(data.describe(splits))
    return run, presets.Trained(model, [], presets.material(run, splits, device).pca), splits, device


def beside_record(folder: Path, numbers: dict[str, float]) -> dict[str, float]:
    """Print test numbers beside those on record in `folder`. Returns them. Raises UserError for an unfinished run."""
    record = files.read_json(folder / "metrics.json", f"--evaluate takes a finished run; train {folder} again")
    for name, value in numbers.items():
        there = record.get(name)
        on_record = f"{there:.4f}" if files.fits(there, float) and math.isfinite(there) else "no number"
        print(f"{name.replace('_', ' '):26} {value:.4f}, on record {on_record}")
    return numbers
