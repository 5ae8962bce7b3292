"""README.md and REPORT.md are what templates and records give, and what they show is there."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import tyro

import autoencoder
import composite
import multiTaskModel
import report
from lab.cli import UserError
from studies import analogies, bench, experiments

ROOT = Path(__file__).parent.parent
SCRIPTS = {"autoencoder.py": autoencoder, "multiTaskModel.py": multiTaskModel, "composite.py": composite}
MODULES = {"studies.analogies": analogies, "studies.bench": bench, "studies.experiments": experiments}


@pytest.fixture(scope="module")
def records():
    return report.load_records()


def test_the_pages_are_what_the_records_give(records):
    report.main(report.Config(check=True))


def test_a_changed_page_and_a_changed_record_are_seen(tmp_path):
    for name in ("README.md", "REPORT.md", "report", "plots"):
        place = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        place(ROOT / name, tmp_path / name)
    report.main(report.Config(check=True, project=tmp_path))
    path = tmp_path / "report/records/autoencoder.json"
    path.write_text(re.sub(r'"parameters": \d+', '"parameters": 1', path.read_text()))
    with pytest.raises(UserError, match="REPORT.md is not what template and records give"):
        report.main(report.Config(check=True, project=tmp_path))
    path.unlink()
    with pytest.raises(UserError, match="--collect"):
        report.main(report.Config(check=True, project=tmp_path))


def test_every_figure_is_tracked_small_and_shown():
    shown = {f for page in report.PAGES for f in report.FIGURE.findall((ROOT / page).read_text(encoding="utf-8"))}
    shown |= {f"plots/{f}" for f in re.findall(r"plots/(published/\S+?\.png)", (ROOT / "docs/data.md").read_text())}
    there = {str(path.relative_to(ROOT)) for path in (ROOT / report.PUBLISHED).rglob("*.png")}
    assert shown == there
    assert all((ROOT / figure).stat().st_size <= report.LARGEST for figure in shown)
    if (ROOT / ".git").exists():
        tracked = subprocess.run(["git", "ls-files", "plots"], cwd=ROOT, capture_output=True, text=True).stdout.split()
        assert shown <= set(tracked)


def commands() -> list[str]:
    """The commands that README, REPORT and docs show."""
    pages = [ROOT / page for page in (*report.PAGES, "docs/data.md", "docs/runs.md", "docs/extending.md")]
    found = {c for page in pages for c in re.findall(r"`(python [^`]+)`", page.read_text(encoding="utf-8"))}
    return sorted(c for c in found if "..." not in c and "NAME" not in c and "--help" not in c and "my_file" not in c)


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command):
    _, *words = shlex.split(command)
    script = MODULES[words[1]] if words[0] == "-m" and words[1] in MODULES else SCRIPTS.get(words[0])
    if script:
        tyro.cli(script.Config, args=words[2:] if words[0] == "-m" else words[1:])
    else:
        assert words[0] == "-m" or (ROOT / words[0]).is_file()


def test_the_layout_is_the_tree():
    layout = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Layout")[2].partition("\n## ")[0]
    named = {word.removeprefix("lab/").removeprefix("studies/") for word in re.findall(r"[\w/]+\.(?:py|ipynb)", layout)}
    for folder in (".", "lab", "studies"):
        for path in (ROOT / folder).glob("*.py"):
            assert path.name in named or path.name == "__init__.py", path.name


def test_verdicts_are_corrected_over_all_questions(records):
    judged = report.judged_hypotheses({name: records[f"experiment-{name}"] for name in report.EXPERIMENTS})
    everything = [one for members in judged.values() for one in members]
    smallest = min(everything, key=lambda one: one["p"])
    assert smallest["holm_p"] == pytest.approx(len(everything) * smallest["p"])
    assert all(one["holm_p"] >= one["p"] for one in everything)
