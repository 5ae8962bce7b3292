"""The figure of an experiment: errors over the steps, and the paired differences behind its verdicts."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from common.figures import REFERENCE, TRAIN, VAL, save
from studies.findings import METRICS

COLORS = ("#1f77b4", "#d95f02", "#2ca02c", "#9467bd")  # of the settings


def over_steps(axes: Axes, rows: list[dict], varied: str) -> None:
    """The MSE on unseen emoji, of every seed and their mean, that on training emoji, and PCA's, by setting."""
    pca = [np.mean(row["values"]["pca_mse"]) for row in rows]
    for row, color, error in zip(rows, COLORS, pca):
        steps, unseen = row["steps"], np.array(row["curves"]["mse"])
        axes.plot(steps, unseen.T, color=color, alpha=0.25, linewidth=0.7)
        axes.plot(steps, unseen.mean(0), color=color, linewidth=2)
        axes.plot(steps, np.mean(row["curves"]["train_mse"], 0), color=color, linewidth=1.2, linestyle="--")
        axes.axhline(error, color=color if np.ptp(pca) else REFERENCE, linewidth=1.2, linestyle=":")
    styles = (
        ("unseen emoji", "-", 2.0),
        ("one seed", "-", 0.7),
        ("training emoji", "--", 1.2),
        ("PCA, unseen", ":", 1.2),
    )
    keys = [axes.plot([], [], color=REFERENCE, linestyle=style, linewidth=width)[0] for _, style, width in styles]
    axes.set(xscale="log", yscale="log", xlabel="steps of training", ylabel="MSE per image")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(lambda value, place: f"{value:g}")
        axis.set_minor_locator(LogLocator(subs="auto"))
        axis.set_minor_formatter(lambda value, place: "")
    axes.grid(alpha=0.25)
    names = [*(name for name, _, _ in styles), *(row["setting"] for row in rows)]
    lines = keys + [axes.plot([], [], color=color, linewidth=2)[0] for _, color in zip(rows, COLORS)]
    axes.legend(
        lines, names, ncols=2, frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.16),
        title=f"colours: {varied}", title_fontsize=8, alignment="left",
    )  # fmt: skip


def differences(axes: Axes, judged: list[dict], label: str) -> None:
    """A row per hypothesis: a dot per seed, their mean and its corrected 95% interval. Zero is no effect."""
    for place, outcome in enumerate(judged):
        values, (low, high) = outcome["differences"], outcome["interval"]
        axes.plot(values, [place + 0.12] * len(values), "o", color=TRAIN, alpha=0.5, markersize=4)
        reach = [[outcome["mean"] - low], [high - outcome["mean"]]]
        axes.errorbar(outcome["mean"], place - 0.12, xerr=reach, fmt="D", color=VAL, capsize=4, markersize=5)
    axes.axvline(0, color=REFERENCE, linewidth=1)
    names = [f"{METRICS[one['metric']]}\n{one['setting']} − {one['reference']}\n{one['verdict']}" for one in judged]
    axes.set(yticks=range(len(judged)), ylim=(len(judged) - 0.5, -0.5), xlabel=label)
    axes.set_yticklabels(names, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(alpha=0.25, axis="x")


def draw(rows: list[dict], judged: list[dict], varied: str, path: Path) -> Path:
    """Errors over steps beside the differences after the last of them. Takes a record's `rows` and `hypotheses`."""
    groups = {"difference in MSE": [one for one in judged if "accuracy" not in one["metric"]]}
    groups["difference in balanced accuracy"] = [one for one in judged if "accuracy" in one["metric"]]
    groups = {label: members for label, members in groups.items() if members}
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1))
    over_steps(left.subplots(), rows, varied)
    heights = [len(members) for members in groups.values()]
    panels = right.subplots(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (label, members) in zip(panels, groups.items()):
        differences(axes, members, label)
    steps = f"after {rows[0]['steps'][-1]:,} steps"
    title = f"{steps}: seeds (dots), mean and corrected 95% interval;\neach verdict is of its question alone"
    panels[0].set_title(title, fontsize=9)
    return save(figure, path)
