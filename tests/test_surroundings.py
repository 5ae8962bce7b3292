"""Odd surroundings of a process: closed or narrow streams, and variables of the environment that are nonsense."""

import ast
import os
import subprocess
import sys

import pytest

import report
from conftest import ROOT

SCRIPT = """
import sys
from dataclasses import dataclass
from common import command_line
from common.errors import UserError

@dataclass
class Config:
    lines: int = 1
    text: str = "text"

def main(config):
    for line in range(config.lines):
        print(config.text, line)
    open("file", "w").write("written")
    if config.text == "wrong":
        raise UserError("it is wrong")

command_line.run(main, Config)
"""


SCRIPTS = pytest.mark.parametrize("script", sorted(ROOT.glob("*.py")), ids=lambda script: script.stem)


@SCRIPTS
def test_scripts_set_how_threads_wait_before_torch_reads_it(script):
    """By importing a package of ours, which does, before any that brings threads."""
    nodes = (node for node in ast.parse(script.read_text(encoding="utf-8")).body)
    imports = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
    roots = [
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0] for node in imports
    ]
    ours = next(place for place, root in enumerate(roots) if root in ("common", "data", "lab", "studies"))
    assert not {"torch", "torchvision", "numpy", "scipy", "sklearn"} & set(roots[:ours])


@SCRIPTS
@pytest.mark.parametrize("option, status", [("--help", 0), ("--bogus", 2)])
def test_help_and_mistakes_do_not_wait_for_torch(script, option, status):
    """Of what a process imports, Python says each package's name at the end of a line."""
    command = [sys.executable, "-X", "importtime", script, option]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    imported = {line.split()[-1] for line in result.stderr.splitlines() if line.startswith("import time:")}
    assert result.returncode == status and "tyro" in imported
    assert not {"torch", "torchvision", "sklearn", "scipy", "matplotlib", "pyarrow", "datasets"} & imported


def test_how_threads_wait_is_left_to_the_user_who_says_it():
    code = "import os, common; print(os.environ['GOMP_SPINCOUNT'])"
    for given, used in (({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7")):
        environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"} | given
        command = [sys.executable, "-c", code]
        assert subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True).stdout.strip() == used


def shell(folder, line: str, **variables: str) -> subprocess.CompletedProcess:
    """Run a line of bash, in which $script is the command of a small script, in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "script": SCRIPT, "python": sys.executable, **variables}
    line = line.replace("$script", '"$python" -c "$script"')
    return subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], cwd=folder, env=environment, capture_output=True)


def test_a_reader_that_has_gone(tmp_path):
    """Noticed at the end of a short output, and on the way of a long one."""
    result = shell(tmp_path, "$script --lines 3 | head -0; echo $?; $script --lines 100000 | head -0; echo $?")
    assert (result.stdout, result.stderr) == (b"141\n141\n", b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_lose_the_run(tmp_path, closed):
    """Nor the exit status of an error, when nobody can be told of it."""
    result = shell(tmp_path, f"$script {closed} && cat file && $script --text wrong {closed}")
    assert (result.returncode, result.stderr) == (2, b"" if "2>&-" in closed else b"error: it is wrong\n")
    said = b"" if ">&-" in closed.split() else b"text 0\n", b"" if ">&-" in closed.split() else b"wrong 0\n"
    assert result.stdout == said[0] + b"written" + said[1]


NARROW = dict(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")


def test_what_a_terminal_cannot_encode(tmp_path):
    line = "$script --text 'caf\N{LATIN SMALL LETTER E WITH ACUTE}' && $script --colour red"
    result = shell(tmp_path, line, **NARROW, PYTHONIOENCODING="ascii")
    assert result.returncode == 2 and result.stdout.startswith(b"caf?")
    assert result.stderr == b"error: Unrecognized options: --colour, red; --help lists every option\n"


def test_the_pages_are_read_as_utf8_everywhere(tmp_path):
    result = shell(tmp_path, f'"$python" {ROOT}/report.py --check', **NARROW)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.count(b"is what template") == len(report.PAGES)


def test_variables_that_are_nonsense(tmp_path):
    odd = dict(HF_HUB_DOWNLOAD_TIMEOUT="abc", HF_HUB_ETAG_TIMEOUT="-1", MPLBACKEND="nonsense")
    code = "import data; from common import figures, hub; import huggingface_hub; figures.Figure().savefig('x.png')"
    result = shell(tmp_path, f'"$python" -c "{code}"', **odd)
    assert result.returncode == 0 and (tmp_path / "x.png").exists(), result.stderr
    assert result.stderr.count(b"\n") == 2
    assert b"HF_HUB_DOWNLOAD_TIMEOUT is 'abc', not whole seconds: it is ignored" in result.stderr


def test_a_home_that_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    result = shell(tmp_path, "HOME=$PWD/file $script; echo $?; HOME=$PWD/file/home $script; echo $?")
    assert result.stdout == b"2\n2\n" and result.stderr.count(b"which is no folder; set it to one\n") == 2
    assert result.stderr.count(b"\n") == 2
