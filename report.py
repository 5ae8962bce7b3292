"""REPORT.md and README's table: words from report/*.md, every number in them from the records of runs.

    python report.py                      # write both
    python report.py --check              # fail if they are not what words and records give
    python report.py --collect            # first take all records from runs/, and their figures from plots/
    python report.py --collect analogies  # or only this record and its figures
    python report.py --figures            # first draw again the figures that need no more than their records

A published figure holds the sha256 of the record that it shows, and --check compares. The words are filled by
`str.format_map`: a name in braces is a record, or what `computed` makes of the records."""

import hashlib
import re
from dataclasses import dataclass
from operator import truediv
from pathlib import Path
from statistics import mean, stdev

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lab import cli, figures, runs
from lab.cli import UserError
from studies import experiments, verdicts
from studies.hypotheses import EXPERIMENTS

HERE = Path(__file__).parent
REPORT, TABLE, RECORDS = Path("report/REPORT.md"), Path("report/numbers.md"), Path("report/records")
START, END = "<!-- numbers -->\n", "<!-- /numbers -->"  # between them README has its table
PUBLISHED = Path("plots/published")  # copies of the figures shown: git ignores the rest of plots/, which runs write
FIGURE = re.compile(r"\]\(([^()]*\.png)\)")  # a picture or a link to one
LARGEST = 200_000  # bytes of a published figure
STAMP = "record"  # what a figure calls the sha256 of the record that it shows
REMEDY = "take it with --collect"
SCORES = {"top1": ".2f", "mse": ".4f", "sharpness": ".2f"}  # of composites
RUNS = (  # the records
    "autoencoder", "no-copies", "unseen", "best", "best-styles", "multitask",
    "multitask-unseen", "multitask-compare", "multitask-best", "multitask-best-unseen", "multitask-styles",
    "multitask-without-twemoji", "multitask-without-openmoji", "multitask-without-noto", "composite",
    "composite-mean", "composite-isolated", "composite-map", "composite-transplant", "analogies", "targets",
    "seeds-coursework", "seeds-coursework-60-steps", "seeds-exact", "seeds-exact-pytorch", "seeds-no-copies",
    "seeds-no-copies-300-steps", "seeds-unseen", "seeds-unseen-60-steps", "seeds-unseen-no-copies",
    "seeds-unseen-no-copies-300-steps", "seeds-without-clocks", "seeds-composite",
    *(f"experiment-{name}" for name in EXPERIMENTS), "bench",
)  # fmt: skip
SHOWN = {"autoencoder-best": "best", "analogies-targets": "targets"} | {name: name for name in RUNS}
ABOUT = ("command", "config", "processor", "threads", "versions")  # of run.json, in the records


@dataclass(frozen=True, kw_only=True)
class Config:
    """Fill the numbers of runs into REPORT.md and README's table."""

    check: bool = False  # only say whether they are what words and records give
    collect: tuple[str, ...] | None = None  # records to take first, and their figures; without a name, all
    figures: bool = False  # first draw again the figures that need no more than their records
    project: Path = HERE  # folder of pages, words, records, runs and plots


def result_of(folder: Path, name: str) -> dict:
    """What the run behind a record left in runs/: its metrics, and what run.json tells. Raises UserError."""
    kind, _, rest = name.partition("-")
    place = {"seeds": f"seeds/{rest}/metrics.json", "experiment": f"experiments/{rest}.json"}
    path = folder / (f"{name}/results.json" if kind == "bench" else place.get(kind, f"{name}/metrics.json"))
    result = runs.read_json(path, "first run its command in REPORT")
    if path.name == runs.METRICS:
        about = runs.read_json(path.with_name(runs.RUN), "first run its command in REPORT")
        result = {key: about[key] for key in ABOUT if key in about} | result
    return result | {"command": result["command"].replace(" --overwrite", "")}


def record_of(figure: str) -> str:
    """Name of the record that a figure shows, by its folder or its own name; "" for the contact sheet and the page."""
    for part in (Path(figure).parent.name, Path(figure).stem.replace("_", "-")):
        if found := [name for name in SHOWN if part.startswith(name)]:
            return SHOWN[max(found, key=len)]
    return ""


def stamp_of(project: Path, figure: str) -> str:
    """The sha256 of the record that a figure shows: what the figure says too, if it is not stale."""
    path = project / RECORDS / f"{record_of(figure)}.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if record_of(figure) else ""


def publish(project: Path, figure: str) -> None:
    """Copy a figure from plots/ to where the pages show it, stamped."""
    stamp = PngInfo()
    stamp.add_text(STAMP, stamp_of(project, figure))
    (project / figure).parent.mkdir(parents=True, exist_ok=True)
    with Image.open(project / "plots" / Path(figure).relative_to(PUBLISHED)) as picture:
        picture.save(project / figure, pnginfo=stamp, optimize=True)


def collect(project: Path, names: tuple[str, ...], shown: set[str]) -> None:
    """Take records from runs/, and those of their figures that plots/ has. Raises UserError before it writes."""
    records = {name: result_of(project / "runs", name) for name in names}
    for name, record in records.items():
        runs.write_json(project / RECORDS / f"{name}.json", record)
    for figure in shown:
        if record_of(figure) in ("", *names) and (project / "plots" / Path(figure).relative_to(PUBLISHED)).is_file():
            publish(project, figure)


def redraw(project: Path) -> None:
    """Draw and publish the figures that need no more than their records."""
    drawings = {f"experiment-{name}": experiments.draw for name in EXPERIMENTS}
    for name, draw in (drawings | {"multitask-compare": figures.classification_cost}).items():
        record = runs.read_json(project / RECORDS / f"{name}.json", REMEDY)
        drawn = draw(record, project / "plots" / f"{name.replace('-', '_', 1)}.png")
        publish(project, str(PUBLISHED / drawn.name))


class Values(list):
    """Numbers over seeds; as text, mean ± standard deviation."""

    def __format__(self, form: str) -> str:
        return f"{mean(self):{form}} ± {stdev(self):{form}}"


def readable(value):
    """A record as `str.format` can show it: lists of numbers as Values, keys of digits as numbers."""
    if isinstance(value, dict):
        return {int(key) if key.isdigit() else key: readable(each) for key, each in value.items()}
    numbers = isinstance(value, list) and all(isinstance(each, (int, float)) for each in value)
    return Values(value) if numbers else [readable(each) for each in value] if isinstance(value, list) else value


def composites(rows: list[dict]) -> dict[str, dict[str, dict[str, str]]]:
    """By family, method and score: the means over the answers in the three styles, as text."""
    found = {}
    for row in rows:
        (low, high), scores = row["top1"]["interval"], found.setdefault(row["family"], {}).setdefault(row["method"], {})
        texts = {name: f"{row[name]['by_answer']:{form}}" for name, form in SCORES.items()}
        for name, text in (texts | {"interval": f"{texts['top1']} [{low:.2f}, {high:.2f}]"}).items():
            scores[name] = ", ".join(filter(None, (scores.get(name), text)))
    return found


def computed(records: dict[str, dict]) -> dict:
    """What the pages show and no record holds, by name."""
    coursework, unseen = (records[f"seeds-{name}"]["values"] for name in ("coursework", "unseen"))
    tried, lists = {name: records[f"experiment-{name}"] for name in EXPERIMENTS}, {}
    judged = [one | {"of": name} for name, record in tried.items() for one in record["hypotheses"]]
    for one in (judged := verdicts.corrected([*judged, *verdicts.compared(records["multitask-compare"])])):
        for key in (one["of"], f"{one['of']} {one['letter']}"):
            lists.setdefault(key, []).append(one)
    decided = [f"- {one['holm_verdict']}: {one['text']} ({one['letter']})" for one in judged if one["holm_p"] < 0.05]
    bench, styles = {row["method"]: row for row in records["bench"]["rows"]}, records["bench"]["styles"]
    ratios = {"coursework": coursework, "unseen": unseen, **styles["in_training"]}
    return {
        "questions": len(judged), "decided": len(decided), "undecided": len(judged) - len(decided),
        "decided_list": "\n".join(decided), "composites": composites(records["analogies"]["rows"]), "bench_by": bench,
        "verdicts": {key: verdicts.verdict_list(members) for key, members in lists.items()},
        "experiments": {name: verdicts.table(record["rows"], record["varied"]) for name, record in tried.items()},
        "to_pca": {name: Values(map(truediv, each["test_mse"], each["pca_mse"])) for name, each in ratios.items()},
        "unseen_style": {name: e["test_mse"] / e["pca_mse"] for name, e in styles["never_seen"].items()},
        "leaked": f"{min(coursework['leaked'])} to {max(coursework['leaked'])}",
        "leakage": mean(unseen["test_mse"]) - mean(coursework["test_mse"]),
    }  # fmt: skip


def fill(project: Path, template: Path, names: dict) -> str:
    """The text of a template. Raises UserError for a name that no record gives."""
    try:
        return (project / template).read_text(encoding="utf-8").format_map(names)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{template} asks for what no record gives ({type(error).__name__}: {error})") from None


def main(config: Config) -> dict[Path, str]:
    """Write REPORT.md and README's table, or check them. Returns both texts. Raises UserError."""
    project, readme = config.project, config.project / "README.md"
    before, start, rest = readme.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    shown = {*FIGURE.findall(before + after + (project / REPORT).read_text(encoding="utf-8"))}
    if config.collect is not None:
        collect(project, config.collect or RUNS, shown)
    records = {name: readable(runs.read_json(project / RECORDS / f"{name}.json", REMEDY)) for name in RUNS}
    names = records | computed(records)
    if config.figures:
        redraw(project)
    pages = {project / "REPORT.md": fill(project, REPORT, names)}
    pages[readme] = before + start + fill(project, TABLE, names) + end + after
    for path, text in pages.items():
        if config.check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            raise UserError(f"{path.name} is not what words and records give; write it again with `python report.py`")
        if not config.check:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.name}")
    for figure in shown if config.check else ():
        picture = project / figure
        if not picture.is_file() or Image.open(picture).info.get(STAMP, "") != stamp_of(project, figure):
            remedy = f"draw it with --figures, or run the command of record {record_of(figure)} and --collect"
            raise UserError(f"{figure} does not show today's record; {remedy}")
    return pages


if __name__ == "__main__":
    cli.run(main, Config)
