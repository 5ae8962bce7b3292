"""REPORT.md and README's table: words from report/*.md, every number in them from the records of runs.

    python report.py                      # write both
    python report.py --check              # fail if they are out of date
    python report.py --collect            # first take all records from runs/, and their figures from plots/
    python report.py --collect analogies  # or only this record and its figures
    python report.py --figures            # first draw again the figures that need no more than their records

A published figure holds the sha256 of the record that it shows, and --check compares. The words are filled by
`str.format_map`: a name in braces is a record, or what `computed` makes of the records."""

import hashlib
import re
import sys
from dataclasses import dataclass
from operator import truediv
from pathlib import Path
from statistics import mean, stdev

from PIL import Image
from PIL.PngImagePlugin import PngInfo

sys.path.insert(0, str(Path(__file__).parent))  # `python -I` leaves it out
from lab import cli, runs
from lab.cli import UserError
from lab.sources import STYLES
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
OTHER_NAMES = {"autoencoder-best": "best", "analogies-targets": "targets"}  # of figures, and their record
ABOUT = ("command", "config", "processor", "threads", "versions")  # of run.json, in the records


@dataclass(frozen=True, kw_only=True)
class Config:
    """Fill the numbers of runs into REPORT.md and README's table."""

    check: bool = False  # only check that they are up to date
    collect: tuple[str, ...] | None = None  # records to take first, and their figures; without a name, all there are
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


def record_of(project: Path, figure: str) -> str:
    """Name of the record that a figure shows, by its folder or its own name; "" for the contact sheet and the page."""
    shown = OTHER_NAMES | {path.stem: path.stem for path in (project / RECORDS).glob("*.json")}
    for part in (Path(figure).parent.name, Path(figure).stem.replace("_", "-")):
        if found := [name for name in shown if part.startswith(name)]:
            return shown[max(found, key=len)]
    return ""


def stamp_of(project: Path, figure: str) -> str:
    """The sha256 of the record that a figure shows: what the figure says too, if it is not stale."""
    record = record_of(project, figure)
    return hashlib.sha256((project / RECORDS / f"{record}.json").read_bytes()).hexdigest() if record else ""


def publish(project: Path, figure: str) -> None:
    """Copy a figure from plots/ to where the pages show it, stamped."""
    stamp = PngInfo()
    stamp.add_text(STAMP, stamp_of(project, figure))
    (project / figure).parent.mkdir(parents=True, exist_ok=True)
    with Image.open(project / "plots" / Path(figure).relative_to(PUBLISHED)) as picture:
        picture.save(project / figure, pnginfo=stamp, optimize=True)


def collect(project: Path, names: tuple[str, ...], shown: set[str]) -> None:
    """Take records from runs/, and those of their figures that plots/ has. Raises UserError before it writes."""
    names = names or [path.stem for path in (project / RECORDS).glob("*.json")]
    for name, record in {name: result_of(project / "runs", name) for name in names}.items():
        runs.write_json(project / RECORDS / f"{name}.json", record)
    for figure in shown:
        taken = record_of(project, figure) in ("", *names)
        if taken and (project / "plots" / Path(figure).relative_to(PUBLISHED)).is_file():
            publish(project, figure)


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
    tried, lists = {name: records[f"experiment-{name}"] for name in EXPERIMENTS}, {}
    judged = [one | {"of": name} for name, record in tried.items() for one in record["hypotheses"]]
    judged = verdicts.corrected(judged)
    for one in judged:
        for key in (one["of"], f"{one['of']} {one['letter']}"):
            lists.setdefault(key, []).append(one)
    decided = [one for one in judged if one["holm_p"] < 0.05]
    decided = [f"- {one['holm_verdict']}: {one['text']} ({one['letter']}), {one['holm_p']:.3f}" for one in decided]
    seeds = {name: records[f"seeds-{name}"]["values"] for name in ("coursework", "unseen", "network", "best", "styles")}
    coursework, unseen, styles = seeds["coursework"], seeds["unseen"], seeds.pop("styles")
    seeds |= {style: {key: styles[f"styles.{style}.{key}"] for key in ("test_mse", "pca_mse")} for style in STYLES}
    seeds["refined"] = seeds["best"] | {"test_mse": seeds["best"]["refined_mse"]}
    return {
        "questions": len(judged), "decided": len(decided), "undecided": len(judged) - len(decided),
        "decided_list": "\n".join(decided), "composites": composites(records["analogies"]["rows"]),
        "verdicts": {key: verdicts.verdict_list(members) for key, members in lists.items()},
        "experiments": {name: verdicts.table(record["rows"], record["varied"]) for name, record in tried.items()},
        "to_pca": {name: Values(map(truediv, each["test_mse"], each["pca_mse"])) for name, each in seeds.items()},
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
    before, _, rest = readme.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    shown = {*FIGURE.findall(before + after + (project / REPORT).read_text(encoding="utf-8"))}
    if config.collect is not None:
        collect(project, config.collect, shown)
    records = {path.stem: readable(runs.read_json(path, REMEDY)) for path in (project / RECORDS).glob("*.json")}
    try:
        names = records | computed(records)
    except KeyError as error:
        raise UserError(f"the records have no {error}; {REMEDY}") from None
    for name in EXPERIMENTS if config.figures else ():
        drawn = experiments.draw(records[f"experiment-{name}"], project / f"plots/experiment_{name}.png")
        publish(project, str(PUBLISHED / drawn.name))
    table = fill(project, TABLE, names)
    pages = {project / "REPORT.md": fill(project, REPORT, names), readme: f"{before}{START}{table}{END}{after}"}
    for path, text in pages.items():
        if config.check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            raise UserError(f"{path.name} is out of date; write it again with `python report.py`")
        if not config.check:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.name}")
    for figure in shown if config.check else ():
        picture = project / figure
        if not picture.is_file() or Image.open(picture).info.get(STAMP, "") != stamp_of(project, figure):
            remedy = f"draw it with --figures, or run the command of record {record_of(project, figure)} and --collect"
            raise UserError(f"{figure} does not show today's record; {remedy}")
    return pages


if __name__ == "__main__":
    cli.run(main, Config)
