"""Repeating a part over seeds."""

import json

import numpy as np
import pytest
from scipy import stats

import seeds

OWN = ("--source", "pictures", "--epochs", "1", "--latent", "4", "--copies", "1")


@pytest.fixture
def pictures(made, tmp_path):
    """A folder of ten small pictures, in the folder where the command runs."""
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    few = made([f"face {letter}" for letter in "abcdefghij"])
    for name, image in zip(few.names, few.images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "pictures" / f"{name}.png")


@pytest.fixture
def finished(tmp_path):
    """A folder with the finished runs of three seeds, as autoencoder.py leaves them."""
    values = {"test_mse": [0.02, 0.03, 0.025], "pca_mse": [0.01, 0.012, 0.009], "test": [20] * 3, "train": [60] * 3}
    for seed in range(3):
        (tmp_path / f"three/{seed}").mkdir(parents=True)
        about = {"processor": {}, "threads": 1, "versions": {}}
        (tmp_path / f"three/{seed}/run.json").write_text(json.dumps(about))
        record = {name: its[seed] for name, its in values.items()} | {"source": "x", "nested": {"mse": seed}}
        (tmp_path / f"three/{seed}/metrics.json").write_text(json.dumps(record))
    return tmp_path / "three", values


def test_two_seeds_are_two_runs_and_a_second_go_makes_none(command, tmp_path, pictures):
    asked = ("autoencoder", "--seeds", "2", "--out", "two", "--", *OWN)
    status, out, _ = command(seeds, *asked)
    assert status == 0 and "test mse" in out and "±" in out
    record = json.loads((tmp_path / "two/metrics.json").read_text())
    runs = [json.loads((tmp_path / f"two/{seed}/metrics.json").read_text()) for seed in (0, 1)]
    assert (
        record["values"]["test_mse"] == [run["test_mse"] for run in runs] and runs[0]["test_mse"] != runs[1]["test_mse"]
    )
    assert [run["seed"] for run in runs] == [0, 1]
    before = (tmp_path / "two/0/metrics.json").stat().st_mtime_ns
    assert command(seeds, *asked)[0] == 0 and (tmp_path / "two/0/metrics.json").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "two/run.json").read_text())["config"]["options"] == list(OWN)


def test_spread_and_difference_are_those_of_the_runs(finished):
    folder, values = finished
    metrics = seeds.main(seeds.Config(part="autoencoder", seeds=3, out=folder))
    assert metrics["values"]["test_mse"] == values["test_mse"] and metrics["values"]["nested.mse"] == [0, 1, 2]
    assert "source" not in metrics["values"]
    assert metrics["std"]["test_mse"] == pytest.approx(np.std(values["test_mse"], ddof=1))
    difference = np.subtract(values["test_mse"], values["pca_mse"])
    half = stats.t(2).ppf(0.975) * difference.std(ddof=1) * np.sqrt(1 / 3 + 20 / 60)
    assert metrics["minus_pca_interval"] == pytest.approx([difference.mean() - half, difference.mean() + half])


def test_the_seed_stands_for_itself(tmp_path):
    config = seeds.Config(part="composite", options=("--model", "runs/{seed}"), out=tmp_path)
    assert seeds.command(config, 3)[2:6] == ["--model", "runs/3", "--seed", "3"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["analogies"], "analogies"),
        (["autoencoder", "--seeds", "1"], "--seeds is 1"),
        (["autoencoder", "--", "--seed", "3"], "--seed after --"),
        (["autoencoder", "--split", "emoji"], "--split"),
        (["autoencoder", "--out", "three", "--", "--split", "emoji"], "another --out"),
        (["autoencoder", "--out", "broken"], "broken/0/metrics.json cannot be read"),
    ],
)
def test_bad_input(command, finished, tmp_path, arguments, message):
    (tmp_path / "three/run.json").write_text(json.dumps({"config": {"part": "autoencoder", "options": []}}))
    (tmp_path / "broken/0").mkdir(parents=True)
    (tmp_path / "broken/0/metrics.json").write_text("[" * 100_000)
    status, _, error = command(seeds, *arguments)
    assert status == 2 and message in error and error.count("\n") == 1


def test_a_run_that_fails_ends_the_command_in_a_line(command, tmp_path):
    status, _, error = command(seeds, "autoencoder", "--out", "none", "--", "--source", "nowhere")
    assert status == 2 and error.splitlines()[-1].startswith("error: seed 0 ended with status 2")
