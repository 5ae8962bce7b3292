"""README.md and REPORT.md: prose from report/*.md, every number and table in it from the records of runs.

    python report.py              # write both
    python report.py --check      # fail if they are not what templates and records give
    python report.py --collect    # first take records and figures from runs/ and plots/, made by the commands shown

Nothing is computed here but means, spreads and ratios of what the records hold.
"""

import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import mean, stdev
from typing import Container

import jinja2

from common import command_line, files
from common.errors import UserError
from studies import findings
from studies.hypotheses import EXPERIMENTS

HERE = Path(__file__).parent
PAGES = ("README.md", "REPORT.md")
TEMPLATES = Path("report")  # a page there becomes the page of the same name above
RECORDS = TEMPLATES / "records"  # of the runs shown, few and small, so that a clone has them
PUBLISHED = Path("plots/published")  # copies of the figures shown: git ignores the rest of plots/, which runs write
LARGEST = 200_000  # bytes of a published figure
FIGURE = re.compile(r"\]\(([^()]*\.png)\)")  # a picture or a link to one

# Folders in runs/ whose records are shown
RUNS = (
    "autoencoder", "exact", "exact-pytorch", "no-copies", "unseen", "best", "best-styles",
    "multitask", "multitask-unseen", "multitask-compare", "multitask-best",
    "multitask-best-unseen", "multitask-styles", "multitask-without-twemoji", "multitask-without-openmoji",
    "multitask-without-noto",
    "composite", "composite-mean", "composite-isolated", "composite-map", "composite-learned", "analogies",
    "analogies-styles", "targets",
)  # fmt: skip
SEEDS = (  # those in runs/seeds/, with the prefix seeds- in the records
    "report-order", "exact", "no-copies", "unseen", "report-order-60-steps", "no-copies-300-steps", "unseen-60-steps",
    "unseen-no-copies", "unseen-no-copies-300-steps", "composite",
)  # fmt: skip
FOLDERS = {name: name for name in RUNS} | {f"seeds-{name}": f"seeds/{name}" for name in SEEDS}  # by record
ABOUT = ("command", "config", "processor", "threads", "versions")  # what is taken of a run.json


@dataclass(frozen=True, kw_only=True)
class Config:
    """Fill the numbers of runs into README.md and REPORT.md."""

    check: bool = False  # only say whether the pages are what templates and records give
    collect: bool = False  # take records and figures of the runs first
    runs: Path = Path("runs")  # folder of the runs
    plots: Path = Path("plots")  # folder of their figures
    project: Path | None = None  # folder of pages, templates and records; default: where this script is

    def __post_init__(self):
        if self.check and self.collect:
            raise UserError("--check changes nothing and --collect does; give one of them")


def collected(runs: Path) -> dict[str, dict]:
    """What the pages need of every run, by the names of the records: its command and its metrics. Raises UserError."""
    records, remedy = {}, "first run its command in the report"
    for name, folder in FOLDERS.items():
        run, metrics = (files.read_json(runs / folder / file, remedy) for file in ("run.json", "metrics.json"))
        if lacking := set(ABOUT) - set(run):
            raise UserError(f"{runs / folder}/run.json lacks {' and '.join(sorted(lacking))}; {remedy}")
        records[name] = {**{key: run[key] for key in ABOUT}, **metrics}
    for name in EXPERIMENTS:
        path = runs / "experiments" / f"{name}.json"
        records[f"experiment-{name}"] = files.read_json(path, f"first run `python experiments.py {name}`")
    return records | {"bench": files.read_json(runs / "bench" / "results.json", "first run `python bench.py`")}


def recorded(project: Path = HERE) -> dict[str, dict]:
    """The records of the report, by their names. Raises UserError if one is missing."""
    names = (*FOLDERS, *(f"experiment-{name}" for name in EXPERIMENTS), "bench")
    remedy = "take the records with --collect"
    return {name: files.read_json(project / RECORDS / f"{name}.json", remedy) for name in names}


def drawn(plots: Path, project: Path) -> dict[str, bytes]:
    """The figures that the templates show, as the runs drew them. Raises UserError for one that cannot be published."""
    figures = {}
    for page in PAGES:
        for figure in FIGURE.findall((project / TEMPLATES / page).read_text(encoding="utf-8")):
            name = Path(figure).relative_to(PUBLISHED)
            path = plots / name
            if not path.is_file():
                raise UserError(f"{path} is not there, and {page} shows it; first run the command beside it")
            if path.stat().st_size > LARGEST:
                raise UserError(
                    f"{path} has {path.stat().st_size} bytes; at most {LARGEST} are published: make it smaller"
                )
            figures[str(name)] = path.read_bytes()
    return figures


def published(project: Path) -> set[str]:
    """The names of the figures that were taken, with the folder that they are in."""
    return {str(path.relative_to(project / PUBLISHED)) for path in (project / PUBLISHED).rglob("*.png")}


def publish(project: Path, records: dict[str, dict], figures: dict[str, bytes]) -> None:
    """Write records and figures to where the pages take them from."""
    (project / RECORDS).mkdir(parents=True, exist_ok=True)
    for name, content in figures.items():
        place = project / PUBLISHED / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with files.written_whole(place) as path:
            path.write_bytes(content)
    for name, content in records.items():
        files.write_json(project / RECORDS / f"{name}.json", content)


def number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}"


def signed(value: float, digits: int = 4) -> str:
    return f"{value:+.{digits}f}"


def spread(values: list[float], digits: int = 4) -> str:
    """Mean and standard deviation over seeds."""
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def asked(by_name: dict[str, dict]) -> dict[str, list[dict]]:
    """The hypotheses of all experiments, each verdict also as it stands after Holm's correction over all of them."""
    names = [name for name in EXPERIMENTS for _ in by_name[name]["hypotheses"]]
    everything = findings.corrected([judged for name in EXPERIMENTS for judged in by_name[name]["hypotheses"]])
    return {name: [judged for its, judged in zip(names, everything) if its == name] for name in EXPERIMENTS}


def table(experiment: dict) -> str:
    """An experiment's rows, mean and spread over the seeds, as a Markdown table."""
    return findings.table(experiment["varied"], {row["setting"]: row["values"] for row in experiment["rows"]})


def render(project: Path, page: str, records: dict[str, dict], published: Container[str]) -> str:
    """The text of a page, whose figures are all `published`.

    Raises UserError for one that is not, and for records that are not what the page shows.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"number": number, "signed": signed, "spread": spread, "mean": mean}
    by_name = {name: records[f"experiment-{name}"] for name in EXPERIMENTS}
    environment.globals |= {
        "judged": lambda name, place: findings.sentence(hypotheses[name][place]),
        "verdicts": lambda name, *places: findings.verdicts([hypotheses[name][k] for k in places] or hypotheses[name]),
        "verdict_table": lambda: findings.verdict_table(
            [judged for members in hypotheses.values() for judged in members]
        ),
        "questions": lambda: sum(map(len, hypotheses.values())),
        "table": lambda name: table(by_name[name]),
    }
    template = environment.from_string((project / TEMPLATES / page).read_text(encoding="utf-8"))
    try:
        hypotheses = asked(by_name)
        text = template.render(
            run={name: records[name] for name in FOLDERS}, experiment=by_name, bench=records["bench"]
        )
    except (jinja2.UndefinedError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason, remedy = f"{type(error).__name__}: {error}", "make each run with its command in the report"
        raise UserError(f"the records are not what {page} shows ({reason}); {remedy}") from None
    for figure in map(Path, FIGURE.findall(text)):
        if PUBLISHED not in figure.parents or str(figure.relative_to(PUBLISHED)) not in published:
            remedy = f"draw it, show it as {PUBLISHED / figure.name} and take it with --collect"
            raise UserError(f"{page} shows {figure}, which is not published; {remedy}")
    return text


def check(path: Path, text: str) -> None:
    """Raise UserError unless the page is there with this text."""
    there = (path.read_text(encoding="utf-8") if path.is_file() else "").splitlines()
    for line, (one, other) in enumerate(zip_longest(there, text.splitlines()), 1):
        if one != other:
            remedy = "write it again with `python report.py`"
            raise UserError(f"{path.name} is not what template and records give, from line {line} on; {remedy}")
    print(f"{path.name} is what template and records give")


def main(config: Config) -> dict[str, str]:
    """Write or check the pages. Returns their texts. Nothing is written unless all records are there and make pages."""
    project = config.project or HERE
    records = collected(config.runs) if config.collect else recorded(project)
    figures = drawn(config.plots, project) if config.collect else published(project)
    pages = {page: render(project, page, records, figures) for page in PAGES}
    if config.collect:
        publish(project, records, figures)
    for page, text in pages.items():
        if config.check:
            check(project / page, text)
            continue
        with files.written_whole(project / page) as path:
            path.write_text(text, encoding="utf-8")
        print(f"wrote {page}")
    return pages


if __name__ == "__main__":
    command_line.run(main, Config)
