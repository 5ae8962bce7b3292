"""Command lines: options, help, the mistakes that people make, signals and pipes."""

import ast
import errno
import json
import os
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
import multiTaskModel
from conftest import ROOT, assert_one_line
from lab.cli import UserError
from lab.options import TrainingOptions, resolve_defaults
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


MISTAKES = [
    (data, ["--source", "auto"], "--source 'auto' does not exist; take twemoji, openmoji"),
    (data, ["--source", "text.txt"], "text.txt cannot be read"),
    (data, ["--also", "twemoji"], "the same style twice"),
    (data, ["--keyword", "zebra crossing"], "twemoji has no picture for --keyword 'zebra crossing'"),
    (data, ["--keyword", "pouting cat"], "finds 1 different emoji; a split needs 5"),
    (data, ["--hold-out", "cheshire cat"], "--hold-out 'cheshire cat' is not among"),
    (data, ["--seed", "-1"], "--seed is -1; it must be at least 0"),
    (autoencoder, ["--copies", "0"], "--copies is 0; it must be at least 1"),
    (autoencoder, ["--latent", "5000"], "--latent is 5000; it must be at most 4096"),
    (autoencoder, ["--learning-rate", "nan"], "--learning-rate is nan"),
    (autoencoder, ["--mixing", "0.5"], "--mixing: not with --preset coursework"),
    (autoencoder, ["--preset", "best", "--dropout", "0.1"], "--dropout: not with --preset best"),
    (autoencoder, ["--epochs", "3", "--steps", "5"], "--epochs and --steps"),
    (autoencoder, ["--device", "abacus"], "--device abacus cannot be used"),
    (autoencoder, [*CATS, "--network", "nowhere.py:Mine"], "--network nowhere.py:Mine"),
    (autoencoder, [*CATS, "--out", "others"], "others holds files of others (photo.png)"),
    (autoencoder, [*CATS, "--out", "text.txt"], "text.txt"),
    (autoencoder, [*CATS, "--resume"], "no unfinished run to resume"),
    (autoencoder, ["--evaluate", "others"], "others holds no trained network"),
    (autoencoder, ["--evaluate", "finished", "--latent", "3"], "leave --latent out"),
    (autoencoder, [*CATS, "--copies", "2", "--reference", "finished"], "trained on other data (--copies 1, not 2)"),
    (autoencoder, [*CATS, "--out", "finished"], "finished holds a finished run with other options (--epochs 2"),
    (autoencoder, [*CATS, "--seeds", "2", "--out", "finished"], "finished holds something else"),
    (multiTaskModel, ["--compare", "--preset", "best"], "--compare takes --preset coursework"),
    (multiTaskModel, [*CATS, "--keyword", "grinning"], "class sad has 0 emoji"),
    (composite, ["--model", "finished", "--target", "unicorn drawing"], "matches no emoji"),
    (composite, ["--model", "others"], "others holds no trained network"),
    (analogies, ["--count", "1"], "--count is 1"),
    (bench, ["--seeds", "0"], "--seeds is 0"),
    (experiments, ["latent", "--seeds", "1"], "--seeds is 1"),
    (publish, ["coursework"], "runs/autoencoder"),
]


@pytest.mark.parametrize("script, arguments, message", MISTAKES)
def test_a_mistake_is_told_in_one_line(command, tmp_path, tiny_run, script, arguments, message):
    (tmp_path / "finished").symlink_to(tiny_run)
    (tmp_path / "others").mkdir()
    others = {tmp_path / name: "not ours" for name in ("text.txt", "others/photo.png")}
    for path, content in others.items():
        path.write_text(content)
    before = (tiny_run / "run.json").read_text()
    assert_one_line(command(script, *arguments), message)
    assert others == {path: path.read_text() for path in others} and (tiny_run / "run.json").read_text() == before


def test_an_error_is_one_printable_line_of_bounded_length():
    line = str(UserError("a\n\x1b[2J" + 10**6 * "b" + "end"))
    assert line.isprintable() and len(line) <= 1000 and line.startswith("a [2J") and line.endswith("end")


# ---------------------------------------------------------------- what happens to a process


@dataclass
class Config:
    """A tiny script."""

    lines: int = 1
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


# ---------------------------------------------------------------- help and options


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_lists_every_option(command, script):
    status, output, error = command(script, "--help")
    assert status == 0 and not error and script.Config.__doc__.split()[0] in output
    assert all(field.name.replace("_", "-") in output.lower() for field in fields(script.Config))


def test_help_of_a_process():
    result = subprocess.run([sys.executable, "data.py", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0 and "--skip-bad" in result.stdout and not result.stderr


def test_what_is_left_out_is_what_the_preset_has():
    coursework = resolve_defaults(TrainingOptions(dropout=0.5))
    assert (coursework.epochs, coursework.learning_rate, coursework.dropout, coursework.shift) == (30, 1e-3, 0.5, None)
    assert resolve_defaults(TrainingOptions(steps=5)).epochs is None
    part2 = resolve_defaults(multiTaskModel.Config())
    assert (part2.epochs, part2.dropout, part2.copies) == (10, 0.0, 50)
    best = resolve_defaults(TrainingOptions(preset="best", split="unseen", steps=5))
    assert (best.network, best.steps, best.mixing, best.epochs, best.dropout) == ("residual", 5, 0.7, None, None)
    styles = resolve_defaults(TrainingOptions(preset="best", also=("openmoji",)))
    assert (styles.network, styles.batch_size, styles.mixing) == ("informed", 16, 0.0)


def test_two_seeds_are_two_runs_and_a_second_call_trains_none(command, tmp_path):
    arguments = (*CATS, "--seeds", "2", "--out", "two")
    status, output, _ = command(autoencoder, *arguments)
    record = json.loads((tmp_path / "two/metrics.json").read_text())
    runs = [tmp_path / f"two/seed-{seed}/metrics.json" for seed in range(2)]
    first, second = (json.loads(path.read_text())["test_mse"] for path in runs)
    assert status == 0 and first != second and record["mean"]["test_mse"] == pytest.approx((first + second) / 2)
    assert f"test mse: {(first + second) / 2:.4f} ± {abs(first - second) / 2**0.5:.4f}, n = 2" in output
    before = [path.stat().st_mtime_ns for path in runs]
    assert command(autoencoder, *arguments)[0] == 0 and [path.stat().st_mtime_ns for path in runs] == before


# ---------------------------------------------------------------- which module imports which


def imported(path: Path) -> list[str]:
    """The modules and names that a file imports, in its order: `from a import b` is a.b."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if hasattr(node, "lineno")]
    nodes = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    nodes.sort(key=lambda node: node.lineno)
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
