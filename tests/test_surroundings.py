"""Odd surroundings of a process: closed or narrow streams, and variables of the environment that are nonsense."""

import os
import subprocess
import sys

import pytest

import report
from conftest import ROOT

SCRIPT = """
import sys
from dataclasses import dataclass
import cli

@dataclass
class Config:
    lines: int = 1
    text: str = "text"

def main(config):
    for line in range(config.lines):
        print(config.text, line)
    open("file", "w").write("written")
    if config.text == "wrong":
        raise cli.UserError("it is wrong")

cli.run(main, Config)
"""


def shell(folder, line: str, **variables: str) -> subprocess.CompletedProcess:
    """Run a line of bash, in which $script is the command of a small script, in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "script": SCRIPT, "python": sys.executable, **variables}
    line = line.replace("$script", '"$python" -c "$script"')
    return subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], cwd=folder, env=environment, capture_output=True)


@pytest.mark.parametrize("lines", ["3", "100000"])  # noticed at the end, and on the way
def test_a_reader_that_has_gone(tmp_path, lines):
    result = shell(tmp_path, f"$script --lines {lines} | head -0")
    assert (result.returncode, result.stderr) == (141, b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_lose_the_run(tmp_path, closed):
    result = shell(tmp_path, f"$script {closed}")
    assert (result.returncode, result.stderr, (tmp_path / "file").read_text()) == (0, b"", "written")
    assert result.stdout == (b"" if ">&-" in closed.split() else b"text 0\n")
    assert shell(tmp_path, f"$script --text wrong {closed}").returncode == 2


def test_what_a_terminal_cannot_encode(tmp_path):
    narrow = dict(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii")
    result = shell(tmp_path, "$script --text 'caf\N{LATIN SMALL LETTER E WITH ACUTE}'", **narrow)
    assert result.returncode == 0 and result.stdout.startswith(b"caf?") and result.stderr == b""


def test_the_pages_are_read_as_utf8_everywhere(tmp_path):
    narrow = dict(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    result = shell(tmp_path, f'"$python" {ROOT}/report.py --check', **narrow)
    assert (result.returncode, result.stderr) == (0, b"") and result.stdout.count(b"is what template") == len(report.PAGES)


def test_variables_that_are_nonsense(tmp_path):
    odd = dict(HF_HUB_DOWNLOAD_TIMEOUT="abc", HF_HUB_ETAG_TIMEOUT="-1", MPLBACKEND="nonsense")
    result = shell(tmp_path, '"$python" -c "import multiTaskModel, figures; figures.Figure().savefig(\'x.png\')"', **odd)
    assert result.returncode == 0 and (tmp_path / "x.png").exists()
    assert result.stderr.count(b"\n") == 2 and b"HF_HUB_DOWNLOAD_TIMEOUT is 'abc', not whole seconds: it is ignored" in result.stderr


@pytest.mark.parametrize("home", ["file", "file/home"])
def test_a_home_that_is_no_folder(tmp_path, home):
    (tmp_path / "file").touch()
    result = shell(tmp_path, "$script", HOME=str(tmp_path / home))
    assert result.returncode == 2 and result.stderr.endswith(b"which is no folder; set it to one\n") and result.stderr.count(b"\n") == 1
