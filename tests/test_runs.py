"""A killed run continues to the bits of one that was never killed; no run is overwritten or mixed with another."""

import contextlib
import json
import random
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch.optim.optimizer import register_optimizer_step_pre_hook

import autoencoder
import multiTaskModel
from conftest import ROOT
from lab import runs
from lab.cli import UserError

TINY = dict(copies=1, latent=4, device="cpu")
CATS = dict(**TINY, keyword="cat face", batch_size=8)  # 12 training images
TWO_FOLDS = dict(split="unseen", epochs=4, hold_out=("frowning face", "slightly frowning face", "loudly crying face"))
KINDS = {
    "coursework": (autoencoder, autoencoder.Config(**CATS, epochs=6)),
    "whole batches": (autoencoder, autoencoder.Config(**{**CATS, "batch_size": 4}, epochs=6)),
    "by steps": (autoencoder, autoencoder.Config(**CATS, steps=13)),
    "best": (autoencoder, autoencoder.Config(**CATS, preset="best", steps=8, refine_steps=2, pca_images=64)),
    "both losses": (multiTaskModel, multiTaskModel.Config(**TINY, batch_size=16, epochs=4, dropout=0.2)),
    "folds": (multiTaskModel, multiTaskModel.Config(**TINY, batch_size=16, **TWO_FOLDS)),
}
PORTABLE = [pytest.param(name, marks=[pytest.mark.portable] * (name == "best")) for name in KINDS]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    for script, name in ((autoencoder, "draw"), (multiTaskModel, "draw"), (multiTaskModel, "draw_classes")):
        monkeypatch.setattr(script, name, lambda *_: None)


@pytest.fixture
def interrupt():
    """Let Ctrl-C come before the optimizers' n-th step from now. Returns how many there were since the last call."""
    counted = [0, float("inf")]

    def count(*_):
        counted[0] += 1
        if counted[0] >= counted[1]:
            raise KeyboardInterrupt

    def after(steps: float = float("inf")) -> int:
        last, counted[:] = counted[0], [0, steps]
        return last

    hook = register_optimizer_step_pre_hook(count)
    yield after
    hook.remove()


def completes(script, config) -> bool:
    """Start or resume a run; whether it came to its end."""
    try:
        script.main(replace(config, resume=runs.is_unfinished(config.out)))
    except KeyboardInterrupt:
        return False
    return True


def without_seconds(text: str) -> dict:
    return {name: value for name, value in json.loads(text).items() if name != "seconds"}


def result(folder: Path) -> tuple:
    """All that must not depend on whether, and when, a run was killed: metrics, rows, and the bytes of tensors."""
    rows = [*map(without_seconds, (folder / "metrics.jsonl").read_text().splitlines())]
    tensors = {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}
    return without_seconds((folder / "metrics.json").read_text()), rows, tensors


@pytest.mark.parametrize("name", PORTABLE)
def test_a_run_interrupted_again_and_again_ends_at_the_same_bits(name, tmp_path, interrupt, monkeypatch):
    """With a checkpoint for every row of the record, or one at most, so that further rows are made again."""
    monkeypatch.setattr(runs, "SAVING_TIME", 1e-9 if name == "whole batches" else float("inf"))
    script, config = KINDS[name]
    whole, cut = (replace(config, out=tmp_path / part, plots=tmp_path / part) for part in ("whole", "cut"))
    interrupt()
    script.main(whole)
    steps, interruptions = interrupt(), 0
    interrupt(steps // 3)
    while not completes(script, cut):
        interruptions += 1
        interrupt(steps // 3 + interruptions)  # within an epoch, too
    assert 2 <= interruptions <= 6
    assert result(cut.out) == result(whole.out)
    assert not [path for path in cut.out.iterdir() if "checkpoint" in path.name or path.suffix == ".part"]


@pytest.fixture
def stopped(tmp_path, interrupt):
    """The config of a run that was stopped with a checkpoint."""
    config = replace(KINDS["coursework"][1], out=tmp_path / "run", plots=tmp_path / "run")
    interrupt(6)
    assert not completes(autoencoder, config) and (config.out / "checkpoint.safetensors").exists()
    interrupt()
    return config


def refused(config, *expected: str) -> None:
    """`config` ends with one line that says this, and the folder is as before."""
    before = {path: path.read_bytes() for path in config.out.iterdir()}
    with pytest.raises(UserError) as error:
        autoencoder.main(config)
    assert all(part in str(error.value) for part in expected)
    assert {path: path.read_bytes() for path in config.out.iterdir()} == before


def test_a_run_is_continued_made_again_or_left_alone(stopped, capsys):
    """Unfinished, it is neither lost nor continued with other options; finished, it is replaced only when told so."""
    resumed = replace(stopped, resume=True)
    refused(stopped, "unfinished run", "--resume continues it")
    refused(replace(resumed, seed=1, learning_rate=0.5), "--seed 0, not 1", "--learning-rate 0.001, not")
    with FileLock(stopped.out / ".lock"):
        refused(resumed, "is in use by another run")
    run = json.loads((stopped.out / "run.json").read_text())
    (stopped.out / "run.json").write_text(json.dumps({**run, "threads": 99}))
    autoencoder.main(replace(resumed, plots=stopped.out / "figures"))  # they change no number
    assert "the last digits may differ" in capsys.readouterr().out
    first = result(stopped.out)
    refused(resumed, "no unfinished run to resume")
    refused(replace(stopped, epochs=7), "finished run with other options (--epochs 6, not 7)", "--overwrite")
    autoencoder.main(stopped)
    assert result(stopped.out) == first
    autoencoder.main(replace(stopped, epochs=1, overwrite=True))
    assert len(result(stopped.out)[1]) == 1


class Trap:
    """A pickle that makes a file when it is opened."""

    def __reduce__(self):
        return open, ("sprung", "w")


def with_another_shape(path: Path) -> None:
    with safe_open(path, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    save_file({**tensors, "optimizer.0.0.exp_avg": torch.zeros(2)}, path, metadata)


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "pickle": lambda path: torch.save(Trap(), path),
    "another shape": with_another_shape,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_not_used(stopped, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    DAMAGES[name](stopped.out / "checkpoint.safetensors")
    reason = "must match the size" * (name == "another shape")
    refused(replace(stopped, resume=True), "checkpoint.safetensors cannot be used", reason, "delete it to start")
    assert not (tmp_path / "sprung").exists()
    (stopped.out / "checkpoint.safetensors").unlink()
    autoencoder.main(replace(stopped, resume=True))


def test_a_checkpoint_of_another_run_or_other_pictures_is_not_used(stopped, tmp_path, interrupt, faces):
    """Other pictures: under the same names, in a folder of the user's that has changed since."""
    (tmp_path / "mine").mkdir()
    paths = [tmp_path / f"mine/cat face {i}.png" for i in range(10)]
    for path, image in zip(paths, faces.images.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(path)
    for changes in ({"seed": 1}, {"source": str(tmp_path / "mine")}):
        other = replace(stopped, out=tmp_path / "-".join(changes), plots=tmp_path, **changes)
        interrupt(6)
        assert not completes(autoencoder, other)
        interrupt()
    shutil.copy(tmp_path / "seed/checkpoint.safetensors", stopped.out)
    shutil.copy(paths[1], paths[0])
    for config in (stopped, other):
        refused(replace(config, resume=True), "belongs to another run or to other pictures")


def test_every_seed_is_run_once_and_its_spread_recorded(made, tmp_path, capsys):
    asked = []

    def main(config):
        """A run whose test MSE depends on the seed; the first two are killed at first."""
        asked.append((config.seed, config.resume))
        with runs.opened(config, made(["face"])) as run:
            if asked[-1] in ((0, False), (1, False)):
                raise RuntimeError
            return run.finish({"seed": config.seed, "test_mse": [0.02, 0.03, 0.025][config.seed]})

    config = replace(KINDS["coursework"][1], out=tmp_path / "runs", seeds=3)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            runs.over_seeds(main, config)
    found = runs.over_seeds(main, config)
    assert asked == [(0, False), (0, True), (1, False), (1, True), (2, False)]
    assert json.loads((config.out / "metrics.json").read_text()) == found
    assert found["n"] == 3 and found["values"]["test_mse"] == [0.02, 0.03, 0.025]
    assert "test mse: 0.0250 ± 0.0050, n = 3" in capsys.readouterr().out
    runs.over_seeds(main, config)
    assert len(asked) == 5
    with pytest.raises(UserError, match="holds something else than these seeds"):
        runs.over_seeds(main, replace(config, latent=5))
    main(replace(config, out=config.out / "seed-2", seed=2, seeds=None, latent=5, overwrite=True))
    with pytest.raises(UserError, match=r"seed-2 holds a run with other options than seed-0 \(--latent 4, not 5\)"):
        runs.over_seeds(main, config)


SCRIPT = """
import autoencoder
from lab import cli, runs
runs.SAVING_TIME = 0.2
cli.run(autoencoder.main, autoencoder.Config)
"""
TINY_RUN = "--keyword 'cat face' --copies 3 --batch-size 8 --latent 4"
PRESETS = {"coursework": "--epochs 100", "best": "--preset best --steps 100 --pca-images 64"}


def start(folder: Path, options: str) -> subprocess.Popen:
    options = shlex.split(f"{TINY_RUN} {options}") + ["--out", folder, "--plots", folder]
    command = [sys.executable, "-c", SCRIPT, *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.long
@pytest.mark.parametrize("preset", PRESETS)
def test_a_run_killed_at_any_moment_ends_at_the_same_bits(tmp_path, preset):
    def end(folder: Path, options: str) -> float:
        started, run = time.monotonic(), start(folder, options)
        output = run.communicate()[0]
        assert run.returncode == 0, output
        return time.monotonic() - started

    seconds, resumed, moments = end(tmp_path / "whole", PRESETS[preset]), 0, random.Random(0)
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        run = start(folder, PRESETS[preset])
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.communicate(timeout=moments.uniform(0, seconds))
        run.kill()
        run.wait()
        if not (folder / runs.METRICS).exists():
            unfinished = runs.is_unfinished(folder)
            resumed += unfinished
            end(folder, PRESETS[preset] + " --resume" * unfinished)
        assert result(folder) == result(tmp_path / "whole"), folder
    assert resumed >= 5
