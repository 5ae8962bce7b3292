"""The one training loop and the one evaluation."""

import ctypes
import math
import platform
from typing import Callable, Sequence

import torch
from torch import nn
from tqdm import tqdm

import data
from checkpoint import Checkpoint, layer_generator
from cli import UserError
from records import Record

# A model's losses on a batch: means over its images, with "loss" the one to descend.
Losses = Callable[[nn.Module, torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA, MPS or the processor, whichever is there first. Raises UserError."""
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


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Channels last is the layout in which strided convolutions are fastest on CPU and CUDA."""
    keep_freed_memory()  # from here on; what loading and PCA needed is given back
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
    model: nn.Module, splits: data.Splits, losses: Losses, config, device: torch.device, record: Record,
    run: dict | None = None, generators: Sequence[torch.Generator] = (),
) -> list[dict]:  # fmt: skip
    """Train `model` with Adam as `config` says, or go on with it. Returns a row per epoch, which is also recorded and printed.

    `run` tells the run apart where a script makes many: it goes into the rows, and they are not printed.
    `generators` are those that `losses` draw from.
    """
    optimizer = torch.optim.Adam(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=device.type != "mps"
    )
    order = data.generator("order", config.seed)
    batches = data.batches(splits.train, config.batch_size, order)
    torch.manual_seed(data.seed_for("dropout", config.seed))
    checkpoint = Checkpoint(record, run, lambda row: tqdm.write(f"Epoch [{row['epoch']}/{config.epochs}], {loss_line(row)}"))
    checkpoint.restore(model, [optimizer], [order, layer_generator(device), *generators])
    with tqdm(total=(config.epochs - len(checkpoint.history)) * len(batches), unit="batch", leave=False, disable=None) as progress:
        for epoch in range(len(checkpoint.history) + 1, config.epochs + 1):
            parts = {"train": one_pass(model, batches, losses, device, optimizer, progress, precision=config.precision)}
            if len(splits.val):
                parts["val"] = evaluate(model, splits.val, losses, device)
            checkpoint.add(row(parts, **(run or {}), epoch=epoch))
            checkpoint.save({}, finished=epoch == config.epochs)
    return checkpoint.history


def row(parts: dict[str, dict[str, float]], **about) -> dict:
    """A line of the record: what it is about, then `train_loss`, `val_loss` and so on."""
    return {**about, **{f"{part}_{name}": value for part, values in parts.items() for name, value in values.items()}}


def loss_line(row: dict) -> str:
    """As the report prints it: Train Loss: ..., Val Loss: ..., and accuracies where there are any."""
    fields = [
        f"{part.title()} {name.title()}: {row[f'{part}_{name}']:.4f}"
        for name in ("loss", "accuracy")
        for part in ("train", "val")
        if f"{part}_{name}" in row
    ]
    return ", ".join(fields)
