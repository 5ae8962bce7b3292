"""What README and REPORT show that is not a single number of a record: ratios, counts and tables, each under a name."""

from math import ceil
from statistics import mean, stdev
from typing import Iterable

from lab.statistics import holm
from studies import verdicts
from studies.hypotheses import EXPERIMENTS

STYLES, FAMILIES = ("twemoji", "openmoji", "noto"), {"cats": "cats", "tones": "skin tones", "genders": "genders"}
PIXELS, LEVEL = "pixel arithmetic", 0.05
COURSEWORK = {  # its printed numbers, as means per image: images by batches of training, validation and Part 2's test
    "training_factor": 612 / 10, "validation_factor": 204 / 4, "first_training_mse": 8.8926 / (612 / 10),
    "last_validation_mse": 0.9230 / (204 / 4), "combined_loss": 1.2741 / (225 / 4),
}  # fmt: skip


class Values(list):
    """Numbers over seeds; as text, mean ± standard deviation."""

    def __format__(self, form: str) -> str:
        return f"{mean(self):{form}} ± {stdev(self):{form}}"


class Interval(list):
    """As text, [low, high]."""

    def __format__(self, form: str) -> str:
        return f"[{self[0]:{form}}, {self[1]:{form}}]"


class Each(list):
    """One number for each style; as text, with commas."""

    def __format__(self, form: str) -> str:
        return ", ".join(f"{value:{form}}" for value in self)


def readable(value, name: str = ""):
    """A record as `str.format` can read it: lists of numbers as Values or Interval, digits as keys as numbers."""
    if isinstance(value, dict):
        return {int(key) if key.isdigit() else key: readable(each, key) for key, each in value.items()}
    if isinstance(value, list):
        numbers = all(isinstance(each, (int, float)) for each in value)
        kind = list if not numbers else Interval if name.endswith("interval") else Values
        return kind(readable(each, name) for each in value)
    return value


def table(heads: list[str], rows: Iterable[list]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (heads, ["---"] * len(heads), *rows))


def span(values: Iterable[int]) -> str:
    """Whole numbers as text: one, or the least and the greatest."""
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def ratio(one: list[float], other: list[float]) -> Values:
    return Values(a / b for a, b in zip(one, other, strict=True))


def steps(record: dict) -> int:
    """Training steps of a run of Part 1."""
    return ceil(record["train"] / record["config"]["batch_size"]) * record["config"]["epochs"]


def pca_components(trial: dict, emoji: int, folds: int = 5) -> str | None:
    """PCA's components where a trial has fewer training images than numbers in the latent; None elsewhere."""
    if trial["images"] != "happy or sad":
        return None
    copies = 0 if trial["copies"] == "none" else trial["copies"]
    images = [(emoji - test) * (1 + copies) for test in (emoji // folds, ceil(emoji / folds))]
    return span([min(trial["latent"], count) for count in images]) if min(images) < trial["latent"] else None


def experiment_table(record: dict, emoji: int) -> str:
    """An experiment's settings: errors on unseen emoji and on training emoji, and what its hypotheses are about."""
    asked = {one["metric"] for one in record["hypotheses"]} - {"gap"}
    wanted = {"mse", "pca_mse", "train_mse", *asked} | {"unseen_style_pca_mse"} * ("unseen_style_mse" in asked)
    columns, rows = [name for name in verdicts.COLUMNS if name in wanted], []
    for row in record["rows"]:
        cells = {name: verdicts.cell(name, row["values"].get(name, [None])) for name in columns}
        if k := pca_components(row["trial"], emoji):
            cells["pca_mse"] += f" (k = {k})"
        rows.append([row["setting"], *cells.values()])
    return table([record["varied"], *(verdicts.COLUMNS[name] for name in columns)], rows)
