"""The networks: what they compute, where they start, and how they are saved and found again."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, RepoUrl

import autoencoder
import data
from common import sources
from common.errors import UserError
from conftest import ROOT
from lab import baselines, networks
from lab.contract import CARD
from lab.convolutional import ConvAutoencoder
from lab.multitask import MultiTaskAutoencoder
from lab.residual import InformedAutoencoder, ResidualAutoencoder, refined_loss
from lab.training import reconstruction_loss

SMALL = dict(narrow=4, wide=8, thin=4)  # channels of a residual network, where its size is not what is tested


@pytest.fixture(scope="module")
def unseen(faces):
    return data.split(faces, data.DataConfig(split="emoji", copies="none"))


# ---------------------------------------------------------------- what they compute


def test_network_is_the_originals():
    model = ConvAutoencoder()
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_829_379
    images = torch.rand(2, 3, 64, 64)
    latents = model.encode(images)
    assert latents.shape == (2, 128)
    assert model.decode(latents).shape == images.shape
    assert 0 <= model(images).min() and model(images).max() <= 1


def test_dropout_acts_in_training_only():
    model, images = ConvAutoencoder(latent=16, dropout=0.5), torch.rand(2, 3, 64, 64)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model.decode(model.encode(images)))


def test_network_overfits_five_pictures(faces):
    torch.manual_seed(0)
    model, images = ConvAutoencoder(latent=16, dropout=0), data.to_float(faces.images[:5])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3, fused=True)
    for _ in range(120):
        loss = reconstruction_loss(model, images, None)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2 * (images - images.mean(0)).square().mean()


@pytest.mark.parametrize("network", [ResidualAutoencoder, InformedAutoencoder])
def test_before_the_first_step_the_output_is_pcas(unseen, network):
    images, tested = data.to_float(unseen.train.images), data.to_float(unseen.test.images)
    torch.manual_seed(0)
    model = network(latent=16, **SMALL).eval()
    pca = baselines.fit_pca(images, 16)
    model.start_at_pca(pca)
    expected = torch.from_numpy(pca.inverse_transform(pca.transform(baselines.flatten(tested)))).clamp(0, 1)
    with torch.no_grad():
        assert torch.allclose(model(tested).flatten(1), expected, atol=1e-4)
        assert model.encode(images).std(0) == pytest.approx(torch.ones(16), abs=0.02)  # whitened


def test_the_informed_encoder_sees_what_the_linear_path_misses(unseen):
    images = data.to_float(unseen.test.images[:4])
    model = InformedAutoencoder(latent=16, **SMALL)
    pca = baselines.fit_pca(unseen.train.images, 16)
    model.start_at_pca(pca)
    linear = torch.nn.functional.linear(images.flatten(1) - model.mean, model.project)
    missed = images.flatten(1) - torch.from_numpy(pca.inverse_transform(pca.transform(baselines.flatten(images))))
    seen = model.looked_at(images, linear)
    assert torch.equal(seen[:, :3], images - 0.5) and torch.allclose(seen[:, 3:].flatten(1), 2 * missed, atol=1e-4)


def test_refined_latents_reconstruct_better(unseen):
    images = data.to_float(unseen.test.images[:8])
    model = ResidualAutoencoder(latent=16, **SMALL).eval()
    model.start_at_pca(baselines.fit_pca(unseen.train.images, 16))
    noise = torch.randn(model.project.shape, generator=data.generator("noise", 0))
    model.project.data.add_(0.002 * noise)  # a worse encoder
    plain = reconstruction_loss(model, images, None)["loss"]
    assert refined_loss(model, images, None, steps=15)["loss"] < plain


# ---------------------------------------------------------------- saved and found again


def test_the_card_credits_the_pictures_of_all_styles(tmp_path, faces):
    two = replace(faces, styles=["twemoji"] * 200 + ["openmoji"] * 6)
    networks.save(KINDS["residual"]().eval(), two, torch.device("cpu"), tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert CARD in card and all(sources.credited(style) in card for style in ("twemoji", "openmoji"))


def test_what_is_pushed_to_the_hub_is_what_is_saved(tmp_path, monkeypatch):
    pushed = {}

    def upload(api, folder_path, **options):
        pushed.update({path.name: path.read_bytes() for path in Path(folder_path).iterdir()})

    monkeypatch.setattr(
        HfApi, "create_repo", lambda api, repo_id, **options: RepoUrl(f"https://huggingface.co/{repo_id}")
    )
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    model = KINDS["residual"]()
    model.push_to_hub("owner/name")
    model.save_pretrained(tmp_path)
    assert pushed == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


KINDS = {
    "convolutional": lambda: ConvAutoencoder(latent=7, initialization="pytorch", dropout=0.1),
    "residual": lambda: ResidualAutoencoder(latent=7, **SMALL),
    "informed": lambda: InformedAutoencoder(latent=7, **SMALL),
    "multi-task": lambda: MultiTaskAutoencoder(ResidualAutoencoder(latent=7, **SMALL), classes=3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load_give_equal_outputs(tmp_path, kind):
    model, images = KINDS[kind]().eval(), torch.rand(2, 3, 64, 64)
    model.save_pretrained(tmp_path)
    loaded = networks.load(tmp_path)
    assert type(loaded) is type(model) and torch.equal(loaded(images), model(images)) and not loaded.training
    assert json.loads((tmp_path / "config.json").read_text())["architecture"] == kind
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors", "README.md"}


def test_the_mixins_way_in_is_closed(tmp_path):
    KINDS["residual"]().save_pretrained(tmp_path)
    with pytest.raises(TypeError, match="lab.networks.load"):  # it would leave weights at random, and read pickles
        ConvAutoencoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "somebody/nowhere", "runs/deeper/nowhere", "/nowhere"])
def test_a_missing_folder_never_asks_the_hub(monkeypatch, name):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_: pytest.fail("the Hub was asked"))
    with pytest.raises(UserError, match="nowhere holds no model.safetensors and config.json; train one"):
        networks.load(name)


@pytest.mark.parametrize("name", ["somebody/network", "", "a/b/c", "../network"])
def test_what_the_hub_does_not_give_is_one_line(name):
    with pytest.raises(UserError, match=f"hub:{name} cannot be had from the Hub") as error:
        networks.load(f"hub:{name}")
    assert "\n" not in str(error.value)


class Trap:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.safetensors"])
def test_pickles_are_never_read(tmp_path, name):
    KINDS["residual"]().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(Trap(tmp_path / "sprung"), tmp_path / name)
    with pytest.raises(UserError, match="holds no model.safetensors|cannot be used"):
        networks.load(tmp_path)
    assert not (tmp_path / "sprung").exists()


# ---------------------------------------------------------------- a network of one's own

MY_NETWORK = """
from torch import nn
from lab.contract import Autoencoder

class MyNetwork(Autoencoder):
    def __init__(self, latent, width=8):
        super().__init__(latent)
        self.width = width
        self.down = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(192, width), nn.Linear(width, latent))
        self.up = nn.Sequential(nn.Linear(latent, 192), nn.Unflatten(1, (3, 8, 8)), nn.Upsample(scale_factor=8))

    def encode(self, images):
        return self.down(images)

    def decode(self, latents):
        return self.up(latents)
"""
TINY = ("--source", "twemoji", "--keyword", "cat face", "--copies", "1", "--latent", "3")
PRESETS = [("--epochs", 2), ("--preset", "best", "--steps", 2, "--pca-images", 8, "--refine-steps", 1)]


@pytest.mark.parametrize("preset", PRESETS, ids=["report", "best"])
def test_a_network_of_ones_own(command, tmp_path, preset):
    (tmp_path / "my_network.py").write_text(MY_NETWORK)
    own = "my_network.py:MyNetwork"
    status, output, error = command(autoencoder, *TINY, "--network", own, *preset)
    assert status == 0 and "Final average test MSE: " in output, error
    folder = tmp_path / "runs/autoencoder"
    assert json.loads((folder / "run.json").read_text())["config"]["network"] == own
    model = networks.load(folder, own=own)
    assert type(model).__name__ == "MyNetwork" and model(torch.rand(2, 3, 64, 64)).shape == (2, 3, 64, 64)
    (tmp_path / "my_network.py").write_text("raise SystemError('foreign code has run')")
    with pytest.raises(UserError, match="names the network 'my_network.py:MyNetwork'; if it is yours") as error:
        networks.load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, message",
    [
        (
            "transformer",
            "--network transformer is unknown; it takes convolutional, residual, informed, or my_file.py:MyClass",
        ),
        ("nowhere.py:MyNetwork", "nowhere.py is not there"),
        ("my_network.py:Nothing", "my_network.py has no class Nothing that is a lab.contract.Autoencoder"),
        ("my_network.py:nn", "my_network.py has no class nn that is a lab.contract.Autoencoder"),
    ],
)
def test_a_network_that_is_none_is_one_line(command, tmp_path, name, message):
    (tmp_path / "my_network.py").write_text(MY_NETWORK)
    status, _, error = command(autoencoder, *TINY, "--network", name)
    assert (status, error.count("\n")) == (2, 1) and message in error


# ---------------------------------------------------------------- imports


def test_imports_do_nothing_and_load_little(tmp_path):
    """What a notebook imports draws nothing, parses no command line, prints nothing and leaves no file."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import data
print(sorted({{"matplotlib", "tyro", "sklearn"}} & set(sys.modules)))
import autoencoder, multiTaskModel, composite
"""
    run = [sys.executable, "-c", code]
    result = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n" and not list(tmp_path.iterdir())
