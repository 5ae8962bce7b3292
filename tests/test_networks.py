"""The networks: what they compute, where they start, and how they are saved, opened and refused."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoencoder
import data
import multiTaskModel
from conftest import ROOT, assert_one_line
from lab import networks, pretrained, training
from lab.best import InformedAutoencoder, ResidualAutoencoder, refined_loss
from lab.classes import MultiTaskAutoencoder
from lab.cli import UserError
from lab.networks import ConvAutoencoder
from lab.options import DataOptions, TrainingRun, resolve_defaults
from lab.pictures import Part, generator, to_float
from test_runs import Trap

SMALL = dict(latent=7, narrow=4, wide=8, thin=4)
KINDS = {
    "convolutional": lambda: ConvAutoencoder(latent=7, initialization="pytorch", dropout=0.1),
    "residual": lambda: ResidualAutoencoder(**SMALL),
    "informed": lambda: InformedAutoencoder(**SMALL),
    "multi-task": lambda: MultiTaskAutoencoder(ResidualAutoencoder(**SMALL), classes=3),
}


def test_the_coursework_network_is_the_courseworks():
    model, images = ConvAutoencoder(), torch.rand(2, 3, 64, 64)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_829_379
    made, latents = model.reconstruct(images)
    assert latents.shape == (2, 128) and 0 <= made.min() and made.max() <= 1
    assert not torch.equal(model(images), made)  # dropout, in training alone
    assert torch.equal(model.eval()(images), model.decode(model.encode(images)))


@pytest.mark.parametrize("name", ["convolutional", "residual", "informed"])
def test_five_pictures_are_overfitted(faces, name):
    """The coursework's network comes near them; the best preset's, with one number, are better than PCA with one."""
    coursework = dict(latent=16, steps=80, dropout=0.0, learning_rate=3e-3)
    given = coursework if name == "convolutional" else dict(latent=1, steps=40, preset="best")
    options = resolve_defaults(TrainingRun(network=name, out=Path(), device="cpu", **given))
    pictures, steps = Part(faces.images[:5], torch.arange(5)), options.steps
    pca = training.fit_pca(pictures.images, options.latent)
    model = training.build(options, None)
    model.start_at_pca(pca)
    (steppers, schedule), loss = training.optimizers(options, model), training.reconstruction_loss
    training.train(model, itertools.repeat(pictures[:]), loss, steppers, steps, schedule=schedule)
    reached, errors = training.evaluate(model, pictures, loss)["loss"], training.baseline_errors(pca, pictures)
    assert reached < (0.3 * errors["mean_image_mse"] if name == "convolutional" else 0.85 * errors["pca_mse"])


@pytest.mark.portable
@pytest.mark.parametrize("kind", ["residual", "informed", "multi-task"])
def test_the_best_presets_networks_start_at_pca_and_refine_their_latents(faces, kind):
    splits = data.split(faces, DataOptions(split="unseen", copies="none"))
    pca, tested = training.fit_pca(splits.train.images, 7), Part(*splits.test[:8])
    torch.manual_seed(0)
    model = KINDS[kind]().eval()
    model.start_at_pca(pca)
    with torch.no_grad():
        made, latents = model(to_float(tested.images)), model.encode(to_float(splits.train.images))
    assert torch.allclose(made, training.pca_reconstructions(pca, tested.images), atol=1e-4)
    assert torch.allclose(latents.std(0), torch.ones(7), atol=0.02)  # whitened
    with pytest.raises(UserError, match="--latent is 7, but PCA of so few images has 5"):
        model.start_at_pca(training.fit_pca(faces.images[:5], 7))
    part = dict(model.named_parameters())[f"{'autoencoder.' * (kind == 'multi-task')}project"]
    part.data += 0.01 * torch.randn(part.shape, generator=generator("noise", 0))  # a worse encoder
    plain = training.evaluate(model, tested, training.reconstruction_loss)["loss"]
    refined = [training.evaluate(model, tested, refined_loss(steps), gradients=True)["loss"] for steps in (0, 15)]
    assert refined[0] == pytest.approx(plain) and refined[1] < 0.97 * plain


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_network_is_opened_bit_for_bit(made, tmp_path, kind):
    model, pictures = KINDS[kind]().eval(), made(["one face", "another face"])
    networks.save(model, pictures, tmp_path)
    opened, images = networks.load(tmp_path), to_float(pictures.images)
    assert type(opened) is type(model) and opened.settings() == model.settings() and not opened.training
    assert torch.equal(opened(images), model(images)) and opened(images).shape == images.shape
    assert torch.equal(load_file(tmp_path / "latents.safetensors")["latents"], opened.encode(images))
    halves = {name: tensor.half() for name, tensor in model.state_dict().items()}
    save_file(halves, tmp_path / "model.safetensors")
    opened = networks.load(tmp_path).state_dict()
    assert all(torch.equal(opened[name], tensor.float()) for name, tensor in halves.items())


def set_bias(folder: Path, tensor: torch.Tensor | None) -> None:
    """Put this in the place of a tensor of the weights."""
    weights = {**load_file(folder / "model.safetensors"), "decoder.0.bias": tensor}
    save_file({k: v for k, v in weights.items() if v is not None}, folder / "model.safetensors")


TO_REFUSE = {
    "missing": (lambda folder: set_bias(folder, None), "decoder.0.bias"),
    "shape": (lambda folder: set_bias(folder, torch.zeros(3)), "size mismatch for decoder.0.bias"),
    "not a number": (lambda folder: set_bias(folder, torch.full((4096,), torch.nan)), "not finite"),
    "pickle": (lambda folder: torch.save(Trap(), folder / "model.safetensors"), "cannot be used"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "holds no trained network"),
    "unknown": (lambda folder: (folder / "config.json").write_text('{"architecture": "other"}'), "network 'other'"),
    "no settings": (lambda folder: (folder / "config.json").write_text("[1]"), "cannot be used"),
}


@pytest.mark.parametrize("name", TO_REFUSE)
def test_what_is_no_network_is_refused_in_one_line(made, tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    networks.save(KINDS["convolutional"](), made(["face"]), tmp_path)
    spoil, message = TO_REFUSE[name]
    spoil(tmp_path)
    with pytest.raises(UserError) as error:
        networks.load(tmp_path)
    assert message in str(error.value) and "train" in str(error.value) and not Path("sprung").exists()


MY_NETWORK = """
from torch import nn
from lab.networks import Autoencoder

class MyNetwork(Autoencoder):
    def __init__(self, latent, features=192):
        super().__init__(latent)
        self.features = features
        self.down = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(features, latent))
        self.up = nn.Sequential(nn.Linear(latent, features), nn.Unflatten(1, (3, 8, 8)), nn.Upsample(scale_factor=8))
        self.encode, self.decode = self.down.forward, self.up.forward
"""


def test_a_network_of_ones_own_is_trained_and_opened_only_when_it_is_named(command, tmp_path, monkeypatch):
    monkeypatch.setattr(autoencoder, "draw", lambda *_: None)
    (tmp_path / "mine.py").write_text(MY_NETWORK)
    tiny, own = ("--keyword", "cat face", "--copies", 1, "--latent", 3), ("--network", "mine.py:MyNetwork")
    assert command(autoencoder, *tiny, "--epochs", 1, *own)[0] == 0
    record = json.loads((tmp_path / "runs/autoencoder/metrics.json").read_text())
    status, output, error = command(autoencoder, "--evaluate", "runs/autoencoder", *own)
    assert status == 0 and f"{record['test_mse']:.4f}, on record {record['test_mse']:.4f}" in output, error
    assert_one_line(command(autoencoder, "--evaluate", "runs/autoencoder"), "if it is yours, give --network")
    for name in ("transformer", "nowhere.py:MyNetwork", "mine.py:nn"):
        assert_one_line(command(autoencoder, "--network", name, "--out", "other", *tiny), f"--network {name}")


@pytest.mark.portable
@pytest.mark.parametrize("name, script", [("coursework", autoencoder), ("multitask", multiTaskModel)])
def test_a_pretrained_network_gives_the_numbers_on_record(name, script):
    record = json.loads((ROOT / "pretrained" / name / "metrics.json").read_text())
    found = script.main(script.Config(evaluate=ROOT / "pretrained" / name))
    assert {"test_mse", "pca_mse"} <= set(found) <= set(record)
    assert found == pytest.approx({number: record[number] for number in found}, rel=0.01)


def test_the_pretrained_best_network_gives_its_number_in_its_first_style(faces):
    """Without the other styles, which take half a minute."""
    folder = ROOT / "pretrained/best"
    test = data.split(faces, pretrained.recorded_options(folder)).test
    found = training.evaluate(networks.load(folder), test, training.reconstruction_loss)
    assert found["loss"] == pytest.approx(json.loads((folder / "metrics.json").read_text())["test_mse"], rel=0.01)
