"""Every figure of the project is drawn here. Pictures are (N, 3, H, W) tensors, uint8 or float in [0, 1]."""

import io
import os
import textwrap
from pathlib import Path
from typing import Sequence

import torch
from matplotlib.figure import Figure
from PIL import Image

from cli import UserError

DPI = 110
TRAIN, VAL, REFERENCE = "#1f77b4", "#d95f02", "#777777"


def prepare(*folders: Path) -> None:
    """Make the folders that a run writes into. Raises UserError if one cannot be written."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(f"{folder} cannot be written ({error.strerror}); give another folder") from None


def save(figure: Figure, path: Path) -> Path:
    """Write `figure` as a PNG of 256 colours, a third of the size and alike to the eye."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=DPI, facecolor="white", bbox_inches="tight", format="png")
    Image.open(picture).convert("RGB").quantize(256).save(path, optimize=True)
    return path


def show(axes, picture: torch.Tensor, title: str = "") -> None:
    """One picture, its range fixed to [0, 1] or 0..255, with a thin frame since its ground is white."""
    axes.imshow(picture.permute(1, 2, 0).numpy(), vmin=0, vmax=255 if picture.dtype == torch.uint8 else 1)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="#dddddd")
    if title:
        axes.set_title("\n".join(textwrap.wrap(title, 17)), fontsize=8)


def contact_sheet(images: torch.Tensor, path: Path, columns: int = 20) -> Path:
    """All pictures in one grid, each at half a thumbnail's size."""
    missing = -len(images) % columns
    white = torch.full((missing, *images.shape[1:]), 255, dtype=images.dtype)
    grid = torch.cat([images, white]).unflatten(0, (-1, columns))  # (rows, columns, 3, H, W)
    sheet = grid.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)  # (3, rows * H, columns * W)
    height, width = sheet.shape[1:]
    figure = Figure(figsize=(9, 9 * height / width))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(sheet.permute(1, 2, 0).numpy())
    axes.axis("off")
    return save(figure, path)


def learning_curves(history: list[dict], path: Path, baselines: dict[str, float]) -> Path:
    """Train and validation loss per epoch, on a logarithmic axis, with the test MSE of the baselines as lines."""
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    epochs = [row["epoch"] for row in history]
    for part, name, color in (("train", "training", TRAIN), ("val", "validation", VAL)):
        axes.plot(epochs, [row[f"{part}_loss"] for row in history], color=color, label=name, marker=".", markersize=4)
    for (name, value), style in zip(baselines.items(), ("--", ":")):
        axes.axhline(value, color=REFERENCE, linestyle=style, linewidth=1, label=f"{name} (test)")
    axes.set(xlabel="epoch", ylabel="MSE per image", yscale="log")
    axes.grid(alpha=0.25, which="both")
    axes.legend(frameon=False, fontsize=8)
    return save(figure, path)


def reconstructions(inputs: torch.Tensor, outputs: torch.Tensor, titles: Sequence[str], path: Path) -> Path:
    """Inputs in the upper row, under their titles; their reconstructions below."""
    count = len(inputs)
    figure = Figure(figsize=(1.5 * count, 3.1))
    axes = figure.subplots(2, count, squeeze=False, gridspec_kw={"hspace": 0.08})
    for column in range(count):
        show(axes[0, column], inputs[column], titles[column])
        show(axes[1, column], outputs[column])
    axes[0, 0].set_ylabel("input", fontsize=9)
    axes[1, 0].set_ylabel("reconstruction", fontsize=9)
    return save(figure, path)
