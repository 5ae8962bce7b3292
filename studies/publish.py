"""A folder in pretrained/ from a finished run: weights small enough to commit, with their record, card and checksum.

    python -m studies.publish coursework  # of runs/autoencoder
    python -m studies.publish best        # of runs/best-styles
    python -m studies.publish multitask   # of runs/multitask

Weights are stored as float16 if all test numbers stay within 1% of the record, else as float32. To put a folder on the
Hub: `huggingface_hub.upload_folder(repo_id="you/emoji-autoencoder", folder_path="pretrained/best")`.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab import cli  # before torch: it sets the environment

import torch
import tyro
from safetensors.torch import load_file, save

import data
from lab import classes, networks, pretrained, runs, sources, training
from lab.cli import UserError
from lab.options import TrainingRun, resolve_defaults

TOLERANCE = 0.01  # of a number on record


@dataclass(frozen=True, kw_only=True)
class Config:
    """Make a folder in pretrained/ from a finished run."""

    network: tyro.conf.Positional[Literal["coursework", "best", "multitask"]]  # which it is
    run: Path | None = None  # folder of the finished run; default: where its command leaves it
    out: Path = pretrained.FOLDER  # folder of all published networks


def credits(run: Path) -> list[str]:
    """Whose pictures a run was trained and tested on. Raises UserError for pictures without a licence."""
    options = pretrained.recorded_options(run)
    styles = [options.source, *options.also, *filter(None, [options.hold_out_style])]
    if unlicensed := [style for style in styles if style not in sources.STYLES]:
        raise UserError(f"{run} was trained on {unlicensed[0]}, which has no licence; train it on other pictures")
    return [sources.credit(style) for style in styles]


def test_numbers(model: networks.Autoencoder, run: Path) -> dict[str, float]:
    """The test numbers of a network, on the test images of the run that it comes from."""
    options = resolve_defaults(pretrained.recorded_options(run, TrainingRun))
    if not isinstance(model, classes.MultiTaskAutoencoder):
        splits = data.split(data.load_styles(options), options)
        return training.errors(training.reopened(model, options, splits), splits.test, options.refine_steps)
    pictures, labels = classes.classify(data.load_styles(options))
    splits = data.split(pictures, options)
    loss = classes.MultiTaskLoss(labels, runs.read_run(run)["config"]["classification_weight"])
    found = {f"test_{name}": value for name, value in training.evaluate(model, splits.test, loss).items()}
    return found | training.baseline_errors(training.fit_pca(splits.train.images, options.latent), splits.test)


def small_weights(run: Path, record: dict) -> tuple[bytes, str, dict[str, float]]:
    """The content of the weights' file, their type, and the test numbers that they give. Raises UserError."""
    model, exact = networks.load(run), load_file(run / networks.WEIGHTS)
    for kind in (torch.float16, torch.float32):
        weights = {name: tensor.to(kind) for name, tensor in exact.items()}
        model.load_state_dict(weights)
        found = test_numbers(model, run)
        if all(math.isclose(value, record.get(name, math.nan), rel_tol=TOLERANCE) for name, value in found.items()):
            return save(weights), str(kind).removeprefix("torch."), found
    raise UserError(f"the network in {run} gives other numbers than its record; train it again")


def card(network: pretrained.Network, folder: Path, run: Path, weights: bytes, kind: str, found: dict) -> str:
    """The model card: what the network is, what it was made from, its numbers, and its limitations."""
    about, script = runs.read_run(run), network.command.split()[1]
    return "\n".join([
        f"# {network.title}", "",
        f"`lab.networks.load({str(folder)!r})` loads this network, `python {script} --evaluate {folder}` tests it",
        "again. An MSE is a mean per image, pixels in [0, 1].", "",
        "| | |", "| --- | --- |",
        f"| command | `{about['command']}` |",
        f"| seed | {about['config']['seed']} |",
        f"| weights | {kind} in the file, float32 when loaded; {len(weights) / 1e6:.1f} MB |",
        f"| SHA-256 | `{hashlib.sha256(weights).hexdigest()}` of {networks.WEIGHTS} |",
        *(f"| {name.replace('_', ' ')} | {value:.4g} |" for name, value in found.items()), "",
        "**Pictures** that it was trained and tested on, scaled to 64x64 pixels, on white:", "",
        *(f"- {credit}" for credit in credits(run)), "",
        "Its output resembles them: credit the artists, and follow their licences. The code has the MIT licence.", "",
        f"**Limitations.** {network.limitations}", "",
    ])  # fmt: skip


def main(config: Config) -> dict[str, float]:
    """Check that the numbers hold, then write the folder. Returns the test numbers."""
    network, folder = pretrained.NETWORKS[config.network], config.out / config.network
    run = config.run or network.run
    record = runs.read_json(run / runs.METRICS, f"first run `{network.command}`")
    credits(run)  # raises for pictures without a licence, before the network is tested
    weights, kind, found = small_weights(run, record)
    files = {name: (run / name).read_bytes() for name in (networks.SETTINGS, runs.RUN, runs.METRICS)}
    files |= {networks.WEIGHTS: weights, "README.md": card(network, folder, run, weights, kind, found).encode()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    print(f"wrote {folder}, {kind}, {len(weights) / 1e6:.1f} MB")
    return found


if __name__ == "__main__":
    cli.run(main, Config)
