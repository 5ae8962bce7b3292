"""A killed run goes on to the bits of one that was never killed; no run is overwritten or mixed with another."""

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import analogies
import autoencoder
import best
import checkpoint
import composite
import data
import figures
import files
import multiTaskModel as part2
import records
from cli import UserError
from conftest import ROOT

TINY = dict(source="twemoji", keyword="cat face", copies=1, epochs=6, batch_size=8, latent=4)
CLASSES = dict(source="twemoji", copies=1, epochs=2, batch_size=16, latent=4)
RUNS = {
    "report preset": (autoencoder, autoencoder.Config(**TINY)),
    "bfloat16, unseen emoji": (autoencoder, autoencoder.Config(**TINY, precision="bfloat16", split="emoji", augment="none")),
    "best preset": (autoencoder, autoencoder.Config(**TINY, preset="best", steps=14, refine_steps=2)),
    "both losses": (part2, part2.Config(**CLASSES, dropout=0.2, swap_halves=True)),
    "folds": (part2, part2.Config(**CLASSES, split="emoji", swap_halves=True)),
    "with and without": (part2, part2.Config(**CLASSES | {"epochs": 1}, compare=True, seeds=2)),
}
ONE = autoencoder.Config(**TINY)


@pytest.fixture(autouse=True)
def saved_at_every_turn(monkeypatch, faces):
    """Checkpoints as often as can be; no time for what has no part in it: decoding, drawing, big batches, many folds."""
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))
    for name, value in {"PCA_IMAGES": 64, "BATCH_SIZE": 8, "REPORTS": 5}.items():
        monkeypatch.setattr(best, name, value)
    monkeypatch.setattr(part2, "FOLDS", 2)
    monkeypatch.setattr(figures, "save", lambda figure, path: path)
    monkeypatch.setattr(data, "load_originals", lambda source, keyword, *_: data.matching(faces, keyword))


@pytest.fixture
def interrupt(monkeypatch):
    """Let Ctrl-C come with the n-th batch of pictures, counted over training, validation and all else."""
    counted = [0, float("inf")]
    to_float = data.to_float

    def counting(images):
        counted[0] += 1
        if counted[0] > counted[1]:
            raise KeyboardInterrupt
        return to_float(images)

    def after(batches: float) -> int:
        """Set it for the next run, and return how many the last run had."""
        last, counted[:] = counted[0], [0, batches]
        return last

    monkeypatch.setattr(data, "to_float", counting)
    return after


def timeless(content):
    """JSON content without the seconds."""
    return {name: value for name, value in content.items() if not name.endswith("seconds") or name == "fold_seeds"}


def left_by(folder) -> tuple:
    """All that must not depend on whether, and when, a run was killed."""
    rows = [timeless(json.loads(line)) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    tensors = {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}
    return timeless(json.loads((folder / "metrics.json").read_text())), rows, tensors


def go_on(script, config) -> bool:
    """Start or resume a run; whether it came to its end."""
    try:
        script.main(replace(config, resume=records.unfinished(config.out)))
        return True
    except KeyboardInterrupt:
        return False


@pytest.mark.parametrize("name", RUNS)
def test_interrupted_again_and_again_and_the_same_to_the_bit(name, tmp_path, interrupt, capsys):
    script, config = RUNS[name]
    whole, cut = (replace(config, out=tmp_path / part, plots=tmp_path / part) for part in ("whole", "cut"))
    interrupt(float("inf"))
    script.main(whole)
    batches, printed = interrupt(0), capsys.readouterr().out
    interruptions, done = 0, False
    while not done:
        interrupt(batches // 4 + interruptions)
        done = go_on(script, cut)
        interruptions += not done
        printed_last = capsys.readouterr().out
        assert interruptions < 20
    assert interruptions >= 3
    assert left_by(cut.out) == left_by(whole.out)
    assert not list(cut.out.glob("checkpoint*")) and not list(cut.out.glob(".*.part"))

    def losses(text: str) -> list[str]:
        return [line for line in text.splitlines() if "Loss: " in line]

    assert losses(printed_last) == losses(printed)


def test_a_finished_training_is_not_repeated(tmp_path, interrupt, monkeypatch):
    monkeypatch.setattr(checkpoint, "SHARE", 1e-9)  # no time for any checkpoint but the first and the last
    config = replace(RUNS["folds"][1], out=tmp_path, plots=tmp_path)
    train, trained = part2.training.one_pass, []

    def counting(model, batches, losses, device, optimizer=None, *more, **options):
        trained.append(optimizer is not None)
        return train(model, batches, losses, device, optimizer, *more, **options)

    monkeypatch.setattr(part2.training, "one_pass", counting)
    monkeypatch.setattr(records.Record, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert not go_on(part2, config)
    assert sum(trained) == 4
    for path in tmp_path.glob("checkpoint-*"):
        assert all(name.startswith("model.") for name in load_file(path))  # optimizers are big, and not needed any more
    trained.clear()
    assert not go_on(part2, config)
    assert sum(trained) == 0 and len(trained) == 2  # all evaluations, no training


def test_seconds_of_a_budget_are_counted_over_all_processes(tmp_path, interrupt, monkeypatch):
    config = autoencoder.Config(**TINY, preset="best", seconds=1.5, out=tmp_path, plots=tmp_path)
    save, saved = checkpoint.Checkpoint.save, []
    monkeypatch.setattr(checkpoint.Checkpoint, "save", lambda self, progress, finished: saved.append(progress) or save(self, progress, finished))
    interrupt(8)
    assert not go_on(autoencoder, config)
    interrupt(float("inf"))
    time.sleep(1)  # which is not training
    before = len(saved)
    assert go_on(autoencoder, config)
    assert [progress["step"] for progress in saved] == list(range(1, len(saved) + 1))
    assert saved[before - 1]["seconds"] < saved[before]["seconds"] < saved[before - 1]["seconds"] + 1 and saved[-1]["seconds"] >= 1.5


def test_losses_hardly_depend_on_the_number_of_threads(tmp_path):
    threads = torch.get_num_threads()
    losses = []
    for count in (1, 2):
        torch.set_num_threads(count)
        config = replace(ONE, epochs=3, out=tmp_path / str(count), plots=tmp_path / str(count))
        metrics = autoencoder.main(config)
        rows = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
        losses.append([row["train_loss"] for row in rows] + [metrics["test_mse"]])
    torch.set_num_threads(threads)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# ---------------------------------------------------------------- refusals


@pytest.fixture
def stopped(tmp_path, interrupt):
    """The config of a run that was stopped with a checkpoint."""
    config = replace(ONE, out=tmp_path / "run", plots=tmp_path / "run")
    interrupt(8)
    assert not go_on(autoencoder, config)
    interrupt(float("inf"))
    return config


def refused(config, *expected: str) -> None:
    """`config` ends with one line, and the folder is as before."""
    before = {path: path.read_bytes() for path in config.out.iterdir()}
    with pytest.raises(UserError) as error:
        autoencoder.main(config)
    assert all(part in str(error.value) for part in expected) and "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in config.out.iterdir()} == before


def test_other_options_are_named(stopped, capsys):
    refused(replace(stopped, resume=True, seed=1, learning_rate=0.5), "--seed 0, not 1, ", "--learning-rate 0.001, not 0.5", "resume it with its own")
    run = json.loads((stopped.out / "run.json").read_text())
    (stopped.out / "run.json").write_text(json.dumps({**run, "threads": 99}))
    autoencoder.main(replace(stopped, resume=True, device="cpu", plots=stopped.out / "figures"))  # these change no result
    assert "started with other threads; the last digits may differ" in capsys.readouterr().out


def test_an_unfinished_run_is_not_lost_by_accident(stopped):
    refused(stopped, "unfinished run", "--resume continues it")
    autoencoder.main(replace(stopped, seed=1, overwrite=True))
    assert json.loads((stopped.out / "run.json").read_text())["config"]["seed"] == 1


def test_a_finished_run_is_made_again_or_left_alone(stopped, capsys, interrupt):
    autoencoder.main(replace(stopped, resume=True))
    first = left_by(stopped.out)
    refused(replace(stopped, resume=True), "a finished run", "nothing to resume")
    refused(replace(stopped, epochs=7), "--epochs 6, not 7", "--overwrite")
    interrupt(10)
    assert not go_on(autoencoder, stopped)  # made again, but not to the end: the finished one is still there
    assert "holds the same run, finished; it is made again" in capsys.readouterr().out
    assert left_by(stopped.out)[:2] == first[:2] and (stopped.out / "checkpoint.safetensors").exists()
    interrupt(float("inf"))
    autoencoder.main(stopped)
    assert left_by(stopped.out) == first
    autoencoder.main(replace(stopped, epochs=1, overwrite=True))
    assert len(left_by(stopped.out)[1]) == 1


def test_where_there_is_nothing(tmp_path):
    (tmp_path / ".lock").touch()
    refused(replace(ONE, out=tmp_path, plots=tmp_path, resume=True), "holds no run")
    with pytest.raises(UserError, match="--overwrite deletes"):
        replace(ONE, resume=True, overwrite=True)


def test_a_folder_in_use_is_left_alone(stopped):
    with files.locked(stopped.out):
        refused(replace(stopped, resume=True), "is in use by another run")
    autoencoder.main(replace(stopped, resume=True))
    with files.locked(stopped.out):  # given back, also after the error above
        pass


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def one_bit_wrong(path):
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def weights_alone(path):
    tensors = load_file(path)
    save_file(tensors, path)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def pickled(path):
    torch.save(Trap(), path)


@pytest.mark.parametrize("damage", [truncated, empty, one_bit_wrong, weights_alone, pickled])
def test_a_damaged_checkpoint_is_not_used(stopped, damage, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    damage(stopped.out / "checkpoint.safetensors")
    with pytest.raises(UserError, match="checkpoint.safetensors cannot be used .*; delete it"):
        autoencoder.main(replace(stopped, resume=True))
    assert not (tmp_path / "sprung").exists() and not (stopped.out / "metrics.json").exists()
    (stopped.out / "checkpoint.safetensors").unlink()
    autoencoder.main(replace(stopped, resume=True))  # from its start


def test_a_checkpoint_of_another_run_is_not_used(stopped, tmp_path, interrupt, monkeypatch, faces):
    other = replace(stopped, seed=1, out=tmp_path / "other")
    interrupt(8)
    assert not go_on(autoencoder, other)
    interrupt(float("inf"))
    path, own = stopped.out / "checkpoint.safetensors", (stopped.out / "checkpoint.safetensors").read_bytes()
    path.write_bytes((other.out / "checkpoint.safetensors").read_bytes())
    with pytest.raises(UserError, match="it is another run's"):
        autoencoder.main(replace(stopped, resume=True))
    path.write_bytes(own)  # nor of other pictures under the same names
    cats = data.matching(faces, "cat face")
    monkeypatch.setattr(data, "load_originals", lambda *_: replace(cats, images=255 - cats.images))
    with pytest.raises(UserError, match="of other pictures"):
        autoencoder.main(replace(stopped, resume=True))


# ---------------------------------------------------------------- networks of Part 3


@pytest.fixture
def cats(monkeypatch, faces):
    cats = data.matching(faces, "cat face")
    monkeypatch.setattr(data, "load_originals", lambda *_, **__: cats)
    return cats


def test_analogies_go_on_with_a_killed_network(tmp_path, interrupt, cats, monkeypatch):
    monkeypatch.setattr(best, "PCA_IMAGES", 256)

    def networks(out):
        config = analogies.Config(source="twemoji", epochs=3, steps=1, latent=4, out=out, plots=out)
        analogies.trained_spaces(config, cats, 0, ["weary cat face"], torch.device("cpu"))
        return left_by(next((out / "networks").glob("report-*")))

    whole = networks(tmp_path / "whole")
    interrupt(5)
    with pytest.raises(KeyboardInterrupt):
        networks(tmp_path / "cut")
    assert list((tmp_path / "cut").glob("networks/*/checkpoint.safetensors"))
    interrupt(float("inf"))
    assert networks(tmp_path / "cut") == whole


def test_composites_never_take_a_half_trained_network(tmp_path, interrupt, cats, monkeypatch):
    monkeypatch.setattr(checkpoint, "SHARE", 0.01)  # 30 epochs are many checkpoints
    folder = tmp_path / "network"
    autoencoder.main(autoencoder.Config(source="twemoji", latent=4, seed=1, epochs=1, out=folder, plots=folder))
    interrupt(10)
    config = autoencoder.Config(source="twemoji", latent=4, out=folder, overwrite=True)
    assert not go_on(autoencoder, config)
    assert (folder / "model.safetensors").exists()  # of seed 1, beside the run.json of seed 0
    interrupt(float("inf"))
    composite.trained(folder, "twemoji", 4)
    whole = replace(config, out=tmp_path / "whole", plots=tmp_path, overwrite=False)
    autoencoder.main(whole)
    assert left_by(folder) == left_by(whole.out)


# ---------------------------------------------------------------- real kills

SCRIPT = """
import checkpoint, autoencoder, cli
checkpoint.SHARE = 0.2
cli.run(autoencoder.main, autoencoder.Config)
"""


def process(folder, *options: str) -> subprocess.Popen:
    names = dict(source="twemoji", keyword="cat face", copies=3, epochs=100, batch_size=8, latent=4, out=folder, plots=folder)
    arguments = [part for name, value in names.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.long
@pytest.mark.parametrize("preset", [[], ["--preset", "best", "--steps", "100"]])
def test_fifteen_kills_at_random_moments(tmp_path, preset):
    started = time.monotonic()
    assert process(tmp_path / "whole", *preset).wait() == 0
    seconds = time.monotonic() - started
    whole, moments, killed, resumed, attempt = left_by(tmp_path / "whole"), random.Random(0), 0, 0, 0
    while killed < 15:
        folder, started, attempt = tmp_path / str(attempt), time.monotonic(), attempt + 1
        run = process(folder, *preset)
        try:
            run.wait(moments.uniform(0, seconds))
            seconds = min(seconds, time.monotonic() - started)  # it was done before: the machine has become faster
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
            killed += 1
        if not (folder / "metrics.json").exists():
            resumed += records.unfinished(folder)
            run = process(folder, *preset, *["--resume"] * records.unfinished(folder))
            output = run.communicate()[0]
            assert run.returncode == 0, output
        assert left_by(folder) == whole, folder
    assert resumed >= 5
