"""Every curve and chart of the project is drawn here; pictures in rows and sheets are in figures.py."""

from pathlib import Path
from typing import Sequence

from common import figures  # before matplotlib: it sets the backend

import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogFormatter

from common.figures import CLASSES, REFERENCE, TRAIN, VAL

PANEL, THUMBNAIL = 5.0, 0.34  # sides of a map of latents and of a picture on it, in inches
MOST = 100  # pictures on a map
THIN, BOLD = 1.0, 2.5  # frames


def learning_curves(history: list[dict], path: Path, baselines: dict[str, float], loss: str = "loss") -> Path:
    """Train and validation MSE per epoch or step, the rows' `train_<loss>` and `val_<loss>`, on a logarithmic axis.

    The test MSE of the baselines are lines across. Where the rows hold accuracies, a second panel shows them.
    """
    accuracies = "val_accuracy" in history[0]
    figure = Figure(figsize=(9.6 if accuracies else 6.4, 3.4), layout="constrained")
    panels = figure.subplots(1, 2 if accuracies else 1, squeeze=False)[0]
    unit = "epoch" if "epoch" in history[0] else "step"
    times = [row[unit] for row in history]
    for axes, quantity in zip(panels, (loss, "accuracy")):
        for part, name, color in (("train", "training", TRAIN), ("val", "validation", VAL)):
            values = [row[f"{part}_{quantity}"] for row in history]
            axes.plot(times, values, color=color, label=name, marker=".", markersize=4)
        axes.grid(alpha=0.25, which="both")
        axes.set_xlabel(unit)
    for (name, value), style in zip(baselines.items(), ("--", ":")):
        panels[0].axhline(value, color=REFERENCE, linestyle=style, linewidth=1, label=f"{name} (test)")
    panels[0].set(ylabel="MSE per image", yscale="log")
    panels[0].yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.4)))  # less than two decades: more labels
    if accuracies:
        panels[1].set(ylabel="accuracy", ylim=(0, 1.03))
    panels[0].legend(fontsize=8, edgecolor="none", framealpha=0.9)
    return figures.save(figure, path)


# ---------------------------------------------------------------- latents


def free_places(points: torch.Tensor, side: float) -> torch.Tensor:
    """(N, 2) centres of squares of this side, none on another: each, in turn, as near its (N, 2) point as is free."""
    count = 4 * (int(len(points) ** 0.5) + 2)  # steps of a quarter: there is room for all
    steps = torch.cartesian_prod(*2 * [torch.arange(-count, count + 1) * side / 4])
    steps = steps[steps.square().sum(1).argsort(stable=True)]
    places = torch.empty(0, 2)
    for point in points:
        gaps = (point + steps)[:, None] - places  # (steps, places, 2)
        free = (gaps.abs().amax(2) > 0.99 * side).all(1)
        places = torch.cat([places, point + steps[free.nonzero()[:1, 0]]])
    return places


def latent_map(
    panels: dict[str, torch.Tensor], images: torch.Tensor, labels: Sequence[int], class_names: Sequence[str],
    held_out: Sequence[int], path: Path, meanings: tuple[str, str] = ("in training: pale", "held out: bold frame"),
) -> Path:  # fmt: skip
    """Each emoji at its (N, 2) point in each panel, or beside it, then with a line to it, framed by its class's colour.

    Both axes of a panel have one scale. Those at `held_out` are shown in full colours in a bold frame, the others pale;
    the legend says the `meanings` of pale and bold.
    """
    order = torch.tensor([*held_out, *(i for i in range(len(images)) if i not in set(held_out))])[:MOST]
    figure = Figure(figsize=((PANEL + 0.6) * len(panels), PANEL + 1), layout="constrained")
    for axes, (title, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        middle, extent = (points.amin(0) + points.amax(0)) / 2, (points.amax(0) - points.amin(0)).max()
        reach = max(extent.item(), 1e-6) * 0.58  # from the middle to an edge
        side = 2 * reach * THUMBNAIL / PANEL
        places = free_places(points[order], side)
        reach = max(reach, (places - middle).abs().max().item() + side)
        for i, place in zip(order.tolist(), places):
            frame = {"edgecolor": CLASSES[labels[i]], "linewidth": BOLD if i in held_out else THIN}
            thumbnail(axes, images[i], points[i], place, side, frame, pale=bool(held_out) and i not in held_out)
        (left, bottom), (right, top) = (middle - reach).tolist(), (middle + reach).tolist()
        axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", title=title)
        axes.set(xlabel="first principal component of the latents", ylabel="second")
        axes.grid(alpha=0.25)
    style = {"marker": "s", "linestyle": "", "markersize": 9}
    marks = [Line2D([], [], color=color, label=name, **style) for name, color in zip(class_names, CLASSES)]
    for name, width in zip(meanings, (THIN, BOLD)) if held_out else ():
        marks.append(Line2D([], [], color="black", mfc="white", mew=width, label=name, **style))
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)
    return figures.save(figure, path)


def thumbnail(axes, image, point: torch.Tensor, place: torch.Tensor, side: float, frame: dict, pale: bool) -> None:
    """A picture of this side at `place` and, if that is not over `point`, a line from there."""
    half = 0.47 * side
    left, bottom = (place - half).tolist()
    extent = (left, left + 2 * half, bottom, bottom + 2 * half)
    axes.imshow(image.permute(1, 2, 0).numpy(), extent=extent, alpha=0.5 if pale else 1, zorder=2)
    axes.add_patch(Rectangle((left, bottom), 2 * half, 2 * half, fill=False, zorder=3, **frame))
    edge = place + (point - place).clamp(-half, half)
    if not torch.equal(edge, point):
        color = frame["edgecolor"]
        axes.plot(*torch.stack([edge, point]).T, color=color, linewidth=0.8, zorder=4)
        axes.plot(*point.tolist(), "o", color=color, markersize=4, markeredgecolor="white", zorder=5)


# ---------------------------------------------------------------- comparisons


def paired_differences(differences: dict[str, dict], path: Path) -> Path:
    """A row per setting: a dot for each seed's difference, their mean and its 95% interval. Zero is no effect."""
    figure = Figure(figsize=(6.4, 0.8 + 0.7 * len(differences)), layout="constrained")
    axes = figure.subplots()
    for row, values in enumerate(differences.values()):
        dots, mean, (low, high) = (values[f"difference{name}"] for name in ("s", "_mean", "_interval"))
        axes.plot(dots, [row] * len(dots), "o", color=TRAIN, alpha=0.6, label=None if row else "one seed")
        label = None if row else "mean, corrected 95% interval"
        reach = [[mean - low], [high - mean]]
        axes.errorbar(mean, row + 0.2, xerr=reach, fmt="D", color=VAL, capsize=4, label=label)
    axes.axvline(0, color=REFERENCE, linewidth=1)
    axes.set(yticks=range(len(differences)), yticklabels=differences, ylim=(-0.5, len(differences) - 0.2))
    axes.set_xlabel("test MSE with the classification loss minus without: right of 0, the loss costs")
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figures.save(figure, path)


def error_against_seconds(curves: dict, ends: dict, lines: dict[str, float], path: Path) -> Path:
    """Test MSE over the seconds since a process started: curves, dots for the ends of others, named lines."""
    figure = Figure(figsize=(7.2, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        axes.plot(*zip(*points), label=name, linewidth=1.5)
    for name, points in ends.items():
        axes.plot(*zip(*points), "o", color="black", label=name, markersize=5)
    for name, value in lines.items():
        axes.axhline(value, color=REFERENCE, linestyle="--", linewidth=1)
        axes.text(0.99, value, name, color=REFERENCE, fontsize=8, ha="right", va="bottom",
                  transform=axes.get_yaxis_transform())  # fmt: skip
    axes.set(xlabel="seconds since the process started", ylabel="test MSE per image, unseen emoji", yscale="log")
    axes.grid(alpha=0.25, which="both")
    axes.legend(frameon=False, fontsize=8)
    return figures.save(figure, path)
