"""README.md and REPORT.md: prose from report/*.md, every number and table in it from the records of runs.

    python report.py              # write both
    python report.py --check      # fail if they are not what templates and records give
    python report.py --collect    # first take the records of the runs in runs/, made by the commands that the report shows

Nothing is computed here but means, spreads and ratios of what the records hold.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import jinja2

import cli
import experiments
import files
from cli import UserError

HERE = Path(__file__).parent
TEMPLATES = HERE / "report"  # a page there becomes the page of the same name here
PAGES = ("README.md", "REPORT.md")
RECORDS = TEMPLATES / "records"  # of the runs shown, few and small, so that a clone has them

# Folders in runs/ whose records are shown.
RUNS = (
    "autoencoder", "exact", "exact-pytorch", "no-copies", "unseen", "best",
    "multitask", "multitask-unseen", "multitask-unseen-swap", "multitask-compare", "multitask-best", "multitask-best-unseen",
    "composite", "composite-mean", "composite-isolated", "composite-map", "analogies",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Config:
    """Fill the numbers of runs into README.md and REPORT.md."""

    check: bool = False  # only say whether the pages are what templates and records give
    collect: bool = False  # take the records of the runs in runs/ first
    runs: Path = Path("runs")  # folder of the runs

    def __post_init__(self):
        if self.check and self.collect:
            raise UserError("--check changes nothing and --collect does; give one of them")


def read(path: Path, remedy: str) -> dict:
    """A JSON file with names and values. Raises UserError with the remedy if it is missing or none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no names and values")
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); {remedy}") from None


def collected(runs: Path) -> dict[str, dict]:
    """What the pages need of every run, by the names of the records: its command and its metrics. Raises UserError."""
    records = {}
    for name in RUNS:
        run, metrics = (read(runs / name / file, "first run its command in the report") for file in ("run.json", "metrics.json"))
        if lacking := {"command", "threads", "versions"} - set(run):
            raise UserError(f"{runs / name}/run.json lacks {' and '.join(sorted(lacking))}; first run its command in the report")
        records[name] = {"command": run["command"], "threads": run["threads"], "versions": run["versions"], **metrics}
    for name in experiments.EXPERIMENTS:
        records[f"experiment-{name}"] = read(runs / "experiments" / f"{name}.json", f"first run `python experiments.py {name}`")
    return records


def record(name: str) -> dict:
    return read(RECORDS / f"{name}.json", "take the records with --collect")


def recorded() -> dict[str, dict]:
    """The records of the report, by their names. Raises UserError if one is missing."""
    return {name: record(name) for name in (*RUNS, *(f"experiment-{name}" for name in experiments.EXPERIMENTS))}


def number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}"


def signed(value: float, digits: int = 4) -> str:
    return f"{value:+.{digits}f}"


def spread(values: list[float], digits: int = 4) -> str:
    """Mean and standard deviation over seeds."""
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def judged(experiment: dict, place: int) -> str:
    """The verdict on an experiment's speculation, to go on a sentence."""
    return experiments.finding(experiment["speculations"][place])


def verdicts(experiment: dict) -> str:
    """All verdicts of an experiment, as a Markdown list."""
    lines = []
    for speculation in experiment["speculations"]:
        text, verdict = speculation["text"], speculation["verdict"]
        finding = experiments.finding(speculation).replace(verdict, f"**{verdict}**", 1)
        lines.append(f"- *{text[0].upper()}{text[1:]}* ({speculation['letter']}): {finding}")
    return "\n".join(lines)


def table(experiment: dict) -> str:
    """An experiment's rows, mean and spread over the seeds, as a Markdown table."""
    return experiments.table(experiment["varied"], {row["setting"]: row["values"] for row in experiment["rows"]})


def render(page: str, records: dict[str, dict]) -> str:
    """The text of a page. Raises UserError for a figure that is not there, and for records that are not what the page shows."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters |= {"number": number, "signed": signed, "spread": spread, "mean": mean}
    by_name = {name: records[f"experiment-{name}"] for name in experiments.EXPERIMENTS}
    environment.globals |= {
        "judged": lambda name, place: judged(by_name[name], place),
        "verdicts": lambda name: verdicts(by_name[name]),
        "table": lambda name: table(by_name[name]),
    }
    template = environment.from_string((TEMPLATES / page).read_text(encoding="utf-8"))
    bench = read(HERE / "bench" / "results.json", "run `python bench.py`")
    try:
        text = template.render(run={name: records[name] for name in RUNS}, experiment=by_name, bench=bench)
    except (jinja2.UndefinedError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"the records are not what {page} shows ({reason}); make each run with its command in the report") from None
    for figure in re.findall(r"!\[.*?\]\((.*?)\)", text):
        if not (HERE / figure).is_file():
            raise UserError(f"{page} shows {figure}, which is not there; run the command beside it")
    return text


def check(page: str, text: str) -> None:
    """Raise UserError unless the page is there with this text."""
    there, expected = ((HERE / page).read_text(encoding="utf-8") if (HERE / page).is_file() else "").splitlines(), text.splitlines()
    if there != expected:
        line = next((i for i, (one, other) in enumerate(zip(there, expected), 1) if one != other), min(len(there), len(expected)) + 1)
        raise UserError(f"{page} is not what template and records give, from line {line} on; write it again with `python report.py`")
    print(f"{page} is what template and records give")


def main(config: Config) -> dict[str, str]:
    """Write or check the pages. Returns their texts. Nothing is written unless all records are there and make pages."""
    records = collected(config.runs) if config.collect else recorded()
    pages = {page: render(page, records) for page in PAGES}
    if config.collect:
        RECORDS.mkdir(exist_ok=True)
        for name, content in records.items():
            files.write_json(RECORDS / f"{name}.json", content)
    for page, text in pages.items():
        if config.check:
            check(page, text)
            continue
        with files.written_whole(HERE / page) as path:
            path.write_text(text, encoding="utf-8")
        print(f"wrote {page}")
    return pages


if __name__ == "__main__":
    cli.run(main, Config)
