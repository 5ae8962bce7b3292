"""Folders of models from anywhere: only safetensors with a sensible config.json, and nothing absurd is allocated."""

import json
import os
import shutil
import struct
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file

import composite
import data
from common.errors import UserError
from lab import networks, trained
from lab.convolutional import ConvAutoencoder
from lab.multitask import MultiTaskAutoencoder
from lab.options import ReportRun
from lab.residual import ResidualAutoencoder


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network as Part 1 leaves it, but for its training."""
    folder = tmp_path_factory.mktemp("network")
    ConvAutoencoder(latent=4).save_pretrained(folder)
    config = asdict(data.DataConfig(source="twemoji"))
    (folder / "run.json").write_text(json.dumps({"source": "twemoji", "config": config}))
    (folder / "metrics.json").write_text("{}")
    return folder


@pytest.fixture
def folder(network, tmp_path):
    """A copy of it to spoil."""
    return shutil.copytree(network, tmp_path / "model")


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def with_config(**changes):
    """Changes values of config.json; None takes the key away."""

    def spoil(folder):
        config = {**json.loads((folder / "config.json").read_text()), **changes}
        given = {name: value for name, value in config.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(given))

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


def as_kind(kind: torch.dtype):
    return with_weights(lambda weights: weights.update({name: value.to(kind) for name, value in weights.items()}))


def a_folder(file: str):
    return lambda folder: ((folder / file).unlink(), (folder / file).mkdir())


def pickle_beside(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def best_of(latent: int, **sizes):
    """The config of the best preset's network, with sizes whose weights would fill a disk."""
    settings = {"architecture": "residual", "latent": latent, "narrow": 32, "wide": 96, "thin": 32}
    return with_text("config.json", json.dumps({**settings, **sizes}))


def multi_task(**settings):
    """The config of Part 2's network around the one that is there."""

    def spoil(folder):
        inner = json.loads((folder / "config.json").read_text())
        outer = {"architecture": "multi-task", "autoencoder": inner, "classes": 2, **settings}
        (folder / "config.json").write_text(json.dumps(outer))

    return spoil


SIZES, OPTIONS = "has sizes out of all proportion", "has not the options of"
HUGE = (
    b'{"encoder.0.weight": {"dtype": "F32", "shape": [1000000000, 1000000000],'
    b' "data_offsets": [0, 4000000000000000000]}}'
)


def trap(folder):
    """A network whose config.json names code that lies beside it."""
    (folder / "trap.py").write_text("import os\nos.mkdir('sprung')\n")
    with_config(architecture="trap.py:Trap")(folder)


def nested(depth: int):
    """Part 2's network around itself."""
    inner = {"architecture": "convolutional", "latent": 4}
    for _ in range(depth):
        inner = {"architecture": "multi-task", "autoencoder": inner, "classes": 2}
    return with_text("config.json", json.dumps(inner))


BAD_MODELS = {
    "latent huge": (with_config(latent=10**9), SIZES),
    "latent zero": (with_config(latent=0), SIZES),
    "latent negative": (with_config(latent=-1), SIZES),
    "latent true": (with_config(latent=True), OPTIONS),
    "latent fraction": (with_config(latent=1.5), OPTIONS),
    "latent text": (with_config(latent="4"), OPTIONS),
    "latent list": (with_config(latent=[4]), OPTIONS),
    "latent missing": (with_config(latent=None), "size mismatch"),
    "another latent": (with_config(latent=8), "size mismatch"),
    "largest latent": (with_config(latent=4096), "size mismatch"),
    "dropout text": (with_config(dropout="much"), OPTIONS),
    "dropout above 1": (with_config(dropout=7.5), "dropout probability"),
    "initialization unknown": (with_config(initialization="zeros"), OPTIONS),
    "unknown key": (with_config(layers=3), OPTIONS),
    "architecture missing": (with_config(architecture=None), "names the network None"),
    "architecture unknown": (with_config(architecture="transformer"), "names the network 'transformer'"),
    "architecture a list": (with_config(architecture=["convolutional"]), "cannot be used"),
    "architecture a file": (trap, "names the network 'trap.py:Trap'"),
    "another architecture": (with_config(architecture="residual", dropout=None, initialization=None), "Missing key(s)"),
    "multi-task without a classifier": (multi_task(), "Missing key(s)"),
    "multi-task of text": (multi_task(autoencoder="convolutional"), "cannot be used"),
    "multi-task classes huge": (multi_task(classes=10**12), "cannot be used"),
    "multi-task classes text": (multi_task(classes="2"), "cannot be used"),
    "multi-task classes negative": (multi_task(classes=-1), "cannot be used"),
    "multi-task nested": (nested(300), "cannot be used"),
    "sizes of the best preset huge": (best_of(4096, narrow=4096, wide=4096, thin=4096), "Missing key(s)"),
    "sizes of the best preset absurd": (best_of(4, wide=10**12), SIZES),
    "config a list": (with_text("config.json", "[4, 0.2]"), "cannot be used"),
    "config a number": (with_text("config.json", "4"), "cannot be used"),
    "config null": (with_text("config.json", "null"), "cannot be used"),
    "config empty": (with_text("config.json", ""), "cannot be used (Expecting value"),
    "config no JSON": (with_text("config.json", "latent: 4"), "cannot be used (Expecting value"),
    "config nested": (with_text("config.json", "[" * 200_000), "cannot be used (maximum recursion depth"),
    "config a huge number": (with_text("config.json", '{"latent": %s}' % ("9" * 5000)), "used (Exceeds the limit"),
    "config binary": (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"), "cannot be used ('utf-8'"),
    "config a folder": (a_folder("config.json"), "holds no model.safetensors"),
    "tensor missing": (with_weights(lambda weights: weights.pop("decoder.0.bias")), 'Missing key(s) in state'),
    "tensor too many": (with_weights(lambda weights: weights.update(more=torch.zeros(1))), 'Unexpected key(s)'),
    "shape": (with_weights(lambda weights: weights.update({"decoder.0.bias": torch.zeros(3)})), "size mismatch"),
    "bfloat16": (as_kind(torch.bfloat16), "not float32"),  # float16, as in pretrained/, is opened
    "double precision": (as_kind(torch.float64), "not float32"),
    "whole numbers": (as_kind(torch.int32), "cannot be used"),
    "nan": (value_at(float("nan")), "not finite"),
    "infinite": (value_at(float("-inf")), "not finite"),
    "weights empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "cannot be used"),
    "weights truncated": (lambda folder: os.truncate(folder / "model.safetensors", 5000), "cannot be used"),
    "weights longer": (lambda folder: (folder / "model.safetensors").open("ab").write(b"more"), "cannot be used"),
    "header huge": (with_header(2**62, b"{}"), "cannot be used"),
    "header of a huge tensor": (with_header(len(HUGE), HUGE), "cannot be used"),
    "pickle": (lambda folder: torch.save(Trap(), folder / "model.safetensors"), "cannot be used"),
    "pickle beside": (pickle_beside, "holds no model.safetensors"),
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
    "source a list": (with_record(source=["twemoji"]), SAYS_NOT),
    "source another": (with_record(source="pictures"), "was trained on pictures, not twemoji"),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_a_model_that_is_none_is_refused(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    spoil, message = BAD_MODELS[name]
    spoil(folder)
    with pytest.raises(UserError) as error:
        networks.load(folder)
    assert message in str(error.value) and "\n" not in str(error.value) and "train" in str(error.value)
    assert not (folder / "sprung").exists()


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_record_that_is_none_is_refused(folder, name):
    spoil, message = BAD_RECORDS[name]
    spoil(folder)
    with pytest.raises(UserError) as error:
        model, trained_on = trained.network(ReportRun(source="twemoji", out=folder, plots=folder))
        trained.splits_of(model, trained_on)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_composite_reports_it_in_one_line(command, folder):
    (folder / "config.json").write_text("[]")
    status, _, error = command(composite, "--source", "twemoji", "--model", folder)
    assert status == 2 and error.startswith("error: ") and str(folder) in error and error.count("\n") == 1


def test_absurd_sizes_are_refused_before_anything_is_allocated(folder, monkeypatch):
    best_of(4096, narrow=4096, wide=4096, thin=4096)(folder)
    built = []
    load = ResidualAutoencoder.load_state_dict

    def spy(model, *weights, **more):
        built.extend(parameter.device.type for parameter in model.parameters())
        return load(model, *weights, **more)

    monkeypatch.setattr(ResidualAutoencoder, "load_state_dict", spy)
    with pytest.raises(UserError):
        networks.load(folder)
    assert set(built) == {"meta"}


@pytest.mark.parametrize(
    "model",
    [
        ConvAutoencoder(latent=3, dropout=0),
        ResidualAutoencoder(latent=3, wide=8),
        MultiTaskAutoencoder(ConvAutoencoder(latent=3), classes=5),
        MultiTaskAutoencoder(ResidualAutoencoder(latent=3, wide=8)),
    ],
)
def test_a_model_of_this_project_is_loaded_bit_for_bit(tmp_path, model):
    model.save_pretrained(tmp_path)
    loaded = networks.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"overwritten by the next training")
    assert type(loaded) is type(model) and not loaded.training and loaded.settings() == model.settings()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
