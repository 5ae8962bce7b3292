"""Every figure of the project. Pictures are (N, 3, H, W) tensors, uint8 or float in [0, 1]."""

import contextlib
import io
import textwrap
import warnings
from pathlib import Path
from typing import Sequence

import numpy as np
import torch
from PIL import Image

from lab.runs import atomic_write

DPI = 110
TRAIN, VAL, REFERENCE = "#1f77b4", "#d95f02", "#777777"
CLASSES = (VAL, TRAIN)
COLORS = (TRAIN, VAL, "#2ca02c", "#9467bd", "#8c564b")  # of an experiment's settings
PANEL, THUMBNAIL = 5.0, 0.34  # sides of a map of latents and of a picture on it, in inches


def new_figure(width: float, height: float, **options):
    """A matplotlib figure of so many inches."""
    from matplotlib.figure import Figure  # takes half a second to import

    return Figure(figsize=(width, height), **options)


def choose_fonts(texts) -> None:
    """Give texts in other scripts the installed fonts that have their letters, as far as there are any."""
    from matplotlib import font_manager, ft2font

    families = ["DejaVu Sans"]
    missing = {ord(letter) for text in texts for letter in text.get_text() if letter.isprintable()}
    missing -= ft2font.FT2Font(font_manager.findfont(families[0])).get_charmap().keys()
    paths = sorted(font_manager.findSystemFonts(), key=lambda path: ("Regular" not in path, path)) if missing else []
    for path in paths:
        with contextlib.suppress(RuntimeError):  # a font that matplotlib cannot read
            font = ft2font.FT2Font(path)
            if known := missing & font.get_charmap().keys():
                font_manager.fontManager.addfont(path)  # its list is older than a new font
                families, missing = [*families, font.family_name], missing - known
    for text in texts:
        text.set_fontfamily(families)
    warnings.filterwarnings("ignore", "Glyph .* missing|Matplotlib currently does not support", UserWarning)  # seen


def save(figure, path: Path) -> Path:
    """Write a figure as a PNG of 256 colours: a third of the size, and the same to the eye."""
    picture = io.BytesIO()
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = figure.findobj(lambda artist: hasattr(artist, "set_fontfamily"))
    if not all(text.get_text().isascii() for text in texts):
        choose_fonts(texts)
    figure.savefig(picture, dpi=DPI, facecolor="white", bbox_inches="tight", format="png")
    with atomic_write(path) as temporary:
        Image.open(picture).convert("RGB").quantize(256).save(temporary, "PNG", optimize=True)
    return path


def show(axes, picture: torch.Tensor, title: str = "") -> None:
    """One picture, its range fixed to [0, 1] or 0..255, with a thin frame, as its background is white."""
    axes.imshow(picture.permute(1, 2, 0).numpy(), vmin=0, vmax=255 if picture.dtype == torch.uint8 else 1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color="#dddddd")
    if title:  # a name may hold a $
        axes.set_title("\n".join(textwrap.wrap(title, 17, max_lines=6)), fontsize=8, parse_math=False)


def contact_sheet(images: torch.Tensor, title: str, path: Path, columns: int = 20) -> Path:
    """All pictures in one grid under a title, each at half a thumbnail's size, with white between them."""
    from torchvision.utils import make_grid  # takes a second to import

    sheet = make_grid(images, columns, padding=12, pad_value=255).permute(1, 2, 0)  # (height, width, 3)
    figure = new_figure(9, 9 * sheet.shape[0] / sheet.shape[1])
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(sheet.numpy())
    axes.set_title("\n".join(textwrap.wrap(title, 120, max_lines=3)), fontsize=9, parse_math=False)
    axes.axis("off")
    return save(figure, path)


def reconstructions(
    rows: Sequence[tuple[str, torch.Tensor]], titles: Sequence[str], path: Path, notes: Sequence[str] = ()
) -> Path:
    """Rows of pictures under `titles` and over `notes`, each with its label at the left. A row without any is a gap."""
    count, heights = len(titles), [1.0 if len(pictures) else 0.15 for _, pictures in rows]
    side = min(1.4, 11 / count, 7 / sum(heights))  # inches
    figure = new_figure(side * count, 1.04 * side * sum(heights))
    spaces = {"hspace": 0.06, "wspace": 0.06, "height_ratios": heights}
    grid = figure.subplots(len(rows), count, squeeze=False, gridspec_kw=spaces)
    style = {"rotation": 0, "ha": "right", "va": "center", "linespacing": 1.4, "parse_math": False}
    for row, (places, (label, pictures)) in enumerate(zip(grid, rows)):
        for axes in places[len(pictures) :]:
            axes.axis("off")
        for axes, picture, title in zip(places, pictures, titles):
            show(axes, picture, "" if row else title)
        places[0].set_ylabel(label, fontsize=9, labelpad=8, **style)
    for axes, note in zip(grid[-1], notes):
        axes.set_xlabel(note, fontsize=8)
    return save(figure, path)


def equation(
    pictures, reconstructions, titles: Sequence[str], signs: Sequence[str], answer: tuple[torch.Tensor, str],
    formula: str, path: Path,
) -> Path:  # fmt: skip
    """Three pictures over their reconstructions and the composite, with signs between them. For a transplant,
    `reconstructions` is only the composite. Above it is `answer`, a picture and its title; below all, the formula."""
    figure = new_figure(7.6, 4.3, layout="constrained")
    axes = figure.subplots(2, 4)
    for place in axes[1, : 4 - len(reconstructions)]:
        place.axis("off")
    for place, picture in zip(axes[1, ::-1], reversed(reconstructions)):
        show(place, picture)
    for place, sign in [*zip(axes[1], signs), *zip(axes[0, :3], signs)]:
        place.text(-0.14, 0.5, sign, transform=place.transAxes, fontsize=16, ha="center", va="center")
    for place, picture, title in zip(axes[0], [*pictures, answer[0]], [*titles[:3], answer[1]]):
        show(place, picture, title)
    axes[0, 0].set_ylabel("picture", fontsize=9)
    axes[1, 0].set_ylabel("reconstruction", fontsize=9)  # not shown where there is none
    axes[1, 3].set_xlabel(titles[3], fontsize=9)
    figure.supxlabel(formula, fontsize=8)
    return save(figure, path)


def analogy_sheet(
    cats: torch.Tensor, pairs, composites: torch.Tensor, right: Sequence[bool], title: str, path: Path
) -> Path:
    """Row i, column j: the composite that should be cat j, made from cat i; the cats themselves above and at the left.
    Right answers have a solid green frame, wrong ones a dotted red one."""
    side = len(cats) + 1
    figure = new_figure(0.66 * side, 0.66 * side)
    grid = figure.subplots(side, side, gridspec_kw={"wspace": 0.08, "hspace": 0.08})
    for axes in {*grid.flat} - {grid[i + 1, j + 1] for i, j in pairs}:
        axes.axis("off")
    for k, cat in enumerate(cats, 1):
        show(grid[0, k], cat)
        show(grid[k, 0], cat)
    for picture, (i, j), correct in zip(composites, pairs, right):
        axes = grid[i + 1, j + 1]
        show(axes, picture)
        style = {"color": "#2ca02c", "linewidth": 2.5} if correct else {"color": "#d62728", "linestyle": ":"}
        axes.spines[:].set(**style)
    figure.text(0.5, 0.9, title, ha="center", va="bottom", fontsize=9)
    key = "solid green: the true cat (above the column) is the nearest face; dotted red: another face is nearer"
    figure.text(0.5, 0.1, key, ha="center", va="top", fontsize=8)
    grid[0, 0].text(0.5, 0.5, "from ↓\ninto →", ha="center", va="center", fontsize=7, transform=grid[0, 0].transAxes)
    return save(figure, path)


def learning_curves(history: list[dict], path: Path, errors: dict, loss: str = "loss") -> Path:
    """Train and validation MSE per epoch or step, the rows' `train_<loss>` and `val_<loss>`, on a logarithmic axis.
    The test `errors` of PCA and the mean image are lines across. A second panel shows accuracies, if there are any."""
    quantities = (loss, "accuracy") if "val_accuracy" in history[0] else (loss,)
    figure = new_figure(3.2 * (len(quantities) + 1), 3.4, layout="constrained")
    panels = figure.subplots(1, len(quantities), squeeze=False)[0]
    unit = "epoch" if "epoch" in history[0] else "step"
    for axes, quantity in zip(panels, quantities):
        for part, name, color in (("train", "training", TRAIN), ("val", "validation", VAL)):
            values, label = [row[f"{part}_{quantity}"] for row in history], name if quantity == loss else None
            axes.plot([row[unit] for row in history], values, color=color, label=label, marker=".", markersize=4)
        axes.grid(alpha=0.25, which="both")
        axes.set_xlabel(unit)
    pca = f"PCA, {errors['pca_components']} components"
    for key, name, style in (("pca_mse", pca, "--"), ("mean_image_mse", "mean image", ":")):
        panels[0].axhline(errors[key], color=REFERENCE, linestyle=style, linewidth=1, label=f"{name} (test)")
    panels[0].set(ylabel="MSE per image", yscale="log")
    plain_ticks(panels[0].yaxis)
    for axes in panels[1:]:
        axes.set(ylabel="accuracy", ylim=(0, 1.03))
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return save(figure, path)


def plain_ticks(axis) -> None:
    """1, 2 and 5 times the powers of ten, as decimal numbers, on a logarithmic axis."""
    from matplotlib.ticker import LogLocator

    axis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_formatter="")


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
    points: torch.Tensor, images: torch.Tensor, labels: Sequence[int], class_names: Sequence[str], title: str,
    path: Path,
) -> Path:  # fmt: skip
    """The first hundred pictures at their (N, 2) points, or near them with a line from there, framed in the colour of
    their class. Both axes have one scale."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    points = points[:100]
    figure = new_figure(PANEL + 0.6, PANEL + 1, layout="constrained")
    axes = figure.subplots()
    middle, extent = (points.amin(0) + points.amax(0)) / 2, (points.amax(0) - points.amin(0)).max()
    reach = max(extent.item(), 1e-6) * 0.58  # from the middle to an edge
    side = 2 * reach * THUMBNAIL / PANEL
    places, half = free_places(points, side), 0.47 * side
    reach = max(reach, (places - middle).abs().max().item() + side)
    for point, place, image, label in zip(points, places, images, labels):
        borders = torch.stack([place - half, place + half], 1).flatten().tolist()  # left, right, bottom, top
        axes.imshow(image.permute(1, 2, 0).numpy(), extent=borders, zorder=2)
        corner = (place - half).tolist()
        axes.add_patch(Rectangle(corner, 2 * half, 2 * half, fill=False, zorder=3, edgecolor=CLASSES[label]))
        edge = place + (point - place).clamp(-half, half)
        if not torch.equal(edge, point):
            axes.plot(*torch.stack([edge, point]).T, color=CLASSES[label], linewidth=0.8, zorder=4)
            axes.plot(*point.tolist(), "o", color=CLASSES[label], markersize=4, markeredgecolor="white", zorder=5)
    xlim, ylim = torch.stack([middle - reach, middle + reach], 1).tolist()
    axes.set(xlim=xlim, ylim=ylim, aspect="equal", title=title)
    axes.set(xlabel="first principal component of the latents", ylabel="second principal component")
    axes.grid(alpha=0.25)
    marks = [Line2D([], [], marker="s", ls="", color=each, label=name) for name, each in zip(class_names, CLASSES)]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)
    return save(figure, path)


def differences(axes, outcomes: dict[str, dict], label: str) -> None:
    """A row per outcome, by its name: a dot per seed, their mean and its corrected 95% interval. Zero is no effect."""
    from matplotlib.ticker import MaxNLocator

    for place, outcome in enumerate(outcomes.values()):
        values, (low, high) = outcome["differences"], outcome["interval"]
        axes.plot(values, [place + 0.12] * len(values), "o", color=REFERENCE, alpha=0.5, markersize=4)
        reach = [[outcome["mean"] - low], [high - outcome["mean"]]]
        axes.errorbar(outcome["mean"], place - 0.12, xerr=reach, fmt="D", color="black", capsize=4, markersize=5)
    axes.axvline(0, color=REFERENCE, linewidth=1)
    axes.set_yticks(range(len(outcomes)), outcomes, fontsize=8)
    axes.tick_params(labelsize=8, pad=6)
    axes.set(ylim=(len(outcomes) - 0.5, -0.5), xlabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(alpha=0.25, axis="x")


def over_steps(axes, rows: list[dict]) -> dict:
    """The MSE on tested emoji, of every seed and their mean, that on training emoji, and PCA's, by setting.
    Returns a line of each setting's colour."""
    pca = [np.mean(row["values"]["pca_mse"]) for row in rows]
    for row, color, error in zip(rows, COLORS, pca):
        steps, unseen = row["steps"], np.array(row["curves"]["mse"])
        axes.plot(steps, unseen.T, color=color, alpha=0.25, linewidth=0.7)
        axes.plot(steps, unseen.mean(0), color=color, linewidth=2)
        axes.plot(steps, np.mean(row["curves"]["train_mse"], 0), color=color, linewidth=1.2, linestyle="--")
        axes.axhline(error, color=color if np.ptp(pca) else REFERENCE, linewidth=1.2, linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="steps of training", ylabel="MSE per image")
    plain_ticks(axes.xaxis)
    plain_ticks(axes.yaxis)
    axes.grid(alpha=0.25)
    lines = {"tested emoji": ("-", 2), "one split": ("-", 0.7), "training emoji": ("--", 1.2), "PCA": (":", 1.2)}
    keys = [axes.plot([], [], REFERENCE, ls=style, lw=width)[0] for style, width in lines.values()]
    axes.legend(keys, lines, fontsize=8)
    return {row["setting"]: axes.plot([], [], color, lw=2)[0] for row, color in zip(rows, COLORS)}


def experiment(rows: list[dict], judged: list[dict], varied: str, path: Path) -> Path:
    """Errors over steps next to the differences after the last step. Takes a record's `rows` and `hypotheses`."""
    groups = {}
    for one in judged:
        label = "difference in balanced accuracy" if "accuracy" in one["metric"] else "difference in MSE"
        groups.setdefault(label, {})[f"{one['label']}\n{one['setting']}\n− {one['reference']}"] = one
    figure = new_figure(10, 4.2, layout="constrained")
    left, right = figure.subfigures(1, 2)
    lines = over_steps(left.subplots(), rows)
    heights = [*(0.6 + len(members) for members in groups.values()), 1.6]
    *panels, below = right.subplots(len(heights), 1, height_ratios=heights)
    for axes, (label, members) in zip(panels, groups.items()):
        differences(axes, members, label)
    dots = "one per split (grey), mean and 95% interval before Holm's correction (black)"
    right.suptitle(f"after training: {dots}", fontsize=8)
    below.axis("off")
    style = {"ncols": 2, "frameon": False, "fontsize": 8, "title_fontsize": 8, "loc": "center"}
    below.legend(lines.values(), lines, title=varied, **style)
    return save(figure, path)
