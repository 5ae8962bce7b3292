"""Folders of models from anywhere: only safetensors with a matching, sensible config.json are used, and nothing absurd is allocated."""

import json
import os
import shutil
import struct
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file

import analogies
import autoencoder
import best
import composite
import data
from cli import UserError


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network as Part 1 leaves it, but for its training."""
    folder = tmp_path_factory.mktemp("trained")
    autoencoder.ConvAutoencoder(latent=4).save_pretrained(folder)
    config = asdict(data.DataConfig(source="twemoji"))
    (folder / "run.json").write_text(json.dumps({"source": "twemoji", "config": config}))
    (folder / "metrics.json").write_text("{}")
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of it to spoil."""
    return shutil.copytree(trained, tmp_path / "model")


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def with_config(**changes):
    """Changes values of config.json; None takes the key away."""

    def spoil(folder):
        config = {**json.loads((folder / "config.json").read_text()), **changes}
        (folder / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value is not None}))

    return spoil


def with_text(file: str, text: str):
    return lambda folder: (folder / file).write_text(text)


def with_weights(change):
    """Changes the dict of the tensors in place."""

    def spoil(folder):
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors")

    return spoil


def with_header(size: int, header: bytes):
    """Weights that are a safetensors header alone, announced as `size` bytes long."""
    return lambda folder: (folder / "model.safetensors").write_bytes(struct.pack("<Q", size) + header)


def value_at(number: float):
    def change(weights):
        weights["decoder.0.bias"][3] = number

    return with_weights(change)


def best_of(latent: int, **sizes):
    """The config of the best preset's network, with sizes whose weights would fill a disk."""
    return with_text("config.json", json.dumps({"latent": latent, "narrow": 32, "wide": 96, "thin": 32, **sizes}))


NO_MODELS = "config.json is no model's of this project"
HUGE = b'{"encoder.0.weight": {"dtype": "F32", "shape": [1000000000, 1000000000], "data_offsets": [0, 4000000000000000000]}}'

BAD_MODELS = {
    "latent huge": (with_config(latent=10**9), NO_MODELS),
    "latent zero": (with_config(latent=0), NO_MODELS),
    "latent negative": (with_config(latent=-1), NO_MODELS),
    "latent true": (with_config(latent=True), NO_MODELS),
    "latent fraction": (with_config(latent=1.5), NO_MODELS),
    "latent text": (with_config(latent="4"), NO_MODELS),
    "latent list": (with_config(latent=[4]), NO_MODELS),
    "latent missing": (with_config(latent=None), NO_MODELS),
    "another latent": (with_config(latent=8), "size mismatch"),
    "largest latent": (with_config(latent=4096), "size mismatch"),
    "dropout text": (with_config(dropout="much"), NO_MODELS),
    "dropout above 1": (with_config(dropout=7.5), "dropout probability"),
    "initialization unknown": (with_config(initialization="zeros"), NO_MODELS),
    "unknown key": (with_config(layers=3), NO_MODELS),
    "sizes of the best preset huge": (best_of(4096, narrow=4096, wide=4096, thin=4096), "Missing key(s)"),
    "sizes of the best preset absurd": (best_of(4, wide=10**12), NO_MODELS),
    "config a list": (with_text("config.json", "[4, 0.2]"), NO_MODELS),
    "config a number": (with_text("config.json", "4"), NO_MODELS),
    "config null": (with_text("config.json", "null"), NO_MODELS),
    "config empty": (with_text("config.json", ""), "cannot be used (Expecting value"),
    "config no JSON": (with_text("config.json", "latent: 4"), "cannot be used (Expecting value"),
    "config nested": (with_text("config.json", "[" * 200_000), "cannot be used (maximum recursion depth"),
    "config a huge number": (with_text("config.json", '{"latent": %s}' % ("9" * 5000)), "cannot be used (Exceeds the limit"),
    "config binary": (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"), "cannot be used ('utf-8'"),
    "config a folder": (lambda folder: ((folder / "config.json").unlink(), (folder / "config.json").mkdir()), "holds no model.safetensors"),
    "tensor missing": (with_weights(lambda weights: weights.pop("decoder.0.bias")), "Missing key(s) in state_dict: \"decoder.0.bias\""),
    "tensor too many": (with_weights(lambda weights: weights.update(more=torch.zeros(1))), 'Unexpected key(s) in state_dict: "more"'),
    "shape": (with_weights(lambda weights: weights.update({"decoder.0.bias": torch.zeros(3)})), "size mismatch for decoder.0.bias"),
    "half precision": (with_weights(lambda weights: weights.update({k: v.half() for k, v in weights.items()})), "not float32"),
    "double precision": (with_weights(lambda weights: weights.update({k: v.double() for k, v in weights.items()})), "not float32"),
    "whole numbers": (with_weights(lambda weights: weights.update({k: v.int() for k, v in weights.items()})), "cannot be used"),
    "nan": (value_at(float("nan")), "not finite"),
    "infinite": (value_at(float("-inf")), "not finite"),
    "weights empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "cannot be used"),
    "weights truncated": (lambda folder: os.truncate(folder / "model.safetensors", 5000), "cannot be used"),
    "weights longer": (lambda folder: (folder / "model.safetensors").open("ab").write(b"more"), "cannot be used"),
    "header huge": (with_header(2**62, b"{}"), "cannot be used"),
    "header of a huge tensor": (with_header(len(HUGE), HUGE), "cannot be used"),
    "pickle": (lambda folder: torch.save(Trap(), folder / "model.safetensors"), "cannot be used"),
    "pickle beside": (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "holds no model.safetensors"),
}  # fmt: skip


def with_record(**changes):
    """Changes values of run.json's config, or of run.json itself where the name is there."""

    def spoil(folder):
        run = json.loads((folder / "run.json").read_text())
        for name, value in changes.items():
            (run if name in run else run["config"])[name] = value
        (folder / "run.json").write_text(json.dumps(run))

    return spoil


SAYS_NOT = "run.json does not say what the network was trained on"

BAD_RECORDS = {
    "none": (lambda folder: (folder / "run.json").unlink(), SAYS_NOT),
    "a list": (with_text("run.json", "[]"), SAYS_NOT),
    "nested": (with_text("run.json", "[" * 200_000), SAYS_NOT),
    "no config": (with_text("run.json", '{"source": "twemoji"}'), SAYS_NOT),
    "config a list": (with_record(config=[1]), SAYS_NOT),
    "copies absurd": (with_record(copies=10**12), "--copies 1000000000000 needs"),
    "copies negative": (with_record(copies=-1), SAYS_NOT + " (--copies is -1"),
    "copies true": (with_record(copies=True), SAYS_NOT),
    "copies text": (with_record(copies="many"), SAYS_NOT),
    "seed text": (with_record(seed="0"), SAYS_NOT),
    "seed null": (with_record(seed=None), SAYS_NOT),
    "split unknown": (with_record(split="random"), SAYS_NOT),
    "augment unknown": (with_record(augment="strong"), SAYS_NOT),
    "keyword a number": (with_record(keyword=5), SAYS_NOT),
    "keyword of nothing": (with_record(keyword="zzz"), "no emoji of twemoji matches --keyword 'zzz'"),
    "hold-out a text": (with_record(hold_out="grinning face"), SAYS_NOT),
    "hold-out numbers": (with_record(hold_out=[1, 2]), SAYS_NOT),
    "hold-out unknown": (with_record(hold_out=["cheshire cat"]), "--hold-out 'cheshire cat' is not among"),
    "source a list": (with_record(source=["twemoji"]), "was trained on ['twemoji'], not twemoji"),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_a_model_that_is_none_is_refused(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    spoil, message = BAD_MODELS[name]
    spoil(folder)
    with pytest.raises(UserError) as error:
        autoencoder.load(folder)
    assert message in str(error.value) and "\n" not in str(error.value) and "train" in str(error.value)
    assert not (folder / "sprung").exists()


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_record_that_is_none_is_refused(folder, name):
    spoil, message = BAD_RECORDS[name]
    spoil(folder)
    with pytest.raises(UserError) as error:
        data.load(composite.trained(folder, "twemoji", 4)[1])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_composite_reports_it_in_one_line(command, folder):
    (folder / "config.json").write_text("[]")
    status, _, error = command(composite, "--source", "twemoji", "--model", folder, "--latent", "4")
    assert status == 2 and error.startswith("error: ") and str(folder) in error and error.count("\n") == 1


def test_absurd_sizes_are_refused_before_anything_is_allocated(folder, monkeypatch):
    best_of(4096, narrow=4096, wide=4096, thin=4096)(folder)
    built = []
    load = best.ResidualAutoencoder.load_state_dict

    def spy(model, *weights, **more):
        built.extend(parameter.device.type for parameter in model.parameters())
        return load(model, *weights, **more)

    monkeypatch.setattr(best.ResidualAutoencoder, "load_state_dict", spy)
    with pytest.raises(UserError):
        autoencoder.load(folder)
    assert set(built) == {"meta"}


@pytest.mark.parametrize("model", [autoencoder.ConvAutoencoder(latent=3, dropout=0), best.ResidualAutoencoder(latent=3, wide=8)])
def test_a_model_of_this_project_is_loaded_bit_for_bit(tmp_path, model):
    model.save_pretrained(tmp_path)
    loaded = autoencoder.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"overwritten by the next training")
    assert type(loaded) is type(model) and not loaded.training
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_an_analogy_network_that_is_broken_is_refused(command, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "runs/analogies/networks/report-seed0")
    (folder / "metrics.json").write_text("{}")
    value_at(float("nan"))(folder)
    status, _, error = command(analogies, "--source", "twemoji", "--latent", "4")
    assert status == 2 and "not finite" in error and error.count("\n") == 1
