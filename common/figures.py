"""Every figure of pictures in rows and sheets is drawn here; curves and charts are in charts.py.

Pictures are (N, 3, H, W) tensors, uint8 or float in [0, 1].
"""

import io
import os
import textwrap
from pathlib import Path
from typing import Sequence

os.environ["MPLBACKEND"] = (
    "agg"  # before matplotlib reads it: figures go to files only, and a backend that is not there is an error
)

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from common import files

DPI = 110
TRAIN, VAL, REFERENCE = "#1f77b4", "#d95f02", "#777777"
CLASSES = (VAL, TRAIN)
FILM_DPI, FILM_COLOURS = 72, 64
FRAME, LAST_FRAME = 400, 2000  # milliseconds
GUTTER = 6  # pixels around each picture of a contact sheet


def save(figure: Figure, path: Path) -> Path:
    """Write `figure` as a PNG of 256 colours, a third of the size and alike to the eye."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=DPI, facecolor="white", bbox_inches="tight", format="png")
    with files.written_whole(path) as whole:
        Image.open(picture).convert("RGB").quantize(256).save(whole, "PNG", optimize=True)
    return path


def show(axes, picture: torch.Tensor, title: str = "") -> None:
    """One picture, its range fixed to [0, 1] or 0..255, with a thin frame since its ground is white."""
    axes.imshow(picture.permute(1, 2, 0).numpy(), vmin=0, vmax=255 if picture.dtype == torch.uint8 else 1)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="#dddddd")
    if title:
        lines = "\n".join(textwrap.wrap(title, 17, max_lines=6))
        axes.set_title(lines, fontsize=8, parse_math=False)  # a name may hold a $


def contact_sheet(images: torch.Tensor, title: str, path: Path, columns: int = 20) -> Path:
    """All pictures in one grid under a title, each at half a thumbnail's size, with white between them."""
    images = nn.functional.pad(images, (GUTTER,) * 4, value=255)
    missing = -len(images) % columns
    white = torch.full((missing, *images.shape[1:]), 255, dtype=images.dtype)
    grid = torch.cat([images, white]).unflatten(0, (-1, columns))  # (rows, columns, 3, H, W)
    sheet = grid.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)  # (3, rows * H, columns * W)
    height, width = sheet.shape[1:]
    figure = Figure(figsize=(9, 9 * height / width))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(sheet.permute(1, 2, 0).numpy())
    axes.set_title("\n".join(textwrap.wrap(title, 120, max_lines=3)), fontsize=9, parse_math=False)
    axes.axis("off")
    return save(figure, path)


def reconstructions(
    rows: Sequence[tuple[str, torch.Tensor]], titles: Sequence[str], path: Path, notes: Sequence[str] = ()
) -> Path:
    """Rows of pictures, each with its label at the left: first the originals, under their titles; `notes` below all."""
    count = len(titles)
    figure = Figure(figsize=(1.4 * count, 1.45 * len(rows)))
    grid = figure.subplots(len(rows), count, squeeze=False, gridspec_kw={"hspace": 0.06, "wspace": 0.06})
    for row, (places, (label, pictures)) in enumerate(zip(grid, rows)):
        for axes, picture, title in zip(places, pictures, titles):
            show(axes, picture, "" if row else title)
        places[0].set_ylabel(
            label, fontsize=9, rotation=0, ha="right", va="center", labelpad=8, linespacing=1.4, parse_math=False
        )
    for axes, note in zip(grid[-1], notes):
        axes.set_xlabel(note, fontsize=8)
    return save(figure, path)


def film(images: torch.Tensor, frames: Sequence[tuple[str, torch.Tensor]], titles: Sequence[str], path: Path) -> Path:
    """An animated PNG: the images under their titles, and below them those of each (label, pictures) in turn.

    The last frame stays for two seconds; then it begins again.
    """
    drawn = []
    for label, pictures in frames:
        figure = Figure(figsize=(1.3 * len(titles), 3.3))
        grid = figure.subplots(2, len(titles), squeeze=False, gridspec_kw={"hspace": 0.06, "wspace": 0.06})
        figure.subplots_adjust(left=0.05, right=0.98, bottom=0.09, top=0.8)
        for above, below, image, picture, title in zip(*grid, images, pictures, titles):
            show(above, image, title)
            show(below, picture)
        for row, name in zip(grid, ("picture", "reconstruction")):
            row[0].set_ylabel(name, fontsize=9)
        figure.text(0.5, 0.02, label, ha="center", fontsize=10)  # below, next to what changes: smaller files
        frame = io.BytesIO()
        figure.savefig(frame, dpi=FILM_DPI, facecolor="white", format="png")  # not tight: frames are of one size
        drawn.append(Image.open(frame).convert("RGB"))
    palette = drawn[-1].quantize(FILM_COLOURS)
    first, *rest = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in drawn)
    durations = [FRAME] * len(rest) + [LAST_FRAME]
    with files.written_whole(path) as whole:
        first.save(whole, "PNG", save_all=True, append_images=rest, duration=durations, loop=0, optimize=True)
    return path


def classes(
    images: torch.Tensor, names: Sequence[str], labels: Sequence[int], class_names: Sequence[str], path: Path
) -> Path:
    """The pictures of each class with their names, a block of rows per class."""
    columns = 9
    blocks = [[i for i, label in enumerate(labels) if label == k] for k in range(len(class_names))]
    rows = [block[i : i + columns] for block in blocks for i in range(0, len(block), columns)]
    figure = Figure(figsize=(1.25 * columns, 1.75 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for row, members in zip(grid, rows):
        for axes in row[len(members) :]:
            axes.axis("off")
        for axes, i in zip(row, members):
            show(axes, images[i], names[i])
        row[0].set_ylabel(class_names[labels[members[0]]], fontsize=10)
    return save(figure, path)


def equation(
    pictures, reconstructions, titles: Sequence[str], signs: Sequence[str], answer: tuple[torch.Tensor, str],
    formula: str, path: Path,
) -> Path:  # fmt: skip
    """What goes into a composite and, last, the composite: three pictures over four reconstructions, and their signs.

    Of a composite that is made of the pictures themselves, `reconstructions` is the composite alone. Above the composite stands the picture of `answer` under its title, and below all of it the formula.
    """
    figure = Figure(figsize=(7.6, 4.3), layout="constrained")
    axes = figure.subplots(2, 4)
    for place in axes[1, : 4 - len(reconstructions)]:
        place.axis("off")
    for place, picture in zip(axes[1, ::-1], reversed(reconstructions)):
        show(place, picture)
    for column, sign in enumerate(signs):
        rows = axes[:, column] if column < len(pictures) else axes[1:, column]
        for place in rows:
            place.text(-0.14, 0.5, sign, transform=place.transAxes, fontsize=16, ha="center", va="center")
    for column, (picture, title) in enumerate(zip([*pictures, answer[0]], [*titles[:3], answer[1]])):
        show(axes[0, column], picture, title)
    axes[0, 0].set_ylabel("picture", fontsize=9)
    axes[1, 0].set_ylabel("reconstruction", fontsize=9)  # not shown where there is none
    axes[1, 3].set_xlabel(titles[3], fontsize=9)
    figure.supxlabel(formula, fontsize=8)
    return save(figure, path)


def strip(
    pictures: Sequence[torch.Tensor], titles: Sequence[str], path: Path, notes: Sequence[str] = (),
    apart: tuple[torch.Tensor, str] | None = None,
) -> Path:  # fmt: skip
    """Pictures in a row, each under its title and over its note; away from them at the end `apart`, with its title."""
    widths = [1.0] * len(pictures) + ([0.15, 1.0] if apart else [])
    figure = Figure(figsize=(1.1 * sum(widths), 1.6 if notes else 1.5), layout="constrained")
    row = figure.subplots(1, len(widths), width_ratios=widths)
    for axes, picture, title in zip(row, pictures, titles):
        show(axes, picture, title)
    for axes, note in zip(row, notes):
        axes.set_xlabel(note, fontsize=8)
    if apart:
        row[-2].axis("off")
        show(row[-1], *apart)
    return save(figure, path)


def directions(
    rows: torch.Tensor, labels: Sequence[str], above: Sequence[str], below: Sequence[str], path: Path
) -> Path:
    """(R, S, 3, H, W) pictures: a row per direction with its label at the left, a column per step.

    The titles `above` are of all rows but the last, which has those `below`.
    """
    figure = Figure(figsize=(1.02 * len(above) + 0.7, 1.12 * len(rows) + 0.3))
    grid = figure.subplots(*rows.shape[:2], squeeze=False, gridspec_kw={"wspace": 0.06, "hspace": 0.06})
    for line, pictures, label in zip(grid, rows, labels):
        for axes, picture in zip(line, pictures):
            show(axes, picture)
        line[0].set_ylabel(label, fontsize=8, rotation=0, ha="right", va="center", labelpad=6)
    for first, last, upper, lower in zip(grid[0], grid[-1], above, below):
        first.set_title(upper, fontsize=8)
        last.set_xlabel(lower, fontsize=8)
    return save(figure, path)


KEY = "green: of all faces, the true cat (above the column) is nearest; red: another emoji is nearer"


def analogy_sheet(
    cats: torch.Tensor, pairs, composites: torch.Tensor, right: Sequence[bool], title: str, path: Path
) -> Path:
    """Row i, column j: the composite that should be cat j, made from cat i; the cats themselves above and at the left.

    Right answers have a green frame, wrong ones a red one.
    """
    count = len(cats)
    figure = Figure(figsize=(0.66 * (count + 1), 0.66 * (count + 1)))
    grid = figure.subplots(count + 1, count + 1, gridspec_kw={"wspace": 0.08, "hspace": 0.08})
    for axes in grid.flat:
        axes.axis("off")
    for k in range(count):
        show(grid[0, k + 1], cats[k])
        show(grid[k + 1, 0], cats[k])
    for picture, (i, j), correct in zip(composites, pairs, right):
        axes = grid[i + 1, j + 1]
        axes.axis("on")
        show(axes, picture)
        for spine in axes.spines.values():
            spine.set(color="#2ca02c" if correct else "#d62728", linewidth=2)
    figure.text(0.5, 0.9, title, ha="center", va="bottom", fontsize=9)
    figure.text(0.5, 0.1, KEY, ha="center", va="top", fontsize=8)
    grid[0, 0].text(0.5, 0.5, "from ↓\ninto →", ha="center", va="center", fontsize=7, transform=grid[0, 0].transAxes)
    return save(figure, path)
