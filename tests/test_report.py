"""REPORT.md and README's table are what words and records give, and what they show is there."""

import importlib
import json
import re
import shlex
import shutil
import subprocess

import pytest
import tyro
from PIL import Image
from scipy import stats

import report
from conftest import ROOT, assert_one_line
from lab.cli import UserError
from lab.statistics import holm

PAGES = ("README.md", "REPORT.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
RECORDS = {path.stem: json.loads(path.read_text()) for path in (ROOT / report.RECORDS).glob("*.json")}


@pytest.fixture
def copied(tmp_path):
    for name in ("README.md", "REPORT.md", "report", "plots/published"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_pages_are_what_words_and_records_give(copied, command):
    report.main(report.Config(check=True))
    fill = report, "--project", copied
    check, record = (*fill, "--check"), copied / "report/records/experiment-latent.json"
    (copied / "README.md").write_text(TEXTS["README.md"].replace("PCA 0.0", "PCA 0.1"), encoding="utf-8")
    assert_one_line(command(*check), "README.md is out of date")
    assert command(*fill)[0] == 0 and command(*check)[0] == 0
    record.write_text(json.dumps(RECORDS["experiment-latent"] | {"command": "another"}))
    assert_one_line(command(*check), "REPORT.md is out of date")
    assert command(*fill)[0] == 0
    assert_one_line(command(*check), "experiment_latent.png does not show today's record")
    assert command(*fill, "--figures")[0] == 0 and command(*check)[0] == 0
    record.unlink()
    assert_one_line(command(*check), "take it with --collect")


def test_one_record_is_taken_with_its_figures_alone(copied, command):
    run, figures = copied / "runs/no-copies", ("no-copies/autoencoder_curves.png", "autoencoder_curves.png")
    for folder in (run, copied / "plots/no-copies"):
        folder.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"command": "python autoencoder.py --overwrite"}))
    (run / "metrics.json").write_text(json.dumps(RECORDS["no-copies"] | {"test_mse": 0.5}))
    for figure in figures:
        Image.new("P", (7, 7)).save(copied / "plots" / figure)
    assert command(report, "--project", copied, "--collect", "no-copies")[0] == 0
    sizes = [Image.open(copied / report.PUBLISHED / figure).size for figure in figures]
    assert sizes[0] == (7, 7) != sizes[1]  # the second is of another record
    assert json.loads((copied / "report/records/no-copies.json").read_text())["test_mse"] == 0.5


def test_words_have_no_logic_and_ask_for_nothing_that_is_not_there(copied):
    for words in (report.REPORT, report.TABLE):
        assert not re.search(r"\{[%{#]|\{[^}]*[()*/]|interval\]:", (ROOT / words).read_text(encoding="utf-8"))
    (copied / "words.md").write_text("{nothing[test_mse]:.4f}")
    with pytest.raises(UserError, match="KeyError: 'nothing'"):
        report.fill(copied, "words.md", {})


def test_every_figure_is_shown_tracked_and_small():
    shown = {figure for text in TEXTS.values() for figure in report.FIGURE.findall(text.replace("(../", "("))}
    assert shown == {str(path.relative_to(ROOT)) for path in (ROOT / report.PUBLISHED).rglob("*.png")}
    assert all((ROOT / figure).stat().st_size <= report.LARGEST for figure in shown)
    if (ROOT / ".git").exists():
        assert shown <= {*subprocess.check_output(["git", "ls-files", "plots"], cwd=ROOT, text=True).split()}


def test_commands_parse():
    commands = {command for text in TEXTS.values() for command in re.findall(r"`python ([^`\n]+)`", text)}
    for words in (shlex.split(command.replace("NAME", "dropout")) for command in commands if "--help" not in command):
        script, *options = words[1:] if words[0] == "-m" else words
        if script != "pytest":
            tyro.cli(importlib.import_module(script.removesuffix(".py")).Config, args=options)


def test_pages_are_short_and_the_layout_is_the_tree():
    before, _, rest = TEXTS["README.md"].partition(report.START)
    words = {"README.md": before + rest.partition(report.END)[2], "REPORT.md": TEXTS["REPORT.md"]}
    counts = {page: len(re.findall(r"\S*\w\S*", text)) for page, text in words.items()}
    print(counts)
    assert counts["README.md"] <= 700 and counts["REPORT.md"] <= 6000, counts
    seen = f"Final average test MSE: {RECORDS['autoencoder']['test_mse']:.4f}, PCA, 128 components: "
    assert f"{seen}{RECORDS['autoencoder']['pca_mse']:.4f}, mean image: " in TEXTS["README.md"]
    named = re.findall(r"[\w/]+\.(?:py|ipynb)", rest.partition("## Layout")[2].partition("\n## ")[0])
    files = {path.name for folder in (".", "lab", "studies") for path in (ROOT / folder).glob("*.py")}
    assert {word.rpartition("/")[2] for word in named} == files - {"__init__.py"} | {"tour.ipynb"}


def test_computed_values():
    shown = report.readable({"values": {"10": [1, 3]}, "rows": [{"a": 1}], "none": []})
    assert "{values[10]:.1f} {rows[0][a]}".format_map(shown) == "2.0 ± 1.4 1"
    score = {"by_answer": 0.25, "interval": [0.0, 0.5]}
    row = {"family": "cats", "method": "it", "top1": score, "mse": score, "sharpness": score}
    assert report.composites([row] * 2)["cats"]["it"]["interval"] == "0.25 [0.00, 0.50], 0.25 [0.00, 0.50]"
    assert report.computed({name: report.readable(record) for name, record in RECORDS.items()})["questions"] == 26
    assert "".join(re.findall(r"^## (\w)\. ", TEXTS["REPORT.md"], re.MULTILINE)) == "abcdefgh" + "abcdef" + "abc"


def test_what_the_words_say():
    for name, record in RECORDS.items():
        pairs = zip(*(record["values"].get(key, ()) for key in ("pca_mse", "test_mse"))) if "values" in record else ()
        assert all((ours < pca) == (record.get("config", {}).get("preset") == "best") for pca, ours in pairs), name
    differences = []  # to pixel arithmetic
    for row in (row for row in RECORDS["analogies"]["rows"] if row["family"] == "cats"):
        for score in ("top1", "mse") if row["method"] != "pixel arithmetic" else ():
            mean, (_, high) = row[score]["minus_pixels"]["mean"], row[score]["minus_pixels"]["interval"]
            p = 2 * stats.t.sf(abs(mean) * stats.t.ppf(0.975, 8) / (high - mean or 1.0), 8)  # over nine answers
            differences.append((p, score, mean, row["style"]))
    decided = [one for one, p in zip(differences, holm([p for p, *_ in differences])) if p < 0.05]
    assert all(score == "mse" and mean < 0 for _, score, mean, _ in decided)
    counts = [[one[3] for one in decided].count(style) for style in ("twemoji", "openmoji", "noto")]
    assert counts[0] < 6 < min(counts[1:])  # of twelve: fewer, and most
    cats = [row for row in RECORDS["analogies"]["rows"] if row["family"] == "cats"]
    scores = {(row["style"], row["method"].rpartition(", ")[2]): row["mse"]["by_answer"] for row in cats}
    for style in ("twemoji", "openmoji", "noto"):
        assert scores[style, "unchanged target"] < scores[style, "pixel arithmetic"]
        assert scores[style, "isolated difference"] < scores[style, "coursework's network"]
