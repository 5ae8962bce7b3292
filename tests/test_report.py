"""REPORT.md and README's table are what words and records give, and what they show is there."""

import importlib
import json
import re
import shlex
import shutil
import subprocess

import pytest
import tyro
from scipy import stats

import report
from conftest import ROOT, assert_one_line
from lab.cli import UserError
from lab.statistics import holm

PAGES = ("README.md", "REPORT.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
RECORDS = {name: json.loads((ROOT / report.RECORDS / f"{name}.json").read_text()) for name in report.RUNS}


@pytest.fixture
def copied(tmp_path):
    for name in ("README.md", "REPORT.md", "report", "plots/published"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_pages_are_what_words_and_records_give(copied, command):
    report.main(report.Config(check=True))
    check, record = (report, "--check", "--project", copied), copied / "report/records/autoencoder.json"
    (copied / "README.md").write_text(TEXTS["README.md"].replace("PCA 0.0", "PCA 0.1"), encoding="utf-8")
    assert_one_line(command(*check), "README.md is not what words and records give")
    assert command(report, "--project", copied)[0] == 0 and command(*check)[0] == 0
    record.write_text(json.dumps(RECORDS["autoencoder"] | {"parameters": 7}))
    assert_one_line(command(*check), "REPORT.md is not what words and records give")
    record.unlink()
    assert_one_line(command(*check), "take it with --collect")


def test_one_record_is_taken_with_its_figures(copied, command):
    collect, curves = (report, "--project", copied, "--collect", "no-copies"), "no-copies/autoencoder_curves.png"
    for folder in ("runs", "plots"):
        (copied / folder / "no-copies").mkdir(parents=True)
    (copied / "runs/no-copies/run.json").write_text(json.dumps({"command": "python autoencoder.py --overwrite"}))
    (copied / "runs/no-copies/metrics.json").write_text(json.dumps(RECORDS["no-copies"] | {"test_mse": 0.5}))
    (copied / "plots" / curves).write_bytes(bytes(report.LARGEST + 1))
    assert_one_line(command(*collect), "more than 200000 bytes")
    (copied / "plots" / curves).write_bytes(b"new")
    assert command(*collect)[0] == 0 and (copied / report.PUBLISHED / curves).read_bytes() == b"new"
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


def test_readme_is_short_and_its_layout_is_the_tree():
    before, _, rest = TEXTS["README.md"].partition(report.START)
    assert len(re.findall(r"\S*\w\S*", before + rest.partition(report.END)[2])) <= 700
    named = re.findall(r"[\w/]+\.(?:py|ipynb)", rest.partition("## Layout")[2].partition("\n## ")[0])
    files = {path.name for folder in (".", "lab", "studies") for path in (ROOT / folder).glob("*.py")}
    assert {word.rpartition("/")[2] for word in named} == files - {"__init__.py"} | {"tour.ipynb"}


def test_computed_values():
    shown = report.readable({"values": {"10": [1, 3]}, "rows": [{"a": 1}], "none": []})
    assert "{values[10]:.1f} {rows[0][a]}".format_map(shown) == "2.0 ± 1.4 1"
    score = {"by_answer": 0.25, "interval": [0.0, 0.5]}
    row = {"family": "cats", "method": "it", "top1": score, "mse": score, "sharpness": score}
    assert report.composites([row] * 2)["cats"]["it"]["interval"] == "0.25 [0.00, 0.50], 0.25 [0.00, 0.50]"
    assert report.computed({name: report.readable(record) for name, record in RECORDS.items()})["questions"] == 24
    assert "".join(re.findall(r"^## (\w)\. ", TEXTS["REPORT.md"], re.MULTILINE)) == "abcdefgh" + "abcdef" + "abc"


def test_what_the_words_say_of_composites():
    differences = []  # to pixel arithmetic
    for row in (row for row in RECORDS["analogies"]["rows"] if row["family"] == "cats"):
        for score in ("top1", "mse") if row["method"] != "pixel arithmetic" else ():
            mean, (_, high) = row[score]["minus_pixels"]["mean"], row[score]["minus_pixels"]["interval"]
            p = 2 * stats.t.sf(abs(mean) * stats.t.ppf(0.975, 8) / (high - mean or 1.0), 8)  # over nine answers
            differences.append((p, score, mean))
    decided = [one for one, p in zip(differences, holm([p for p, *_ in differences])) if p < 0.05]
    assert all(score == "mse" and mean < 0 for _, score, mean in decided) and 18 < len(decided) < 36
