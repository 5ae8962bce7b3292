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
import data
from common import files
from conftest import ROOT
from lab import baselines, networks, records, training

TINY = (
    *("--source", "twemoji", "--keyword", "cat face", "--copies", "1"),
    *("--epochs", "2", "--batch-size", "8", "--latent", "4"),
)
OUT = "runs/autoencoder"


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
def disk_of():
    """Let no file grow beyond so many bytes, as on a full disk; nothing can be held back for what is written later."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def before(monkeypatch):
    """Lets something happen just before the n-th call of a function of the project, such as `training.evaluate`."""

    def arrange(place, name: str, happen, number: int = 1) -> None:
        function, calls = getattr(place, name), []

        def preceded(*arguments, **options):
            calls.append(name)
            if len(calls) == number:
                happen()
            return function(*arguments, **options)

        monkeypatch.setattr(place, name, preceded)

    return arrange


@pytest.mark.parametrize("size", [10, 4_000_000])  # not enough for run.json; for the weights, but for no checkpoint
def test_full_disk(command, tmp_path, disk_of, size):
    disk_of(size)
    status, _, error = command(autoencoder, *TINY)
    disk_of(resource.RLIM_INFINITY)
    assert status == 2 and "File too large" in error and error.startswith("error: ") and error.count("\n") == 1
    assert_whole(tmp_path)
    again = ["--resume"] * records.unfinished(tmp_path / OUT)
    status, _, error = command(autoencoder, *TINY, *again)
    assert status == 0, error


def test_full_disk_leaves_the_earlier_figure(command, tmp_path, disk_of):
    assert command(data, "--source", "twemoji", "--keyword", "cat face")[0] == 0
    earlier = (tmp_path / "plots/contact_sheet.png").read_bytes()
    disk_of(len(earlier) // 2)
    assert command(data, "--source", "twemoji", "--keyword", "face")[0] == 2
    disk_of(resource.RLIM_INFINITY)
    assert [path.read_bytes() for path in (tmp_path / "plots").iterdir()] == [earlier]


def test_what_is_finished_stays_until_the_new_is_whole(command, tmp_path, disk_of, before):
    """The same run made again, then another one over it: disk full, and Ctrl-C while the weights are written."""
    assert command(autoencoder, *TINY)[0] == 0
    folder = tmp_path / OUT
    earlier = {path: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}
    disk_of(2_000_000)
    status, _, error = command(autoencoder, *TINY)
    disk_of(resource.RLIM_INFINITY)
    assert status == 2 and "File too large" in error
    assert {path: path.read_bytes() for path in earlier} == earlier
    assert_whole(tmp_path)

    before(networks, "save", lambda: disk_of(2_000_000))
    status, _, error = command(autoencoder, *TINY, "--seed", "1", "--overwrite")
    disk_of(resource.RLIM_INFINITY)
    assert status == 2 and "File too large" in error and error.count("\n") == 1
    before(networks, "save", lambda: before(files, "sync", lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert command(autoencoder, *TINY, "--seed", "1", "--resume")[0] == 130
    weights = folder / "model.safetensors"
    assert weights.read_bytes() == earlier[weights]


def failing(error: Exception):
    def fail():
        raise error

    return fail


NO_MEMORY = RuntimeError("[enforce fail at alloc] DefaultCPUAllocator: can't allocate memory: 9 bytes.\nstack")


@pytest.mark.parametrize("error", [MemoryError(), NO_MEMORY])
def test_too_little_memory(command, before, error):
    before(data, "expand", failing(error))
    status, _, error = command(autoencoder, *TINY)
    assert status == 2 and "memory" in error and "--batch-size" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), FileNotFoundError(2, "No such file", "x")]
)
def test_other_errors_are_not_hushed_up(command, before, error):
    before(data, "expand", failing(error))
    with pytest.raises(type(error)):
        command(autoencoder, *TINY)


def test_a_clock_that_goes_backwards(command, tmp_path, monkeypatch):
    clock = iter(range(10**9, 0, -3600))
    monkeypatch.setattr("time.time", lambda: float(next(clock)))
    assert command(autoencoder, *TINY)[0] == 0
    rows = [json.loads(line)["seconds"] for line in (tmp_path / OUT / "metrics.jsonl").read_text().splitlines()]
    seconds = json.loads((tmp_path / OUT / "metrics.json").read_text())["seconds"]
    assert rows == sorted(rows) and 0 <= rows[0] and rows[-1] - 1 <= seconds < 600


ENDS = {signal.SIGTERM: (143, "terminated"), signal.SIGINT: (130, "interrupted")}
STAGES = {  # where the signal comes, at which call, whether there is something to resume, and which signals
    "data": (data, "load", 1, False, [signal.SIGTERM]),
    "training": (training, "descend", 3, True, ENDS),  # in the second epoch
    "evaluation": (baselines, "errors", 1, True, [signal.SIGINT]),
    "weights": (networks, "save", 1, True, [signal.SIGTERM]),
    "metrics": (records.Record, "finish", 1, True, [signal.SIGINT]),
}
SIGNALS = [(stage, number) for stage, (*_, numbers) in STAGES.items() for number in numbers]


@pytest.mark.parametrize("stage, number", SIGNALS)
def test_signals(command, before, tmp_path, stage, number):
    place, name, call, started, _ = STAGES[stage]
    before(place, name, lambda: os.kill(os.getpid(), number), call)
    status, _, error = command(autoencoder, *TINY)
    assert (status, error.count("\n")) == (ENDS[number][0], 1) and "--resume" in error
    assert error.startswith(ENDS[number][1])
    assert_whole(tmp_path)
    assert records.unfinished(tmp_path / OUT) == started
    status, output, error = command(autoencoder, *TINY, *["--resume"] * started)
    assert status == 0 and "Epoch [1/2]" in output and not list((tmp_path / OUT).glob("checkpoint*")), error


def process(*options: str, code: str = "") -> subprocess.Popen:
    """autoencoder.py as a process of its own, after `code`."""
    run = f"import resource, autoencoder\nfrom common import command_line\n{code}\n"
    run += "command_line.run(autoencoder.main, autoencoder.Config, autoencoder.BestConfig)"
    line = [sys.executable, "-u", "-c", run, *TINY, *options]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_process_keeps_others_out_until_it_is_terminated(tmp_path, command):
    folder = tmp_path / "run"
    options = ("--out", str(folder), "--plots", str(folder), "--epochs", "2000")
    run = process(*options)
    assert any(line.startswith("Epoch [2/") for line in run.stdout)
    status, _, error = command(autoencoder, *TINY, *options, "--resume")
    assert status == 2 and "in use by another run" in error and error.count("\n") == 1
    run.terminate()
    line = "terminated; what was finished is on record; --resume goes on from there\n"
    assert (run.wait(), run.stderr.read()) == (143, line)
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
