"""Command lines: options, help, the mistakes that people make, signals and pipes."""

import ast
import contextlib
import errno
import importlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

import autoencoder
import composite
import data
import lab
import multiTaskModel
from conftest import ROOT, assert_one_line
from lab.cli import UserError
from studies import analogies, bench, experiments, publish

SCRIPTS = (data, autoencoder, multiTaskModel, composite, analogies, bench, experiments, publish)
CATS = ("--keyword", "cat face", "--copies", "1", "--epochs", "1", "--latent", "4")


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    "script, arguments, message",
    [
        (data, ["--epochs", "3"], "--epochs"),
        (data, ["surplus"], "surplus"),
        (data, ["--split", "emoji"], "'unseen'"),  # the old spellings are refused
        (autoencoder, ["--preset", "report"], "'coursework', 'best'"),
        (autoencoder, ["--augment", "report"], "'coursework', 'none'"),
        (autoencoder, ["--epoch", "3"], "--epochs"),
        (autoencoder, ["--epochs", "many"], "'many'"),
        (autoencoder, ["--copies", "1.5"], "'1.5'"),
        (composite, ["--method", "learned"], "'transplant'"),
        (experiments, ["nothing"], "nothing"),
    ],
)
def test_a_line_that_cannot_be_parsed_is_explained(command, script, arguments, message):
    status, output, error = command(script, *arguments)
    assert status == 2 and message in error and "--help" in error and not output


OUT_OF_RANGE = [
    (data, ["--seed", "-1"], "--seed is -1"),
    (autoencoder, ["--copies", "0"], "--copies is 0"),
    (autoencoder, ["--latent", "5000"], "--latent is 5000"),
    (autoencoder, ["--learning-rate", "nan"], "--learning-rate is nan"),
    (multiTaskModel, ["--classification-weight", "inf"], "--classification-weight is inf"),
    (analogies, ["--count", "0"], "--count is 0"),
    (bench, ["--seeds", "0"], "--seeds is 0"),
    (experiments, ["latent", "--seeds", "1"], "--seeds is 1"),
    (composite, ["--strength", "1e30"], "--strength is 1e+30"),
]


@pytest.mark.parametrize("script, arguments, message", OUT_OF_RANGE)
def test_a_value_out_of_range_is_told_before_anything_is_done(command, monkeypatch, script, arguments, message):
    monkeypatch.setattr(script, "main", Mock(side_effect=AssertionError("started")))
    assert_one_line(command(script, *arguments), f"{message}; it must be at ")


MISTAKES = [
    (data, ["--source", "auto"], "--source 'auto' does not exist; take twemoji, openmoji"),
    (data, ["--source", "text.txt"], "text.txt cannot be read"),
    (data, ["--also", "twemoji"], "the same style twice"),
    (data, ["--keyword", "zebra crossing"], "twemoji has no picture for --keyword 'zebra crossing'"),
    (data, ["--keyword", "pouting cat"], "finds 1 pictures in twemoji; --split coursework needs 5"),
    (data, ["--hold-out", "cheshire cat"], "--hold-out 'cheshire cat' is not among"),
    (autoencoder, ["--mixing", "0.5"], "--mixing: not with --preset coursework"),
    (autoencoder, ["--device", "abacus"], "--device abacus cannot be used"),
    (autoencoder, [*CATS, "--network", "nowhere.py:Mine"], "--network nowhere.py:Mine"),
    (autoencoder, [*CATS, "--out", "others"], "others holds files of others (photo.png)"),
    (autoencoder, [*CATS, "--out", "text.txt"], "text.txt"),
    (autoencoder, [*CATS, "--resume"], "no unfinished run to resume"),
    (composite, ["--model", "others"], "others holds no trained network"),
    (composite, ["--model", "hub:owner/name"], "hub:owner/name holds no trained network"),
    (publish, ["coursework"], "runs/autoencoder"),
]


@pytest.mark.parametrize("script, arguments, message", MISTAKES)
def test_a_mistake_is_told_in_one_line(command, tmp_path, script, arguments, message):
    (tmp_path / "others").mkdir()
    files = [tmp_path / "text.txt", tmp_path / "others/photo.png"]
    for path in files:
        path.write_text("not ours")
    assert_one_line(command(script, *arguments), message)
    assert all(path.read_text() == "not ours" for path in files)


def test_an_error_is_one_printable_line_of_bounded_length():
    line = str(UserError("a\n\x1b[2J" + 10**6 * "b" + "end"))
    assert line.isprintable() and len(line) <= 1000 and line.startswith("a [2J") and line.endswith("end")


# ---------------------------------------------------------------- what happens to a process


@dataclass
class Config:
    """A tiny script."""

    resume: bool = False


def script(happens) -> SimpleNamespace:
    return SimpleNamespace(__name__="tiny", Config=Config, main=lambda config: happens())


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), MemoryError(), RuntimeError("out of memory")]
)
def test_what_the_machine_lacks_is_told_in_one_line(command, error):
    assert_one_line(command(script(Mock(side_effect=error))), "the room on the disk" if error.args[1:] else "memory")


def test_a_fault_of_this_project_is_not_hidden(command):
    with pytest.raises(RuntimeError, match="shapes"):
        command(script(Mock(side_effect=RuntimeError("shapes cannot be multiplied"))))


@pytest.mark.parametrize("number, line", [(signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")])
def test_a_signal_ends_the_run_in_one_line(command, number, line):
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, signal.default_int_handler) for each in numbers]  # a job in the background ignores ^C
    result = command(script(lambda: os.kill(os.getpid(), number)))
    for each, handler in zip(numbers, before):
        signal.signal(each, handler)
    assert result == (128 + number, "", f"{line}; --resume continues the run\n")


def test_a_reader_that_has_gone_ends_the_run_silently(tmp_path):
    (tmp_path / "tiny.py").write_text(
        "from dataclasses import make_dataclass; from lab import cli; "
        "cli.run(lambda config: print('line'), make_dataclass('Config', []))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    line = ["bash", "-c", f"set -o pipefail; {sys.executable} tiny.py | true"]
    result = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True)
    assert (result.returncode, result.stdout, result.stderr) == (141, b"", b"")


# ---------------------------------------------------------------- help, and which module imports which


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_lists_every_option(command, script):
    status, output, error = command(script, "--help")
    assert status == 0 and not error and script.__doc__.splitlines()[0] in output
    assert all(field.name.replace("_", "-") in output.lower() for field in fields(script.Config))


@pytest.mark.parametrize("arguments, status, message", [(["--skip"], 2, "--skip-bad"), (["--help"], 0, "--skip-bad")])
def test_a_terminal_of_80_columns(tmp_path, arguments, status, message):
    pty = pytest.importorskip("pty", reason="not on Windows")
    ours, theirs = pty.openpty()
    result = subprocess.Popen(
        [sys.executable, ROOT / "data.py", *arguments], cwd=tmp_path, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # at its end, Linux
        while part := os.read(ours, 1024):
            shown += part
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert result.wait() == status and max(map(len, lines)) <= 80 and any(message in line for line in lines)


def test_a_machine_without_a_home_gets_one_and_one_without_packages_a_line(monkeypatch, capsys):
    monkeypatch.delenv("HOME")
    assert Path(importlib.reload(lab) and os.environ["HOME"]).is_dir()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        importlib.reload(lab)
    assert_one_line((stop.value.code, *capsys.readouterr()), "pip install -r requirements.txt")


def imported(path: Path) -> list[str]:
    """The modules and names that a file imports, in its order: `from a import b` is a.b."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    nodes = sorted((n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)), key=lambda n: n.lineno)
    prefixes = [f"{node.module}." if isinstance(node, ast.ImportFrom) else "" for node in nodes]
    return [prefix + alias.name for prefix, node in zip(prefixes, nodes) for alias in node.names]


def test_imports_run_down_and_lab_comes_before_torch():
    """What scripts share is in data.py and lab/; lab sets variables that torch reads when it is imported."""
    scripts = {path.stem: imported(path) for path in ROOT.glob("*.py")}
    for path in ROOT.glob("lab/*.py"):
        assert not {"studies", "page", *scripts} & {name.split(".")[0] for name in imported(path)}, path
    for script, names in scripts.items():
        packages = [name.split(".")[0] for name in names]
        assert not {*scripts} - {"data"} & {*packages}, script
        assert next(name for name in packages if name in ("lab", "torch", "numpy", *scripts)) == "lab", script
