"""Command lines: options, help, the mistakes that people make, signals and pipes."""

import contextlib
import errno
import importlib
import os
import re
import shlex
import shutil
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
import demo
import lab
import multiTaskModel
from conftest import ROOT, assert_one_line
from lab.cli import UserError
from studies import analogies, bench, experiments, publish

SCRIPTS = (data, autoencoder, multiTaskModel, composite, analogies, bench, experiments, publish)
CATS = "--keyword 'cat face' --copies 1 --epochs 1 --latent 4"

MISTAKES = [
    (data, "--seed -1", "--seed is -1; it must be at "),
    (data, "--source auto", "the source 'auto' does not exist; take twemoji, openmoji"),
    (data, "--also twemoji", "the same style twice"),
    (data, "--keyword 'zebra crossing'", "twemoji has no picture for --keyword 'zebra crossing'"),
    (data, "--keyword 'pouting cat'", "1 pictures in twemoji; --split coursework needs 5; --keyword '' takes"),
    (autoencoder, "--latent 5000", "--latent is 5000; it must be at "),
    (autoencoder, "--learning-rate nan", "--learning-rate is nan; it must be at "),
    (autoencoder, "--mixing 0.5", "--mixing is not for --preset coursework"),
    (autoencoder, "--preset best --dropout 0", "--dropout is not for --preset best"),
    (autoencoder, "--epochs 3 --steps 3", "--epochs and --steps is not for --preset coursework"),
    (autoencoder, "--device abacus", "--device abacus cannot be used"),
    (autoencoder, "--network nowhere.py:Mine", "--network nowhere.py:Mine is unknown, or its file is not there"),
    (autoencoder, f"{CATS} --out others --overwrite", "others holds other files (photo.png); give another --out"),
    (autoencoder, f"{CATS} --out text.txt", "text.txt"),
    (autoencoder, f"{CATS} --resume", "no unfinished run to resume"),
    (autoencoder, "--evaluate tiny --epochs 3 --seed 1", "leave --epochs and --seed out"),
    (autoencoder, "--evaluate tiny", "give the folder of a finished run"),
    (autoencoder, f"{CATS} --reference {ROOT}/pretrained/best", "was trained on other data (--keyword face, not cat"),
    (multiTaskModel, "--keyword 'grinning face'", "class sad has 0 emoji (none) and needs 1"),
    (multiTaskModel, "--augment adversarial", "only for Part 1"),
    (composite, "--strength 1e30", "--strength is 1e+30; it must be at "),
    (composite, "--model others", "others holds no trained network"),
    (composite, "--model hub:owner/name", "hub:owner/name cannot be downloaded"),
    (composite, "--model tiny", "give the folder of a finished run"),
    (analogies, "--count 0", "--count is 0; it must be at "),
    (experiments, "latent --seeds 1", "--seeds is 1; it must be at "),
    (publish, "coursework", "runs/autoencoder"),
    (demo, "--port 0", "--port is 0; it must be at least 1"),
]


@pytest.mark.parametrize("script, arguments, message", MISTAKES)
def test_a_mistake_is_told_in_one_line_before_anything_is_done(command, tiny_run, tmp_path, script, arguments, message):
    """Beside a file, a folder of others and a run that is not finished."""
    shutil.copytree(tiny_run, tmp_path / "tiny", ignore=shutil.ignore_patterns("metrics.json"))
    (tmp_path / "others").mkdir()
    for name in ("text.txt", "others/photo.png"):
        (tmp_path / name).write_text("not ours")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert_one_line(command(script, *shlex.split(arguments)), message)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    assert after.items() == {path: before[path] for path in before if path.name != ".lock"}.items()


def test_an_error_is_one_printable_line_of_bounded_length():
    line = str(UserError("a\n\x1b[2J" + 10**6 * "b" + "end"))
    assert line.isprintable() and len(line) <= 1000 and line.startswith("a [2J") and line.endswith("end")


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
    assert_one_line(command(script(Mock(side_effect=error))), "the disk space" if error.args[1:] else "memory")


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


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_lists_every_option(command, script):
    status, output, error = command(script, "--help")
    assert status == 0 and not error and script.__doc__.splitlines()[0] in output
    assert all(field.name.replace("_", "-") in output.lower() for field in fields(script.Config))
    assert ("data options" in output and "numbers an image is" in output) == (script in (autoencoder, multiTaskModel))


@pytest.mark.parametrize("arguments, status, message", [(["--skip"], 2, "--skip-bad"), (["--help"], 0, "--skip-bad")])
def test_a_mistyped_option_and_help_on_a_terminal_of_80_columns(tmp_path, arguments, status, message):
    pty = pytest.importorskip("pty", reason="not on Windows")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-I", ROOT / "data.py", *arguments]  # the folder is not on its path
    result = subprocess.Popen(command, cwd=tmp_path, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # at its end, Linux
        while part := os.read(ours, 1024):
            shown += part
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert result.wait() == status and max(map(len, lines)) <= 80 and any(message in line for line in lines)
    assert lines[0] == "loading PyTorch: a few seconds"


def test_a_machine_without_a_home_gets_one_and_one_without_packages_a_line(monkeypatch, capsys):
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert Path(importlib.reload(lab) and os.environ["HOME"]).is_dir()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        importlib.reload(lab)
    assert_one_line((stop.value.code, *capsys.readouterr()), "pip install -r requirements.txt")


def imported(path: Path) -> list[str]:
    """The packages that a file imports, in its order."""
    return re.findall(r"^ *(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_imports_run_down_and_lab_comes_before_torch():
    """What scripts share is in data.py and lab/; lab sets variables that torch reads when it is imported."""
    scripts = {path.stem: imported(path) for path in ROOT.glob("*.py")}
    for path in ROOT.glob("lab/*.py"):
        assert not {"studies", "page", *scripts} & {*imported(path)}, path
    for script, packages in scripts.items():
        assert not {*scripts} - {"data"} & {*packages}, script
        assert "sys.path.insert(0," in (ROOT / f"{script}.py").read_text(), script
        assert next(name for name in packages if name in ("lab", "torch", "numpy", *scripts)) == "lab", script
