"""Part 1: the network, the loop and the script itself."""

import json
import subprocess
import sys

import pytest
import torch

import autoencoder
import baselines
import data
import training
from autoencoder import ConvAutoencoder, reconstruction_loss
from conftest import ROOT

CPU = torch.device("cpu")


def test_network_is_the_reports():
    model = ConvAutoencoder()
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_829_379
    images = torch.rand(2, 3, 64, 64)
    latents = model.encode(images)
    assert latents.shape == (2, 128)
    assert model.decode(latents).shape == images.shape
    assert 0 <= model(images).min() and model(images).max() <= 1


def test_dropout_acts_in_training_only():
    model, images = ConvAutoencoder(dropout=0.5), torch.rand(2, 3, 64, 64)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model.decode(model.encode(images)))


def test_network_overfits_five_pictures(faces):
    torch.manual_seed(0)
    model, images = ConvAutoencoder(dropout=0), data.to_float(faces.images[:5])
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(200):
        loss = reconstruction_loss(model, images, None)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1 * (images - images.mean(0)).square().mean()


def test_save_and_load_give_equal_outputs(tmp_path):
    model, images = ConvAutoencoder(latent=7, initialization="pytorch").eval(), torch.rand(2, 3, 64, 64)
    model.save_pretrained(tmp_path)
    assert torch.equal(ConvAutoencoder.from_pretrained(tmp_path).eval()(images), model(images))
    assert not list(tmp_path.glob("*.bin")) and not list(tmp_path.glob("*.pt"))


def test_evaluation_is_a_mean_per_image_whatever_the_batches(made):
    part = data.split(made([f"face {i}" for i in range(70)]), data.DataConfig(augment="none")).test
    model = ConvAutoencoder(latent=3).eval()
    images = data.to_float(part.images)
    with torch.no_grad():
        expected = (model(images) - images).square().mean().item()
    for size in (1, 7, 64):
        value = training.one_pass(model, data.batches(part, size), reconstruction_loss, CPU)["loss"]
        assert value == pytest.approx(expected, rel=1e-5)


def test_baselines_are_fitted_on_training_images_only(made):
    splits = data.split(made([f"face {i}" for i in range(30)]), data.DataConfig(augment="none", split="emoji"))
    values = baselines.errors(baselines.fit_pca(splits.train.images, 5), splits.test)
    train, test = data.to_float(splits.train.images), data.to_float(splits.test.images)
    assert values["mean_image_mse"] == pytest.approx((test - train.mean(0)).square().mean().item(), rel=1e-4)
    # random pixels cannot be compressed: what PCA learns from training images does not carry over
    assert values["pca_mse"] > 0.8 * values["mean_image_mse"]
    assert baselines.errors(baselines.fit_pca(splits.train.images, 1000), splits.train)["pca_mse"] < 1e-6


TINY = dict(source="twemoji", keyword="cat face", copies=2, epochs=2, batch_size=8, latent=6)


@pytest.mark.parametrize("split", ["report", "emoji"])
def test_main_leaves_a_whole_record(tmp_path, capsys, split):
    config = autoencoder.Config(**TINY, split=split, out=tmp_path / "run", plots=tmp_path / "plots")
    metrics = autoencoder.main(config)
    output = capsys.readouterr().out
    assert "Epoch [1/2], Train Loss: " in output and "Final average test MSE: " in output

    assert json.loads((tmp_path / "run/metrics.json").read_text()) == metrics
    required = "source split augment originals copies images train val test epochs seed parameters test_mse pca_mse mean_image_mse seconds"
    assert set(required.split()) <= set(metrics)
    assert metrics["originals"] == 10 and metrics["copies"] == 20 and metrics["images"] == 30
    epochs = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in epochs] == [1, 2]
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert run["config"]["latent"] == 6 and run["source"] == "twemoji"

    model = ConvAutoencoder.from_pretrained(tmp_path / "run").eval()
    splits = data.load(config)
    assert training.evaluate(model, splits.test, reconstruction_loss, CPU)["loss"] == pytest.approx(metrics["test_mse"], rel=1e-4)
    for name in ("autoencoder_curves.png", "autoencoder_reconstructions.png"):
        assert 0 < (tmp_path / "plots" / name).stat().st_size < 200_000


def test_same_seed_same_numbers(tmp_path):
    runs = [autoencoder.main(autoencoder.Config(**TINY, out=tmp_path, plots=tmp_path)) for _ in range(2)]
    assert runs[0]["test_mse"] == runs[1]["test_mse"]


def test_examples_are_the_first_of_different_emoji(made):
    part = data.Part(torch.zeros(6, 3, 64, 64), torch.tensor([4, 4, 2, 4, 1, 0]))
    assert autoencoder.examples(part, 3).tolist() == [0, 2, 4]


def test_importing_the_scripts_does_nothing(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import data, autoencoder"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == "" and not list(tmp_path.iterdir())
