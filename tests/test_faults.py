"""A full disk, too little memory, a signal: one line, the right exit status, and every file as whole as it was."""

import json
import os
import resource
import signal
import subprocess
import sys

import pytest
import safetensors.torch

import autoencoder
import checkpoint
import data
import figures
import files
import records
import training
from conftest import ROOT

TINY = ("--source", "twemoji", "--keyword", "cat face", "--copies", "1", "--epochs", "4", "--batch-size", "8", "--latent", "4")
OUT = "runs/autoencoder"


@pytest.fixture(autouse=True)
def quick(monkeypatch, faces):
    """Decoded once, and saved after every epoch."""
    monkeypatch.setattr(data, "load_originals", lambda source, keyword, *_: data.matching(faces, keyword))
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))


def assert_whole(folder) -> None:
    """Every file that is there can be read to its end, and none is half written."""
    for path in folder.rglob("*"):
        assert not path.name.endswith(".part") or path.name == ".metrics.jsonl.part", path
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix == ".jsonl":
            assert all(json.loads(line) for line in path.read_text().splitlines())
        if path.suffix == ".safetensors":
            safetensors.torch.load_file(path)
        if path.suffix == ".png":
            data.open_picture(path.read_bytes())


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    with files.written_whole(path) as temporary:
        temporary.write_text("first")
    with pytest.raises(KeyboardInterrupt):
        with files.written_whole(path) as temporary:
            temporary.write_text("sec")
            assert path.read_text() == "first"
            raise KeyboardInterrupt
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


@pytest.fixture
def disk_of(monkeypatch):
    """Let no file grow beyond so many bytes, as on a full disk; nothing can be held back for what is written later."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size", [10, 4_000_000])  # not enough for run.json; for all but the first checkpoint
def test_full_disk(command, tmp_path, disk_of, size):
    disk_of(size)
    status, _, error = command(autoencoder, *TINY)
    disk_of(resource.RLIM_INFINITY)
    assert status == 2 and "File too large" in error and error.startswith("error: ") and error.count("\n") == 1
    assert_whole(tmp_path)
    again = ["--resume"] * records.unfinished(tmp_path / OUT)
    status, _, error = command(autoencoder, *TINY, *again)
    assert status == 0, error
    assert command(autoencoder, *TINY, "--out", "whole")[0] == 0
    assert (tmp_path / OUT / "model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()


def test_full_disk_leaves_the_earlier_figure(command, tmp_path, disk_of):
    assert command(data, "--source", "twemoji", "--keyword", "cat face")[0] == 0
    before = (tmp_path / "plots/contact_sheet.png").read_bytes()
    disk_of(len(before) // 2)
    assert command(data, "--source", "twemoji", "--keyword", "face")[0] == 2
    disk_of(resource.RLIM_INFINITY)
    assert (tmp_path / "plots/contact_sheet.png").read_bytes() == before and len(list((tmp_path / "plots").iterdir())) == 1


def test_full_disk_leaves_the_finished_run(command, tmp_path, disk_of):
    assert command(autoencoder, *TINY)[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / OUT).iterdir() if path.name != "run.json"}
    disk_of(2_000_000)
    status, _, error = command(autoencoder, *TINY)
    disk_of(resource.RLIM_INFINITY)
    assert status == 2 and "File too large" in error
    assert {path: path.read_bytes() for path in before} == before
    assert_whole(tmp_path)


def test_weights_are_replaced_when_the_new_ones_are_whole(command, tmp_path, disk_of, monkeypatch):
    assert command(autoencoder, *TINY)[0] == 0
    weights, save = (tmp_path / OUT / "model.safetensors").read_bytes(), autoencoder.save
    monkeypatch.setattr(autoencoder, "save", lambda *arguments: (disk_of(2_000_000), save(*arguments)))
    status, _, error = command(autoencoder, *TINY, "--seed", "1", "--overwrite")
    disk_of(resource.RLIM_INFINITY)
    assert status == 2 and "File too large" in error and error.count("\n") == 1
    monkeypatch.setattr(autoencoder, "save", save)
    monkeypatch.setattr(files, "sync", lambda path: os.kill(os.getpid(), signal.SIGINT) if "model" in path.name else None)
    assert command(autoencoder, *TINY, "--seed", "1", "--resume")[0] == 130
    assert (tmp_path / OUT / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail at alloc] DefaultCPUAllocator: can't allocate memory: 9 bytes.\nstack")])
def test_too_little_memory(command, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(data, "expand", fail)
    status, _, error = command(autoencoder, *TINY)
    assert status == 2 and "memory" in error and "--batch-size" in error and error.count("\n") == 1


def test_a_clock_that_goes_backwards(command, tmp_path, monkeypatch):
    clock = iter(range(10**9, 0, -3600))
    monkeypatch.setattr("time.time", lambda: float(next(clock)))
    assert command(autoencoder, *TINY)[0] == 0
    rows = [json.loads(line)["seconds"] for line in (tmp_path / OUT / "metrics.jsonl").read_text().splitlines()]
    seconds = json.loads((tmp_path / OUT / "metrics.json").read_text())["seconds"]
    assert rows == sorted(rows) and 0 <= rows[0] and rows[-1] - 1 <= seconds < 600


def test_other_errors_are_not_hushed_up(command, monkeypatch):
    for error in (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), FileNotFoundError(2, "No such file", "x")):
        monkeypatch.setattr(data, "expand", lambda *_: (_ for _ in ()).throw(error))
        with pytest.raises(type(error)):
            command(autoencoder, *TINY)


STAGES = {  # where the signal comes, and whether there is something to resume
    "data": (data, "load", False),
    "training": (training, "one_pass", True),
    "evaluation": (autoencoder.baselines, "errors", True),
    "weights": (autoencoder, "encode_all", True),
    "figures": (figures, "learning_curves", True),
    "metrics": (records.Record, "finish", True),
}


@pytest.mark.parametrize("number, status, word", [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")])
@pytest.mark.parametrize("stage", STAGES)
def test_signals(command, monkeypatch, tmp_path, stage, number, status, word):
    place, name, started = STAGES[stage]
    function, calls = getattr(place, name), []

    def signalled(*arguments, **options):
        calls.append(name)
        if len(calls) == (1 if stage != "training" else 3):  # in the second epoch
            os.kill(os.getpid(), number)
        return function(*arguments, **options)

    monkeypatch.setattr(place, name, signalled)
    stopped, _, error = command(autoencoder, *TINY)
    assert (stopped, error.count("\n")) == (status, 1) and error.startswith(word) and "--resume" in error
    assert_whole(tmp_path)
    assert records.unfinished(tmp_path / OUT) == started
    stopped, output, error = command(autoencoder, *TINY, *["--resume"] * started)
    assert stopped == 0 and "Epoch [1/4]" in output and not list((tmp_path / OUT).glob("checkpoint*")), error


def process(*options: str, code: str = "") -> subprocess.Popen:
    """autoencoder.py as a process of its own, after `code`."""
    run = f"import resource, checkpoint, autoencoder, cli\n{code}\ncli.run(autoencoder.main, autoencoder.Config)"
    command = [sys.executable, "-u", "-c", run, *TINY, *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_process_keeps_others_out_until_it_is_terminated(tmp_path, command):
    folder = tmp_path / "run"
    options = ("--out", str(folder), "--plots", str(folder), "--epochs", "2000")
    run = process(*options)
    assert any(line.startswith("Epoch [2/") for line in run.stdout)
    status, _, error = command(autoencoder, *TINY, *options, "--resume")
    assert status == 2 and "in use by another run" in error and error.count("\n") == 1
    run.terminate()
    assert (run.wait(), run.stderr.read()) == (143, "terminated; what was finished is on record; --resume goes on from there\n")
    assert_whole(folder)
    assert records.unfinished(folder) and (folder / "checkpoint.safetensors").exists()
    with files.locked(folder):
        pass


def test_memory_limit(tmp_path):
    limit = "import pathlib; size = int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * 4096 + 600 * 2**20; "
    limit += "resource.setrlimit(resource.RLIMIT_AS, (size, size))"
    run = process("--out", str(tmp_path), "--plots", str(tmp_path), "--copies", "6000", "--augment", "none", code=limit)
    _, error = run.communicate()
    assert run.returncode == 2 and "memory" in error and error.count("\n") == 1, error
