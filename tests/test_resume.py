"""A killed run goes on to the bits of one that was never killed; no run is overwritten or mixed with another."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoencoder
import data
import multiTaskModel as part2
from common import figures, files, styles
from common.errors import UserError
from lab import records, trained
from lab.options import ReportRun

TINY = dict(source="twemoji", keyword="cat face", copies=1, batch_size=8, latent=4)
REPORT = dict(**TINY, epochs=6)
CLASSES = dict(source="twemoji", copies=1, batch_size=16, latent=4)
RUNS = {
    "report preset": (autoencoder, autoencoder.Config(**REPORT)),
    "unseen emoji": (autoencoder, autoencoder.Config(**REPORT, precision="auto", split="emoji", augment="none")),
    "best preset": (autoencoder, autoencoder.BestConfig(**TINY, steps=14, refine_steps=2, pca_images=64)),
    "both losses": (part2, part2.Config(**CLASSES, epochs=4, dropout=0.2)),
    "folds": (part2, part2.Config(**CLASSES, epochs=2, split="emoji")),
    "with and without": (part2, part2.Config(**CLASSES, epochs=1, compare=True, seeds=2)),
}
ONE = autoencoder.Config(**REPORT)


@pytest.fixture(autouse=True, scope="module")
def undrawn():
    """Figures have no part in it, and are most of a small run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "save", lambda figure, path: path)
        yield


@pytest.fixture(scope="module")
def interrupt():
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

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "to_float", counting)
        yield after


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


PORTABLE = [
    pytest.param(name, marks=[pytest.mark.portable] * (name in ("best preset", "both losses"))) for name in RUNS
]


@pytest.mark.parametrize("name", PORTABLE)
def test_interrupted_again_and_again_and_the_same_to_the_bit(name, tmp_path, interrupt, capsys, threads):
    script, config = RUNS[name]
    threads(2 if name == "report preset" else 1)
    whole, cut = (replace(config, out=tmp_path / part, plots=tmp_path / part) for part in ("whole", "cut"))
    interrupt(float("inf"))
    script.main(whole)
    batches, printed = interrupt(0), capsys.readouterr().out
    interruptions, done = 0, False
    while not done:
        interrupt(batches // 3 + interruptions)
        done = go_on(script, cut)
        interruptions += not done
        printed_last = capsys.readouterr().out
        assert interruptions < 12
    interrupt(float("inf"))
    assert interruptions >= 2
    assert left_by(cut.out) == left_by(whole.out)
    assert not list(cut.out.glob("checkpoint*")) and not list(cut.out.glob(".*.part"))

    def losses(text: str) -> list[str]:
        return [line for line in text.splitlines() if "Loss: " in line]

    assert losses(printed_last) == losses(printed)


def test_losses_hardly_depend_on_the_number_of_threads(tmp_path, threads):
    losses = []
    for count in (1, 2):
        threads(count)
        config = replace(ONE, epochs=3, out=tmp_path / str(count), plots=tmp_path / str(count))
        metrics = autoencoder.main(config)
        rows = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
        losses.append([row["train_loss"] for row in rows] + [metrics["test_mse"]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# ---------------------------------------------------------------- refusals


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory, interrupt):
    """A run that was stopped with a checkpoint: a folder to copy."""
    config = replace(ONE, out=tmp_path_factory.mktemp("stopped") / "run", plots=tmp_path_factory.mktemp("plots"))
    interrupt(8)
    assert not go_on(autoencoder, config)
    interrupt(float("inf"))
    return config.out


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """The config of a run that was stopped with a checkpoint."""
    shutil.copytree(stopped_once, tmp_path / "run")
    return replace(ONE, out=tmp_path / "run", plots=tmp_path / "run")


def refused(config, *expected: str) -> None:
    """`config` ends with one line, and the folder is as before."""
    before = {path: path.read_bytes() for path in config.out.iterdir()}
    with pytest.raises(UserError) as error:
        autoencoder.main(config)
    assert all(part in str(error.value) for part in expected) and "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in config.out.iterdir()} == before


def test_other_options_are_named(stopped, capsys):
    other = replace(stopped, resume=True, seed=1, learning_rate=0.5)
    refused(other, "--seed 0, not 1, ", "--learning-rate 0.001, not 0.5", "resume it with its own")
    run = json.loads((stopped.out / "run.json").read_text())
    (stopped.out / "run.json").write_text(json.dumps({**run, "threads": 99}))
    changes_no_result = dict(device="cpu", plots=stopped.out / "figures")
    autoencoder.main(replace(stopped, resume=True, **changes_no_result))
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


def test_a_checkpoint_of_another_run_is_not_used(stopped, tmp_path, interrupt):
    other = replace(stopped, seed=1, out=tmp_path / "other")
    interrupt(8)
    assert not go_on(autoencoder, other)
    interrupt(float("inf"))
    (stopped.out / "checkpoint.safetensors").write_bytes((other.out / "checkpoint.safetensors").read_bytes())
    with pytest.raises(UserError, match="it is another run's, or of other pictures"):
        autoencoder.main(replace(stopped, resume=True))


def test_a_checkpoint_of_other_pictures_is_not_used(tmp_path, interrupt):
    """Under the same names, in a folder whose pictures are changed between the kill and the next start."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(10):
        (pictures / f"cat face {i}.png").write_bytes(styles.twemoji_rows()[i].read())
    config = replace(ONE, source=str(pictures), out=tmp_path / "run", plots=tmp_path / "run")
    interrupt(8)
    assert not go_on(autoencoder, config)
    interrupt(float("inf"))
    shutil.copy(pictures / "cat face 1.png", pictures / "cat face 0.png")
    with pytest.raises(UserError, match="of other pictures"):
        autoencoder.main(replace(config, resume=True))


# ---------------------------------------------------------------- networks of Part 3


@pytest.mark.portable
def test_composites_never_take_a_half_trained_network(tmp_path, interrupt):
    """What is stopped is gone on with, and never loaded, though weights of an earlier run lie beside it."""
    folder, whole = tmp_path / "network", tmp_path / "whole"
    autoencoder.main(replace(ONE, seed=1, epochs=1, out=folder, plots=tmp_path))
    run = ReportRun(**REPORT, out=folder, overwrite=True)
    interrupt(8)
    assert not go_on(autoencoder, replace(ONE, out=folder, plots=tmp_path, overwrite=True))
    assert (folder / "model.safetensors").exists()  # of seed 1, beside the run.json of seed 0
    interrupt(float("inf"))
    assert records.unfinished(folder)
    trained.network(replace(run, overwrite=False))
    autoencoder.main(replace(ONE, out=whole, plots=tmp_path))
    assert left_by(folder) == left_by(whole)
