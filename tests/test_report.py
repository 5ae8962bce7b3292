"""README.md and REPORT.md: that their numbers are those of the records."""

import json
import re
import shutil
import subprocess
import sys

import pytest

import report
from common import command_line
from conftest import ROOT, configurations
from studies.findings import finding
from studies.hypotheses import EXPERIMENTS


@pytest.fixture
def copied(tmp_path):
    """The pages, templates, records and figures in a folder of the test's own, in which `command` runs."""
    for name in ("report", "bench", "plots", *report.PAGES):
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


@pytest.mark.parametrize("page, record", [("README.md", "unseen"), ("REPORT.md", "no-copies")])
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


def test_a_figure_that_is_missing_is_noticed(copied, command):
    (copied / "plots/bench.png").unlink()
    status, _, error = command(report, "--check", "--project", ".")
    assert status == 2 and "plots/bench.png" in error and error.count("\n") == 1


@pytest.fixture
def runs(copied, tmp_path):
    """A folder of runs that left the records of the report, but for one number."""
    folder = tmp_path / "runs"
    for name in report.RUNS:
        (folder / name).mkdir(parents=True)
        record = json.loads((copied / f"report/records/{name}.json").read_text(encoding="utf-8"))
        (folder / name / "run.json").write_text(json.dumps({key: record.pop(key) for key in report.ABOUT}))
        record |= {"test_mse": 0.5} if name == "unseen" else {}
        (folder / name / "metrics.json").write_text(json.dumps(record))
    (folder / "experiments").mkdir()
    for name in EXPERIMENTS:
        shutil.copy(copied / f"report/records/experiment-{name}.json", folder / "experiments" / f"{name}.json")
    return folder


def test_records_are_taken_from_runs_all_or_none(copied, runs, command):
    (runs / "experiments/latent.json").rename(runs / "latent.json")
    unseen = copied / "report/records/unseen.json"
    before = unseen.read_text()
    status, _, error = command(report, "--collect", "--runs", runs, "--project", ".")
    assert status == 2 and "python experiments.py latent" in error and unseen.read_text() == before
    (runs / "latent.json").rename(runs / "experiments/latent.json")
    assert command(report, "--collect", "--runs", runs, "--project", ".")[0] == 0
    assert "| 0.5000 |" in (copied / "README.md").read_text(encoding="utf-8")
    assert command(report, "--collect", "--check")[0] == 2


@pytest.mark.parametrize(
    "file, content",
    [
        ("multitask/metrics.json", {"compare": {}}),  # of other options
        ("multitask/metrics.json", []),
        ("unseen/metrics.json", {"test_mse": "small"}),
        ("unseen/run.json", {"command": "python"}),
        ("experiments/latent.json", {"rows": [], "varied": "latent"}),
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
    for name in EXPERIMENTS:
        for judged in records[f"experiment-{name}"]["hypotheses"]:
            assert finding(judged) in text


def test_every_command_shown_is_one_that_parses():
    import analogies
    import autoencoder
    import bench
    import composite
    import data
    import experiments
    import multiTaskModel

    scripts = (analogies, autoencoder, bench, composite, data, experiments, multiTaskModel, report)
    modules = {script.__name__: script for script in scripts}
    for page in report.PAGES:
        commands = re.findall(r"`python (\w+)\.py([^`]*)`", (ROOT / page).read_text())
        assert len(commands) > 5
        for script, options in commands:
            if options != " --help":  # that exits
                command_line.parse(*configurations(modules[script]), arguments=options.split())
