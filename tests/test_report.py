"""README.md and REPORT.md: that their numbers are those of the records."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import report
from common import command_line
from conftest import ROOT, assert_one_line, configurations
from studies.findings import comparison, sentence
from studies.hypotheses import EXPERIMENTS


def every_script() -> list:
    return [importlib.import_module(path.stem) for path in sorted(ROOT.glob("*.py"))]


@pytest.fixture
def copied(tmp_path):
    """The pages, templates, records and figures in a folder of the test's own, in which `command` runs."""
    for name in ("report", report.PUBLISHED, *report.PAGES):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    return tmp_path


def change(path, name, value):
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))


def test_the_pages_are_what_templates_and_records_give():
    report.main(report.Config(check=True))


def test_rendering_loads_no_torch():
    heavy = {"torch", "matplotlib", "sklearn", "lab", "data", "experiments"}
    code = f"import sys, report; report.main(report.Config(check=True)); print({heavy} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "set()"


@pytest.mark.parametrize("page, record", [("README.md", "autoencoder"), ("REPORT.md", "exact")])
def test_another_number_is_noticed_and_written(copied, command, page, record):
    change(copied / f"report/records/{record}.json", "test_mse", 0.98765)
    status, _, error = command(report, "--check", "--project", ".")
    assert status == 2 and page in error and "from line" in error and error.count("\n") == 1
    assert command(report, "--project", ".")[0] == 0 and "0.9877" in (copied / page).read_text()
    assert command(report, "--check", "--project", ".")[0] == 0


def test_an_edited_page_is_noticed(copied, command):
    page = copied / "REPORT.md"
    page.write_text(page.read_text() + "One more line.\n")
    status, _, error = command(report, "--check", "--project", ".")
    assert status == 2 and f"from line {len(page.read_text().splitlines())} on" in error


def test_a_figure_that_is_not_published_is_noticed(copied, command):
    (copied / report.PUBLISHED / "bench.png").rename(copied / "plots/bench.png")
    assert_one_line(command(report, "--check", "--project", "."), "plots/published/bench.png, which is not published")
    template = copied / "report/README.md"
    template.write_text(template.read_text(encoding="utf-8").replace("plots/published/bench", "plots/bench"))
    assert_one_line(command(report, "--check", "--project", "."), "shows plots/bench.png, which is not published")


def test_all_that_is_published_is_shown():
    shown = {figure for page in report.PAGES for figure in report.FIGURE.findall((ROOT / page).read_text("utf-8"))}
    assert {str(report.PUBLISHED / name) for name in report.published(ROOT)} == shown


def test_what_scripts_write_by_default_changes_no_tracked_file(tmp_path):
    """But for the pages and what they show, which `report.py` is there to write."""
    kinds = [kind for script in every_script() for kind in configurations(script)]
    defaults = {field.default for kind in kinds for field in fields(kind) if isinstance(field.default, Path)}
    assert {Path("plots"), Path("runs/autoencoder"), Path("runs/bench")} <= defaults
    written = [str(folder / "file.png") for folder in sorted(defaults)]
    shutil.copy(ROOT / ".gitignore", tmp_path)

    def git(folder, *arguments):
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True).stdout.splitlines()

    git(tmp_path, "init")
    assert git(tmp_path, "check-ignore", *written, report.PUBLISHED / "bench.png") == written
    tracked = git(ROOT, "ls-files", *defaults)  # none where this is no clone
    assert all(report.PUBLISHED in Path(file).parents for file in tracked)


@pytest.fixture
def runs(copied, tmp_path):
    """A folder of runs that left the records of the report, but for one number."""
    folder = tmp_path / "runs"
    for name, place in report.FOLDERS.items():
        (folder / place).mkdir(parents=True)
        record = json.loads((copied / f"report/records/{name}.json").read_text(encoding="utf-8"))
        (folder / place / "run.json").write_text(json.dumps({key: record.pop(key) for key in report.ABOUT}))
        record |= {"test_mse": 0.5} if name == "autoencoder" else {}
        (folder / place / "metrics.json").write_text(json.dumps(record))
    (folder / "experiments").mkdir()
    for name in EXPERIMENTS:
        shutil.copy(copied / f"report/records/experiment-{name}.json", folder / "experiments" / f"{name}.json")
    (folder / "bench").mkdir()
    shutil.copy(copied / "report/records/bench.json", folder / "bench/results.json")
    shutil.copytree(copied / report.PUBLISHED, copied / "plots", dirs_exist_ok=True)
    return folder


def test_records_are_taken_from_runs_all_or_none(copied, runs, command):
    (runs / "experiments/latent.json").rename(runs / "latent.json")
    unseen = copied / "report/records/unseen.json"
    before = unseen.read_text()
    status, _, error = command(report, "--collect", "--runs", runs, "--project", ".")
    assert status == 2 and "python experiments.py latent" in error and unseen.read_text() == before
    (runs / "latent.json").rename(runs / "experiments/latent.json")
    assert command(report, "--collect", "--runs", runs, "--project", ".")[0] == 0
    assert "0.5000 here" in (copied / "README.md").read_text(encoding="utf-8")
    assert command(report, "--collect", "--check")[0] == 2


def test_figures_are_taken_from_runs_all_or_none(copied, runs, command):
    collect, published = (report, "--collect", "--project", "."), copied / report.PUBLISHED
    figure, new, before = copied / "plots/multitask_classes.png", b"drawn anew", (published / "bench.png").read_bytes()
    (copied / "plots/bench.png").write_bytes(new)
    drawn = figure.read_bytes()
    figure.unlink()
    assert_one_line(command(*collect), f"{figure.relative_to(copied)} is not there, and REPORT.md shows it")
    figure.write_bytes(bytes(report.LARGEST + 1))
    assert_one_line(command(*collect), f"has {report.LARGEST + 1} bytes")
    assert (published / "bench.png").read_bytes() == before
    figure.write_bytes(drawn)
    (published / figure.name).unlink()
    assert command(*collect)[0] == 0
    assert (published / figure.name).read_bytes() == drawn and (published / "bench.png").read_bytes() == new


@pytest.mark.parametrize(
    "file, content",
    [
        ("multitask/metrics.json", {"compare": {}}),  # of other options
        ("multitask/metrics.json", []),
        ("exact/metrics.json", {"test_mse": "small"}),
        ("unseen/run.json", {"command": "python"}),
        ("experiments/latent.json", {"rows": [], "varied": "latent"}),
        ("bench/results.json", {"rows": []}),
        ("experiments/latent.json", {"hypotheses": 3, "rows": [], "varied": "latent"}),
    ],
)
def test_records_that_do_not_fit_change_nothing(copied, runs, command, file, content):
    (runs / file).write_text(json.dumps(content))
    pages = [*(copied / "report/records").iterdir(), *(copied / page for page in report.PAGES)]
    before = {path: path.read_bytes() for path in pages}
    status, _, error = command(report, "--collect", "--runs", runs, "--project", ".")
    assert (status, error.count("\n")) == (2, 1) and {path: path.read_bytes() for path in pages} == before


def test_every_letter_of_the_coursework_has_its_answer():
    sections = re.split(r"^# Part ", (ROOT / "REPORT.md").read_text(), flags=re.MULTILINE)[1:]
    for section, letters in zip(sections, ("abcdefgh", "abcdef", "abc"), strict=True):
        assert re.findall(r"^## (\w)\. ", section, re.MULTILINE) == list(letters)


def test_every_verdict_is_in_the_text():
    text = (ROOT / "REPORT.md").read_text().replace("**", "")
    records = report.recorded()
    for members in report.asked({name: records[f"experiment-{name}"] for name in EXPERIMENTS}).values():
        for judged in members:
            assert text.count(comparison(judged)) in (1, 2) and f"{sentence(judged)}" in text  # 3c.2 under two letters
            assert f"| {judged['letter']} | {judged['text']} |" in text


def test_every_command_shown_is_one_that_parses():
    modules = {script.__name__: script for script in every_script()}
    for page in report.PAGES:
        commands = re.findall(r"`python (\w+)\.py([^`]*)`", (ROOT / page).read_text())
        assert len(commands) > 5
        for script, options in commands:
            if not options.endswith("--help"):  # that exits
                command_line.parse(*configurations(modules[script]), arguments=options.split())
