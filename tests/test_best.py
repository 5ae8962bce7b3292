"""The best preset: where it starts, what it is fed, and what refining does."""

import json

import pytest
import torch

import autoencoder
import baselines
import best
import data
from autoencoder import reconstruction_loss

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("decoded_once")


@pytest.fixture(autouse=True)
def few_pca_images(monkeypatch):
    monkeypatch.setattr(best, "PCA_IMAGES", 256)  # a PCA of 2048 images takes most of a test's time


@pytest.fixture(scope="module")
def unseen(faces):
    return data.split(faces, data.DataConfig(source="twemoji", split="emoji"))


def test_before_the_first_step_the_output_is_pcas(unseen):
    images = data.to_float(unseen.train.images[:200])
    torch.manual_seed(0)
    model = best.ResidualAutoencoder(latent=16).eval()
    pca = baselines.fit_pca(images, 16)
    model.start_at_pca(pca)
    tested = data.to_float(unseen.test.images[:50])
    expected = torch.from_numpy(pca.inverse_transform(pca.transform(baselines.flatten(tested)))).clamp(0, 1)
    with torch.no_grad():
        assert torch.allclose(model(tested).flatten(1), expected, atol=1e-4)
        assert model.encode(images).std(0) == pytest.approx(torch.ones(16), abs=0.02)  # whitened


def test_training_starts_there_and_goes_down(unseen):
    faces = data.Part(*unseen.train[:40])
    diet = best.Diet(faces, unseen.train.images[:0], best.RECIPES["report"], CPU)
    images = diet.sample(256, data.generator("sample", 0))
    torch.manual_seed(0)
    model = best.ResidualAutoencoder(latent=8)
    model.start_at_pca(baselines.fit_pca(images, 8))
    before = reconstruction_loss(model, images, None)["loss"].item()

    class Config:
        seed, steps, seconds = 0, 60, None

    reports = []
    best.fit(model, diet, reconstruction_loss, Config, CPU, lambda step, means: reports.append(means["loss"]))
    assert len(reports) == 30
    assert reconstruction_loss(model, images, None)["loss"].item() < before


@pytest.mark.parametrize("train_on", ["faces", "all"])
def test_diet_holds_no_held_out_name(unseen, everything, decoded_once, train_on):
    config = autoencoder.Config(source="twemoji", split="emoji", train_on=train_on)
    diet = best.diet(unseen, config, CPU)
    fed = torch.cat([diet.faces, diet.others])
    names = {everything.images[i].numpy().tobytes(): name for i, name in enumerate(everything.names)}
    keys = {data.twin_key(names[image.numpy().tobytes()]) for image in fed}
    held_out = {data.twin_key(unseen.originals.names[i]) for part in (unseen.val, unseen.test) for i in part.emoji}
    assert not keys & held_out
    assert {data.twin_key(unseen.originals.names[i]) for i in unseen.train.emoji} <= keys
    assert (len(diet.others) > 3000) == (train_on == "all")


@pytest.mark.parametrize("mirrored", [False, True])
def test_guard_fails_loudly(unseen, mirrored):
    index = unseen.test.emoji[0]
    leaked, picture = unseen.originals.names[index], unseen.originals.images[index : index + 1]
    white = torch.full_like(picture, 255)
    best.refuse_leaks(["grinning tram"], white, unseen)
    with pytest.raises(best.LeakError, match=leaked):
        best.refuse_leaks(["grinning tram", leaked], torch.cat([white, white]), unseen)
    with pytest.raises(best.LeakError, match="another name"):
        best.refuse_leaks(["another name"], picture.flip(3) if mirrored else picture, unseen)


def test_budget_is_spent_up_then_down():
    rates = [best.one_cycle(i / 100) for i in range(101)]
    assert max(rates) == pytest.approx(1, abs=0.02) and rates.index(max(rates)) in (9, 10)
    assert rates[0] < 0.05 and rates[-1] < 1e-6


def test_orthogonal_brings_singular_values_together():
    for shape in ((20, 60), (60, 20)):
        matrix = torch.randn(shape, generator=data.generator("matrix", 0))
        values = torch.linalg.svdvals(best.orthogonal(matrix))
        assert values.min() > 0.6 and values.max() < 1.3


def test_refined_latents_reconstruct_better(unseen):
    images = data.to_float(unseen.test.images[:8])
    model = best.ResidualAutoencoder(latent=16).eval()
    model.start_at_pca(baselines.fit_pca(unseen.train.images[:100], 16))
    model.project.data.add_(0.002 * torch.randn(model.project.shape, generator=data.generator("noise", 0)))  # a worse encoder
    plain = reconstruction_loss(model, images, None)["loss"]
    assert best.refined_loss(model, images, None, steps=30)["loss"] < plain


TINY = dict(source="twemoji", keyword="cat face", preset="best", split="emoji", copies=1, latent=6, steps=3)


def test_main_with_the_best_preset(tmp_path):
    runs = [autoencoder.main(autoencoder.Config(**TINY, out=tmp_path / "run", plots=tmp_path / "plots")) for _ in range(2)]
    assert runs[0]["test_mse"] == runs[1]["test_mse"] and runs[0]["refined_mse"] == runs[1]["refined_mse"]
    assert runs[0]["pca_mse"] > 0 and runs[0]["preset"] == "best"
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows][-1] == 3
    model = autoencoder.load(tmp_path / "run")
    assert isinstance(model, best.ResidualAutoencoder) and model.latent == 6
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"autoencoder_best_curves.png", "autoencoder_best_reconstructions.png"}


def test_a_budget_in_seconds_is_kept(tmp_path):
    config = autoencoder.Config(**{**TINY, "train_on": "faces"}, seconds=1.0, out=tmp_path, plots=tmp_path)
    assert 1.0 <= autoencoder.main(config)["train_seconds"] < 30
