"""The networks: what they compute, where they start, and how they are saved, opened and refused."""

import itertools
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoencoder
import composite
import data
import multiTaskModel
from conftest import ROOT, assert_one_line
from lab import networks, pretrained, runs, training
from lab.best import InformedAutoencoder, ResidualAutoencoder, refined_loss
from lab.classes import MultiTaskAutoencoder
from lab.cli import UserError
from lab.networks import ConvAutoencoder
from lab.options import DataOptions, RunOptions, resolve_defaults
from lab.pictures import Part, Splits, generator, to_float
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
    options = resolve_defaults(RunOptions(network=name, out=Path(), device="cpu", **given))
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
    losses = (partial(refined_loss, steps=steps) for steps in (0, 15))
    refined = [training.evaluate(model, tested, loss)["loss"] for loss in losses]
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
    assert message in str(error.value) and not Path("sprung").exists()


DOWN = "self.down(nn.functional.avg_pool2d(images, 8).flatten(1))"
FUTURE = "from __future__ import annotations"
DATACLASS = f"{FUTURE}\nfrom dataclasses import dataclass\n@dataclass\nclass Options:\n    scale: float = 1.0"


def mine(encode=DOWN, decode="self.up(latents)", options="", more="pass", methods="", head="") -> str:
    """A file with a network of one's own."""
    return f"""{head}
import torch
from torch import nn
from lab.networks import Autoencoder
class Mine(Autoencoder):
    def __init__(self, latent{options}):
        super().__init__(latent)
        self.down = nn.Linear(192, latent)
        self.up = nn.Sequential(nn.Linear(latent, 192), nn.Unflatten(1, (3, 8, 8)), nn.Upsample(scale_factor=8))
        {more}
    def encode(self, images): return {encode}
    def decode(self, latents): return {decode}
    {methods}
"""


WORKING = {
    "plain tensor": mine(f"{DOWN} * self.scale", more="self.scale = torch.tensor(2.0)"),
    "buffer": mine(f"{DOWN} * self.s", more="self.register_buffer('s', torch.ones(1), persistent=False)"),
    "item": mine(f"{DOWN} * self.scale", more="self.scale = torch.ones(2).sum().item()"),
    "list": mine(options=", sizes: list[int] = [8], none: int = 0", more="self.sizes, self.none = sizes, 0 + none"),
    "tuple": mine(options=", sizes: tuple = (8,)", more="self.sizes = sizes + (9,)[:0]", head=FUTURE),
    "tied": mine(more="self.again = nn.Linear(192, latent); self.again.weight = self.down.weight"),
    "twice": mine(f"self.twice({DOWN})", more="self.twice = nn.Sequential(*2 * [nn.Linear(latent, latent)])"),
    "batch normalisation": mine(f"self.norm({DOWN})", more="self.norm = nn.BatchNorm1d(latent)"),
    "dataclass": mine(f"{DOWN} * self.o.scale", more="self.o = Options()", head=DATACLASS),
    "sibling": mine(f"{DOWN} * SCALE", head="from beside_it import SCALE"),
    "best, frozen": mine(more="self.down.requires_grad_(False)"),
    "best, no biases": mine(more="self.down.bias = self.up[0].bias = None"),
    "best, own loss": mine(methods="def loss(self, images): return super().loss(images) | {'mse': torch.ones(())}"),
}


@pytest.mark.parametrize("name", WORKING)
def test_a_network_of_ones_own_is_trained_and_opened_from_elsewhere(made, tmp_path, name, capsys):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "beside_it.py").write_text("SCALE = 2")
    for file in ("mine.py", "elsewhere/renamed.py"):
        (tmp_path / file).write_text(WORKING[name])
    pictures, network = made([f"face {i}" for i in range(9)]), f"{tmp_path}/mine.py:Mine"
    splits = Splits(pictures, *[Part(pictures.images, torch.arange(9))] * 3)  # in batches of 8, one image is left
    best = dict(preset="best", steps=2, pca_images=9, precision="float32")
    given = dict(network=network, batch_size=8, latent=3, **(best if "best" in name else dict(epochs=2)))
    options = training.resolve_options(RunOptions(out=tmp_path / "run", device="cpu", **given))
    with runs.opened(options, pictures) as run:
        training.fit(options, splits, run)
    model = training.fit(options, splits, runs.Run(replace(options, resume=True), pictures)).model.eval()
    networks.save(model, pictures, options.out)
    opened = networks.load(options.out, f"{tmp_path}/elsewhere/renamed.py:Mine")
    assert torch.equal(opened(to_float(pictures.images)), model(to_float(pictures.images)))
    assert "changed" not in capsys.readouterr().out
    (tmp_path / "mine.py").write_text(f"{WORKING[name]}# changed")
    pretrained.import_own.cache_clear()
    networks.load(options.out, network)
    assert f"{network} has changed since this network was trained" in capsys.readouterr().out


HEAD = "def loss(self, images): return "
WRONG = {
    "an option is not stored": (mine(options=", features=192"), "no attribute 'features'"),
    "a class as an option": (mine(options=", act=nn.ReLU", more="self.act = act"), "not JSON serializable"),
    "width": (mine(f"torch.cat([{DOWN}] * 2, 1)"), "encode gives (1, 6), not (1, 3)"),
    "pair": (mine(f"({DOWN}, {DOWN})"), "encode gives (1, 3), (1, 3), not (1, 3)"),
    "size": (mine(decode="self.up(latents)[..., ::2]"), "decode gives (1, 3, 64, 32), not (1, 3, 64, 64)"),
    "for 128x128": (mine(DOWN.replace("8", "4")), "mine.py, line 11: RuntimeError: mat1 and mat2 shapes cannot"),
    "lazy": (mine(more="self.lazy = nn.LazyLinear(3)"), "uninitialized parameter"),
    "a layer's name": (mine(more="self.latent = nn.ReLU()"), "self.latent gives ReLU, not int"),
    "lost": (mine(f"{DOWN} + self.lost", more="self.lost = torch.rand(latent)"), "look different"),
    "batch": (mine(f"{DOWN} - {DOWN}.mean(0)"), "look different"),
    "tensor": (mine(methods="def loss(self, images): return self(images).mean()"), "gives (), not dict"),
    "no mse": (mine(methods=HEAD + "{'loss': self(images).mean()}"), "loss(images)['mse'] gives NoneType, not ()"),
    "no gradient": (mine(decode="self.up(latents).detach()"), "does not require grad"),
    "constructor": (mine(more="1 / 0"), "mine.py, line 10: ZeroDivisionError: division by zero"),
    "import": (mine(head="import nowhere"), "mine.py, line 1: ModuleNotFoundError"),
    "syntax": (mine(more="1 +"), "mine.py, line 10: SyntaxError"),
    "while it is trained": (mine(methods="def start_at_pca(self, pca): pca.no"), "mine.py, line 13: AttributeError"),
    "class": ("import json as Mine", "mine.py has no class Mine that is a lab.networks.Autoencoder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_ones_own_network_is_one_line_before_the_training(command, tmp_path, name):
    pretrained.import_own.cache_clear()
    text, message = WRONG[name]
    (tmp_path / "mine.py").write_text(text)
    tiny = ("--keyword", "cat face", "--copies", 1, "--latent", 3)
    assert_one_line(command(autoencoder, "--network", "mine.py:Mine", *tiny), message)
    assert (tmp_path / "runs").exists() == (name == "while it is trained")


def test_the_vae_of_the_docs(command, tmp_path, drawn, monkeypatch):
    """Trained, opened for each script only when it is named, and in Part 2."""
    example = (ROOT / "docs/extending.md").read_text().partition("A variational autoencoder:\n\n```python\n")[2]
    (tmp_path / "vae.py").write_text(example.partition("```")[0])
    tiny, own = ("--copies", 1, "--latent", 3, "--epochs", 1), ("--network", "vae.py:VAE")
    assert command(autoencoder, *tiny, *own, "--keyword", "cat face", "--out", "run")[0] == 0
    record = json.loads((tmp_path / "run/metrics.json").read_text())
    status, output, error = command(autoencoder, "--evaluate", "run", "--network", f"{tmp_path}/vae.py:VAE")
    assert status == 0 and f"{record['test_mse']:.4f}, on record {record['test_mse']:.4f}" in output, error
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **options: tmp_path / name)
    composite.open_network(composite.Config(model=Path("hub:run"), network=own[1]))
    assert_one_line(command(autoencoder, "--evaluate", "run"), "network 'VAE@")
    assert_one_line(command(autoencoder, *own, "--augment", "adversarial"), "adversarial trains with the MSE")
    assert command(multiTaskModel, *tiny, *own)[0] == 0
    (row,) = map(json.loads, (tmp_path / "runs/multitask/metrics.jsonl").read_text().splitlines())
    expected = row["val_mse"] + 1e-4 * row["val_kl"] + 0.5 * row["val_cross_entropy"]
    assert row["val_loss"] == pytest.approx(expected, rel=1e-4)
    assert command(multiTaskModel, "--evaluate", "runs/multitask", *own)[0] == 0


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
