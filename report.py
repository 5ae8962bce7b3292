"""README.md and REPORT.md: prose from report/*.md, every number and table in it from the records of runs.

python report.py                     # write both
python report.py --check             # fail if they are not what templates and records give
python report.py --collect analogies # first take this record from runs/, and the figures that plots/ has"""

import re
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import jinja2

from lab import cli, runs
from lab.cli import UserError
from studies import verdicts
from studies.hypotheses import EXPERIMENTS

HERE = Path(__file__).parent
PAGES = ("README.md", "REPORT.md")
TEMPLATES = Path("report")  # a page there becomes the page of the same name above
RECORDS = TEMPLATES / "records"  # of the runs shown, few and small, so that a clone has them
PUBLISHED = Path("plots/published")  # copies of the figures shown: git ignores the rest of plots/, which runs write
LARGEST = 200_000  # bytes of a published figure
FIGURE = re.compile(r"\]\(([^()]*\.png)\)")  # a picture or a link to one

RUNS = {  # the folder in runs/ of each record
    name: name
    for name in (
        "autoencoder", "exact", "exact-pytorch", "no-copies", "unseen", "best", "best-styles", "multitask",
        "multitask-unseen", "multitask-compare", "multitask-best", "multitask-best-unseen", "multitask-styles",
        "multitask-without-twemoji", "multitask-without-openmoji", "multitask-without-noto", "composite",
        "composite-mean", "composite-isolated", "composite-map", "composite-transplant", "analogies", "targets",
    )
} | {
    f"seeds-{name}": f"seeds/{name}"
    for name in (
        "coursework", "exact", "no-copies", "unseen", "coursework-60-steps", "no-copies-300-steps", "unseen-60-steps",
        "unseen-no-copies", "unseen-no-copies-300-steps", "composite",
    )
}  # fmt: skip
ABOUT = ("command", "config", "processor", "threads", "versions")  # what is taken of a run.json


@dataclass(frozen=True, kw_only=True)
class Config:
    """Fill the numbers of runs into README.md and REPORT.md."""

    check: bool = False  # only say whether the pages are what templates and records give
    collect: tuple[str, ...] = ()  # records to take from runs/ first, with all figures that plots/ has
    project: Path = HERE  # folder of pages, templates and records


def collect(project: Path, names: tuple[str, ...]) -> None:
    """Take records from runs/, and the figures that the templates show from plots/. Raises UserError."""
    for name in names:
        remedy = "first run its command in REPORT"
        if name.startswith("experiment-"):
            record = runs.read_json(Path("runs/experiments") / f"{name.removeprefix('experiment-')}.json", remedy)
        elif name.startswith("bench"):
            record = runs.read_json(Path("runs") / name / "results.json", remedy)
        else:
            run, record = (
                runs.read_json(Path("runs") / RUNS[name] / file, remedy) for file in (runs.RUN, runs.METRICS)
            )
            record = {key: run[key] for key in ABOUT if key in run} | record
        runs.write_json(project / RECORDS / f"{name}.json", record)
    for figure in {figure for page in PAGES for figure in FIGURE.findall((project / TEMPLATES / page).read_text())}:
        drawn = Path("plots") / Path(figure).relative_to(PUBLISHED)
        if drawn.is_file():
            (project / figure).parent.mkdir(parents=True, exist_ok=True)
            (project / figure).write_bytes(drawn.read_bytes())


def load_records(project: Path = HERE) -> dict[str, dict]:
    """All records, by their names. Raises UserError if one is missing."""
    names = (*RUNS, *(f"experiment-{name}" for name in EXPERIMENTS), "bench", "bench-avx2")
    return {name: runs.read_json(project / RECORDS / f"{name}.json", "take it with --collect") for name in names}


FILTERS = {  # of the templates
    "number": lambda value, digits=4: f"{value:.{digits}f}",
    "signed": lambda value, digits=4: f"{value:+.{digits}f}",
    "spread": lambda values, digits=4: f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}",
    "mean": mean,
}


def judged_hypotheses(experiments: dict[str, dict]) -> dict[str, list[dict]]:
    """The hypotheses of all experiments, each verdict also as it stands after Holm's correction over all of them."""
    names = [name for name in EXPERIMENTS for _ in experiments[name]["hypotheses"]]
    everything = verdicts.corrected([one for name in EXPERIMENTS for one in experiments[name]["hypotheses"]])
    return {name: [one for its, one in zip(names, everything) if its == name] for name in EXPERIMENTS}


def render(project: Path, page: str, records: dict[str, dict]) -> str:
    """The text of a page. Raises UserError for records that are not what it shows, and for a missing figure."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= FILTERS
    experiments = {name: records[f"experiment-{name}"] for name in EXPERIMENTS}
    judged = judged_hypotheses(experiments)
    everything = [one for members in judged.values() for one in members]
    environment.globals |= {
        "judged": lambda name, place: verdicts.sentence(judged[name][place]),
        "verdicts": lambda name, *places: verdicts.verdict_list([judged[name][k] for k in places] or judged[name]),
        "verdict_table": lambda: verdicts.verdict_table(everything),
        "questions": len(everything),
        "table": lambda name: verdicts.table(experiments[name]["rows"], experiments[name]["varied"]),
        "composites": {(row["style"], row["family"], row["method"]): row for row in records["analogies"]["rows"]},
    }
    template = environment.from_string((project / TEMPLATES / page).read_text(encoding="utf-8"))
    try:
        shown = {"experiment": experiments, "bench": records["bench"], "avx2": records["bench-avx2"]}
        text = template.render(run=records, **shown)
    except (jinja2.UndefinedError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"the records are not what {page} shows ({type(error).__name__}: {error})") from None
    for figure in FIGURE.findall(text):
        if not (project / figure).is_file() or (project / figure).stat().st_size > LARGEST:
            wrong = f"{figure}, which is missing or larger than {LARGEST} bytes"
            raise UserError(f"{page} shows {wrong}; --collect takes it")
    return text


def main(config: Config) -> dict[str, str]:
    """Write or check the pages. Returns their texts. Raises UserError, with --check also for a page that differs."""
    collect(config.project, config.collect)
    records = load_records(config.project)
    pages = {page: render(config.project, page, records) for page in PAGES}
    for page, text in pages.items():
        path = config.project / page
        if config.check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            raise UserError(f"{page} is not what template and records give; write it again with `python report.py`")
        if not config.check:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {page}")
    return pages


if __name__ == "__main__":
    cli.run(main, Config)
