"""The one training loop and the one evaluation."""

import ctypes
import math
import platform
import time
from dataclasses import dataclass
from typing import Callable, Iterable, Iterator, Sequence

import torch
from torch import nn
from tqdm import tqdm

import data
from common.errors import UserError
from lab.optimizers import constant
from lab.precision import autocast

# A network's losses on a batch: means over its images, with "loss" the one to descend.
LossFunction = Callable[[nn.Module, torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]
Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]  # (N, 3, H, W) images, uint8 or float in [0, 1], and their emoji


def reconstruction_loss(model: nn.Module, images: torch.Tensor, emoji: torch.Tensor) -> dict[str, torch.Tensor]:
    """The MSE per image, pixels in [0, 1]."""
    return {"loss": nn.functional.mse_loss(model(images), images)}


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA, MPS or the processor, whichever is there first. Raises UserError."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    kind = name.split(":")[0]
    if not available.get(kind):
        present = ", ".join(k for k, there in available.items() if there)
        raise UserError(f"--device {name} is not on this machine; it has {present}")
    try:
        return torch.empty(0, device=name).device
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name} cannot be used ({reason}); try --device {kind}") from None


def keep_freed_memory() -> None:
    """Let the C library of Linux keep what tensors free, for the next ones.

    Otherwise it returns every large block, and the kernel hands it out again page by page: a tenth of a step's time.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for a large block
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nothing is returned to the kernel


def layer_generator(device: torch.device) -> torch.Generator:
    """The generator from which dropout draws on `device`."""
    return torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else torch.default_generator


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Channels last is the layout in which strided convolutions are fastest on CPU and CUDA."""
    keep_freed_memory()  # from here on; what loading and PCA needed is given back
    return model.to(device) if device.type == "mps" else model.to(device, memory_format=torch.channels_last)


class Means:
    """Means per image of the losses of batches."""

    def __init__(self):
        self.sums, self.count = {}, 0

    def add(self, losses: dict[str, torch.Tensor], images: int) -> None:
        """Count a batch of `images` in. Raises UserError if its loss is not finite."""
        numbers = {name: value.item() for name, value in losses.items()}
        if not math.isfinite(numbers["loss"]):
            raise UserError(f"the loss became {numbers['loss']}; try a smaller --learning-rate or another --seed")
        for name, number in numbers.items():
            self.sums[name] = self.sums.get(name, 0.0) + number * images
        self.count += images

    def take(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: value / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


def evaluate(
    model: nn.Module, part: data.Part, loss_function: LossFunction, device: torch.device, gradients: bool = False
) -> dict[str, float]:
    """The losses over all images of `part`, as means per image, without dropout and in float32.

    `gradients` are for loss functions that need them themselves. Raises UserError for a loss that is not finite.
    """
    model.eval()
    means = Means()
    for images, emoji in data.batches(part, 256):
        with torch.set_grad_enabled(gradients):
            losses = loss_function(model, data.to_float(images.to(device)), emoji.to(device))
        means.add(losses, len(images))
    return means.take()


@dataclass(frozen=True)
class Budget:
    """How long to train: `steps`, or `seconds` if given. On the way `lines` rows are recorded, at equal distances."""

    steps: int | None = None
    seconds: float | None = None
    lines: int = 1
    unit: str = "step"  # epoch: the rows are counted as epochs

    def done(self, step: int, seconds: float) -> float:
        """The part that is used up after so many steps and seconds."""
        return seconds / self.seconds if self.seconds else step / self.steps

    def lines_due(self, step: int, seconds: float) -> int:
        """How many rows should be recorded by then."""
        return int(seconds / self.seconds * self.lines) if self.seconds else step * self.lines // self.steps


def descend(model, images, emoji, loss_function: LossFunction, optimizers, device, precision: str) -> dict:
    """One step of every optimizer; returns the losses before it."""
    images, emoji = images.to(device), emoji.to(device)
    with autocast(device, precision):
        losses = loss_function(model, data.to_float(images) if images.dtype == torch.uint8 else images, emoji)
    losses["loss"].backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return losses


def train(
    model: nn.Module, batches: Iterator, loss_function: LossFunction, optimizers: Sequence, budget: Budget,
    device: torch.device, *, precision: str = "float32", schedule: Callable[[float], float] = constant,
    generators: Sequence[torch.Generator] = (), checkpoint=None, validate: Callable | None = None,
) -> list[dict]:  # fmt: skip
    """Train `model` until the budget is used up, or go on with it; returns the rows that the budget asks for.

    `batches` never ends and draws from `generators`. `schedule` is the learning rate over the budget, as a part of each
    optimizer's own. `checkpoint` is a lab.checkpoint.Checkpoint; `validate()` gives the validation losses of a row.
    Raises UserError if the loss is not finite.
    """
    progress, rows, means = {"step": 0, "seconds": 0.0}, [], Means()
    if checkpoint:
        progress = checkpoint.restore(model, optimizers, [*generators, layer_generator(device)], progress)
        rows = checkpoint.history
    step, started = progress["step"], time.monotonic() - progress["seconds"]
    done, lines = budget.done(step, progress["seconds"]), budget.lines_due(step, progress["seconds"])
    peaks = [(group, group["lr"]) for optimizer in optimizers for group in optimizer.param_groups]  # after restore
    model.train()
    with tqdm(total=1.0, initial=done, leave=False, disable=None, bar_format=BAR) as bar:
        while done < 1:
            for group, peak in peaks:
                group["lr"] = peak * schedule(done)
            images, emoji = next(batches)
            means.add(descend(model, images, emoji, loss_function, optimizers, device, precision), len(images))
            step, seconds = step + 1, time.monotonic() - started
            done = budget.done(step, seconds)
            bar.update(min(done, 1) - bar.n)
            if budget.lines_due(step, seconds) > lines:
                lines = budget.lines_due(step, seconds)
                about = {"epoch": lines, "step": step} if budget.unit == "epoch" else {"step": step}
                new = row({"train": means.take(), "val": validate() if validate else {}}, **about)
                model.train()
                if checkpoint:
                    checkpoint.add(new)
                    checkpoint.save({"step": step, "seconds": time.monotonic() - started}, finished=done >= 1)
                else:
                    rows.append(new)
    return rows


BAR = "{percentage:3.0f}% |{bar}| {elapsed}<{remaining}"


def row(parts: dict[str, dict[str, float]], **about) -> dict:
    """A line of the record: what it is about, then `train_loss`, `val_loss` and so on."""
    return {**about, **{f"{part}_{name}": value for part, values in parts.items() for name, value in values.items()}}


def loss_line(row: dict) -> str:
    """As the original prints it: Train Loss: ..., Val Loss: ..., and accuracies where there are any."""
    fields = [
        f"{part.title()} {name.title()}: {row[f'{part}_{name}']:.4f}"
        for name in ("loss", "accuracy")
        for part in ("train", "val")
        if f"{part}_{name}" in row
    ]
    return ", ".join(fields)
