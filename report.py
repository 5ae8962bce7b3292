"""README.md and REPORT.md: prose from report/*.md, every number and table in it from the records of runs.

    python report.py              # write both
    python report.py --check      # fail if they are not what templates and records give
    python report.py --collect    # first take the records of the runs in runs/, made by the commands shown

Nothing is computed here but means, spreads and ratios of what the records hold.
"""

import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import mean, stdev

import jinja2

from common import command_line, files
from common.errors import UserError
from studies import findings
from studies.hypotheses import EXPERIMENTS

HERE = Path(__file__).parent
PAGES = ("README.md", "REPORT.md")
TEMPLATES = Path("report")  # a page there becomes the page of the same name above
RECORDS = TEMPLATES / "records"  # of the runs shown, few and small, so that a clone has them

# Folders in runs/ whose records are shown.
RUNS = (
    "autoencoder", "exact", "exact-pytorch", "no-copies", "unseen", "best",
    "multitask", "multitask-unseen", "multitask-compare", "multitask-best",
    "multitask-best-unseen",
    "composite", "composite-mean", "composite-isolated", "composite-map", "analogies",
)  # fmt: skip
ABOUT = ("command", "config", "processor", "threads", "versions")  # what is taken of a run.json


@dataclass(frozen=True, kw_only=True)
class Config:
    """Fill the numbers of runs into README.md and REPORT.md."""

    check: bool = False  # only say whether the pages are what templates and records give
    collect: bool = False  # take the records of the runs in runs/ first
    runs: Path = Path("runs")  # folder of the runs
    project: Path | None = None  # folder of pages, templates and records; default: where this script is

    def __post_init__(self):
        if self.check and self.collect:
            raise UserError("--check changes nothing and --collect does; give one of them")


def collected(runs: Path) -> dict[str, dict]:
    """What the pages need of every run, by the names of the records: its command and its metrics. Raises UserError."""
    records, remedy = {}, "first run its command in the report"
    for name in RUNS:
        run, metrics = (files.read_json(runs / name / file, remedy) for file in ("run.json", "metrics.json"))
        if lacking := set(ABOUT) - set(run):
            raise UserError(f"{runs / name}/run.json lacks {' and '.join(sorted(lacking))}; {remedy}")
        records[name] = {**{key: run[key] for key in ABOUT}, **metrics}
    for name in EXPERIMENTS:
        path = runs / "experiments" / f"{name}.json"
        records[f"experiment-{name}"] = files.read_json(path, f"first run `python experiments.py {name}`")
    return records


def recorded(project: Path = HERE) -> dict[str, dict]:
    """The records of the report, by their names. Raises UserError if one is missing."""
    names = (*RUNS, *(f"experiment-{name}" for name in EXPERIMENTS))
    return {
        name: files.read_json(project / RECORDS / f"{name}.json", "take the records with --collect") for name in names
    }


def number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}"


def signed(value: float, digits: int = 4) -> str:
    return f"{value:+.{digits}f}"


def spread(values: list[float], digits: int = 4) -> str:
    """Mean and standard deviation over seeds."""
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def judged(experiment: dict, place: int) -> str:
    """The verdict on an experiment's hypothesis, to go on a sentence."""
    return findings.finding(experiment["hypotheses"][place])


def verdicts(experiment: dict) -> str:
    """All verdicts of an experiment, as a Markdown list."""
    lines = []
    for hypothesis in experiment["hypotheses"]:
        text, verdict = hypothesis["text"], hypothesis["verdict"]
        finding = findings.finding(hypothesis).replace(verdict, f"**{verdict}**", 1)
        lines.append(f"- *{text[0].upper()}{text[1:]}* ({hypothesis['letter']}): {finding}")
    return "\n".join(lines)


def table(experiment: dict) -> str:
    """An experiment's rows, mean and spread over the seeds, as a Markdown table."""
    return findings.table(experiment["varied"], {row["setting"]: row["values"] for row in experiment["rows"]})


def render(project: Path, page: str, records: dict[str, dict]) -> str:
    """The text of a page.

    Raises UserError for a figure that is not there, and for records that are not what the page shows.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"number": number, "signed": signed, "spread": spread, "mean": mean}
    by_name = {name: records[f"experiment-{name}"] for name in EXPERIMENTS}
    environment.globals |= {
        "judged": lambda name, place: judged(by_name[name], place),
        "verdicts": lambda name: verdicts(by_name[name]),
        "table": lambda name: table(by_name[name]),
    }
    template = environment.from_string((project / TEMPLATES / page).read_text(encoding="utf-8"))
    bench = files.read_json(project / "bench" / "results.json", "run `python bench.py`")
    try:
        text = template.render(run={name: records[name] for name in RUNS}, experiment=by_name, bench=bench)
    except (jinja2.UndefinedError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason, remedy = f"{type(error).__name__}: {error}", "make each run with its command in the report"
        raise UserError(f"the records are not what {page} shows ({reason}); {remedy}") from None
    for figure in re.findall(r"!\[.*?\]\((.*?)\)", text):
        if not (project / figure).is_file():
            raise UserError(f"{page} shows {figure}, which is not there; run the command beside it")
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
    pages = {page: render(project, page, records) for page in PAGES}
    if config.collect:
        (project / RECORDS).mkdir(exist_ok=True)
        for name, content in records.items():
            files.write_json(project / RECORDS / f"{name}.json", content)
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
