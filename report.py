"""REPORT.md: prose from report/template.md, every number and table in it from the records of runs in report/records.

    python report.py              # write REPORT.md
    python report.py --check      # fail if REPORT.md is not what template and records give
    python report.py --collect    # first take the records of the runs in runs/, made by the commands that the report shows

Nothing is computed here but means and ratios of what the records hold.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import jinja2

import cli
from cli import UserError

HERE = Path(__file__).parent
TEMPLATE, RECORDS, REPORT = HERE / "report" / "template.md", HERE / "report" / "records", HERE / "REPORT.md"

# Folders in runs/ whose records the report shows.
RUNS = (
    "autoencoder", "exact", "exact-pytorch", "no-copies", "unseen", "best",
    "multitask", "multitask-unseen", "multitask-unseen-swap", "multitask-compare", "multitask-best", "multitask-best-unseen",
    "composite", "composite-mean", "composite-isolated", "composite-map", "analogies",
)  # fmt: skip
EXPERIMENTS = ("latent", "weight", "emotions", "augmentation", "data", "dropout")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Fill the numbers of runs into the report."""

    check: bool = False  # only say whether REPORT.md is what template and records give
    collect: bool = False  # take the records of the runs in runs/ first
    runs: Path = Path("runs")  # folder of the runs


def read(path: Path, remedy: str) -> dict:
    """A JSON file. Raises UserError with the remedy if it is missing or none."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); {remedy}") from None


def collect(runs: Path) -> None:
    """Copy what the report needs of every run: its command and its metrics."""
    RECORDS.mkdir(exist_ok=True)
    records = {}
    for name in RUNS:
        remedy = "run its command in the report first"
        run, metrics = (read(runs / name / file, remedy) for file in ("run.json", "metrics.json"))
        records[name] = {"command": run["command"], "versions": run["versions"], **metrics}
    for name in EXPERIMENTS:
        records[f"experiment-{name}"] = read(runs / "experiments" / f"{name}.json", f"run `python experiments.py {name}` first")
    for name, record in records.items():
        (RECORDS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def record(name: str) -> dict:
    return read(RECORDS / f"{name}.json", "take the records with --collect")


def number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}"


def signed(value: float, digits: int = 4) -> str:
    return f"{value:+.{digits}f}"


def spread(values: list[float], digits: int = 4) -> str:
    """Mean and standard deviation over seeds."""
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def render() -> str:
    """The report. Raises UserError for a figure that is not there."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters |= {"number": number, "signed": signed, "spread": spread, "mean": mean}
    text = environment.from_string(TEMPLATE.read_text()).render(
        run={name: record(name) for name in RUNS},
        experiment={name: record(f"experiment-{name}") for name in EXPERIMENTS},
        bench=read(HERE / "bench" / "results.json", "run `python bench.py`"),
    )
    for figure in re.findall(r"!\[.*?\]\((.*?)\)", text):
        if not (HERE / figure).is_file():
            raise UserError(f"the report shows {figure}, which is not there; run the command beside it")
    return text


def main(config: Config) -> str:
    """Write or check the report. Returns its text."""
    if config.collect:
        collect(config.runs)
    text = render()
    if not config.check:
        REPORT.write_text(text)
        print(f"wrote {REPORT.name}")
        return text
    there = REPORT.read_text().splitlines() if REPORT.is_file() else []
    expected = text.splitlines()
    differing = [i for i, (one, other) in enumerate(zip(there, expected), 1) if one != other]
    if there != expected:
        line = differing[0] if differing else min(len(there), len(expected)) + 1
        raise UserError(f"{REPORT.name} differs from template and records from line {line} on; write it again with `python report.py`")
    print(f"{REPORT.name} is what template and records give")
    return text


if __name__ == "__main__":
    cli.run(main, Config)
