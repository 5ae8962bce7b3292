"""The networks of the repository: made by publish.py from a finished run, opened, and held to their record."""

import hashlib
import json
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoencoder
import composite
import publish
from common.errors import UserError
from conftest import ROOT, assert_one_line, keep_as
from lab import networks, pretrained

pytestmark = pytest.mark.usefixtures("decoded_once")
TINY = ("--source", "twemoji", "--keyword", "cat face", "--copies", "1", "--epochs", "1", "--latent", "4")


def sum_on_card(folder) -> str:
    return re.search(r"`([0-9a-f]{64})` of model\.safetensors", (folder / "README.md").read_text())[1]


# ---------------------------------------------------------------- those that are committed


@pytest.mark.parametrize("name", ["report", "multitask", pytest.param("best", marks=pytest.mark.long)])
def test_a_committed_network_gives_the_numbers_of_its_record(name):
    folder = ROOT / "pretrained" / name
    if not (folder / networks.WEIGHTS).exists():
        pytest.skip(f"pretrained/{name} is not committed yet")
    assert sum_on_card(folder) == hashlib.sha256((folder / networks.WEIGHTS).read_bytes()).hexdigest()
    script, record = publish.SCRIPTS[name], json.loads((folder / "metrics.json").read_text())
    found = script.main(script.Config(evaluate=folder))
    assert {"test_mse", "pca_mse"} <= set(found)
    for number, value in found.items():
        assert value == pytest.approx(record[number], rel=0.01), number


def test_committed_networks_are_few_and_small():
    contents = [path for path in (ROOT / "pretrained").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in contents) <= publish.MOST_BYTES
    assert {path.parent.name for path in contents} <= set(pretrained.NETWORKS)


# ---------------------------------------------------------------- made from a run


@pytest.fixture
def run(command, tmp_path):
    status, _, error = command(autoencoder, *TINY, "--out", "run", "--plots", "plots")
    assert status == 0, error
    return tmp_path / "run"


def test_a_run_becomes_a_folder_half_its_size(command, run, tmp_path):
    status, output, error = command(publish, "report", "--run", "run")
    folder = tmp_path / "pretrained/report"
    assert status == 0 and "wrote pretrained/report, float16" in output, error
    weights = load_file(folder / networks.WEIGHTS)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    opened = networks.load(folder)
    assert all(tensor.dtype == torch.float32 for tensor in opened.parameters())
    for name, tensor in networks.load(run).state_dict().items():
        assert torch.allclose(opened.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)
    card, about = (folder / "README.md").read_text(), json.loads((run / "run.json").read_text())
    assert sum_on_card(folder) == hashlib.sha256((folder / networks.WEIGHTS).read_bytes()).hexdigest()
    assert about["command"] in card and "| seed | 0 |" in card and "CC-BY 4.0" in card and "Not good for." in card
    assert f"{json.loads((run / 'metrics.json').read_text())['test_mse']:.4f}" in card
    assert {path.name for path in folder.iterdir()} == {*publish.KEPT, networks.WEIGHTS, "README.md"}


def test_where_float16_changes_the_numbers_float32_is_kept(command, run, monkeypatch, tmp_path):
    monkeypatch.setattr(publish, "TOLERANCE", 1e-8)
    rounded = load_file(run / networks.WEIGHTS)
    assert command(publish, "report", "--run", "run")[0] == 0
    kept = load_file(tmp_path / "pretrained/report" / networks.WEIGHTS)
    assert all(torch.equal(kept[name], tensor) for name, tensor in rounded.items())


def test_numbers_that_are_not_those_of_the_record_are_not_published(command, run, tmp_path):
    weights = load_file(run / networks.WEIGHTS)
    save_file({name: 0.9 * tensor for name, tensor in weights.items()}, run / networks.WEIGHTS)
    assert_one_line(command(publish, "report", "--run", "run"), "gives other numbers than its record; train it again")
    assert not (tmp_path / "pretrained").exists()


def test_pictures_without_a_licence_are_not_published(command, run, tmp_path):
    keep_as(tmp_path / "own", run, lambda about: {**about, "source": "my pictures"})
    assert_one_line(
        command(publish, "report", "--run", "own"), "own was trained on my pictures, which names no licence"
    )


def test_what_is_not_there_names_its_commands(command, tmp_path):
    missing = "first run `python autoencoder.py --source twemoji`"
    assert_one_line(command(publish, "report"), missing)
    with pytest.raises(
        UserError, match="make it with `python multiTaskModel.py --source twemoji`, then `python publish"
    ):
        pretrained.load("multitask")


def test_no_more_than_fits_into_the_repository(command, run, tmp_path):
    (tmp_path / "pretrained/best").mkdir(parents=True)
    (tmp_path / "pretrained/best/model.safetensors").write_bytes(b"0" * publish.MOST_BYTES)
    assert_one_line(command(publish, "report", "--run", "run"), "at most 25000000 are committed: remove a network")


# ---------------------------------------------------------------- a composite in a fresh clone


def test_a_fresh_clone_needs_no_training(command, network, tmp_path):
    keep_as(tmp_path / "pretrained/report", network)
    for source in ((), ("--source", "twemoji")):
        status, output, error = command(composite, *source)
        assert status == 0 and "training" not in output, error
        assert "no trained network in runs/autoencoder yet: taking the one in pretrained/report\n" in output
        assert not (tmp_path / "runs/autoencoder").exists() and (tmp_path / "runs/composite-in-report").exists()


def test_what_is_trained_or_asked_for_goes_first(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own, usual = tmp_path / "runs/autoencoder", composite.Config()
    assert composite.folder_of_network(usual) == composite.default_model(0)  # there is no other
    keep_as(tmp_path / "pretrained/report", network)
    for options in ({"seed": 1}, {"source": "openmoji"}, {"network": "my.py:Mine"}, {"model": own}):
        asked = replace(usual, **options)
        assert composite.folder_of_network(asked) == (asked.model or composite.default_model(asked.seed))
    assert composite.folder_of_network(usual) != composite.default_model(0)
    keep_as(own, network)
    assert composite.folder_of_network(usual) == composite.default_model(0)
