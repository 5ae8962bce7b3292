"""Part 1 as a command: what a run prints, draws and records, --evaluate and --reference."""

import json
import shutil

import torch
from safetensors.torch import load_file, save_file

import autoencoder
from lab import networks
from lab.networks import ConvAutoencoder


def test_a_run_of_the_coursework_preset(command, tiny_run, tmp_path):
    tiny = ("--keyword", "cat face", "--copies", 1, "--latent", 4, "--batch-size", 8, "--epochs", 1)
    status, output, error = command(autoencoder, *tiny, "--reference", tiny_run, "--out", "run")
    assert status == 0, error
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
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


def test_evaluate_gives_the_numbers_on_record_and_writes_nothing(command, tiny_run, tmp_path):
    copied = shutil.copytree(tiny_run, tmp_path / "tiny")
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
