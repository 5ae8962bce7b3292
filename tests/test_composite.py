"""Part 3: composite.py."""

import json
import os
from dataclasses import replace
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoencoder
import composite
import data
from common.errors import UserError
from conftest import keep, keep_as
from lab import arithmetic, composites, networks, records, trained
from lab.contract import decode_all, encode_all
from lab.convolutional import ConvAutoencoder
from lab.multitask import MultiTaskAutoencoder
from lab.options import Method, ReportRun

pytestmark = pytest.mark.usefixtures("decoded_once")
CPU = torch.device("cpu")
FIGURES = {f"composite_{name}.png" for name in ("equation", "side_by_side", "strip", "directions")}

# ---------------------------------------------------------------- the script


@pytest.fixture
def config(network, tmp_path):
    return composite.Config(source="twemoji", model=network, out=tmp_path / "run", plots=tmp_path / "plots")


def test_main_scores_beside_answers_without_a_network(config):
    metrics = composite.main(config)
    assert metrics["truth"] == "smiling cat face with heart shaped eyes"
    assert metrics["truth_in_training"] in (True, False) and metrics["latent"] == 4
    for answer in (metrics, metrics["unchanged_target"], metrics["pixel_arithmetic"], metrics["pca_arithmetic"]):
        assert answer["mse_to_truth"] > 0 and answer["ssim_to_truth"] < 1 and 1 <= answer["rank_of_truth"] <= 3778
    assert metrics["unchanged_target"]["mse_to_truth"] == pytest.approx(0.0405, abs=1e-4)
    assert json.loads((config.out / "metrics.json").read_text()) == metrics
    assert {path.name for path in config.plots.iterdir()} == FIGURES
    by_strength = metrics["mse_to_truth_by_strength"]
    one = by_strength["strengths"].index(1.0)
    answers = {"network": metrics, "pca": metrics["pca_arithmetic"], "pixels": metrics["pixel_arithmetic"]}
    for space, answer in answers.items():
        assert by_strength[space][one] == pytest.approx(answer["mse_to_truth"], abs=1e-6)
        assert len(by_strength[space]) == len(by_strength["strengths"]) == len(set(by_strength[space]))
    assert by_strength["pixels"][0] == pytest.approx(metrics["unchanged_target"]["mse_to_truth"], abs=1e-6)
    shares = metrics["principal_directions"]
    assert len(shares["explained_variance"]) == 4 and shares["variance_within"]["5"] == pytest.approx(1, abs=1e-5)
    assert shares["attribute_within"]["5"] == pytest.approx(sum(shares["attribute_in_direction"]), abs=1e-5)


@pytest.mark.parametrize("method", ["mean", "isolated", "map"])
def test_other_methods_and_no_truth(config, method, capsys):
    metrics = composite.main(replace(config, target="dog face", featured="😍", method=method))
    assert metrics["truth"] is None and not {"mse_to_truth", "mse_to_truth_by_strength"} & set(metrics)
    nearest, said = metrics["nearest_emoji"], capsys.readouterr().out
    assert nearest not in (metrics["target"], metrics["baseline"], metrics["featured"])
    assert f"no true picture is known; nearest of the other 3775 emoji: {nearest!r}, MSE" in said
    assert json.loads((config.out / "metrics.json").read_text())["mse_to_nearest"] > 0
    assert {path.name for path in config.plots.iterdir()} == FIGURES


def test_strength_0_is_the_reconstruction_of_the_target(network):
    model, images = networks.load(network), data.load_originals("twemoji", "cat face").images[:3]
    equation = composites.Equation(0, 1, 2, None, [])
    made = composites.compose(arithmetic.network_space(model, images, CPU), equation, "difference", [0.0])
    assert torch.equal(made, decode_all(model, encode_all(model, images, CPU)[:1], CPU))


def test_a_missing_network_is_trained_once_and_nothing_written_elsewhere(command, tmp_path, six, monkeypatch):
    (tmp_path / "work").mkdir()
    equation = ("--target", "dog face", "--featured", "crying face")
    asked = (*equation, "--model", tmp_path / "m", "--out", tmp_path / "c", "--plots", tmp_path / "p")

    def run(*source):
        monkeypatch.chdir(tmp_path / "work")
        status, output, error = command(composite, *source, *asked)
        assert status == 0, error
        return output

    assert "training Part 1 first" in run("--source", six)
    assert not list((tmp_path / "work").iterdir())
    assert all(path.name.startswith("composite_") for path in (tmp_path / "p").iterdir())
    assert {"test_mse", "pca_mse", "mean_image_mse"} <= set(json.loads((tmp_path / "m/metrics.json").read_text()))
    as_by_hand = records.described(autoencoder.Config(source=str(six), keyword="face", out=tmp_path / "m"), str(six))
    assert not records.differences(tmp_path / "m", as_by_hand)

    output = run()  # its own source: nobody asks the Hub, nor takes the stand-in
    assert "training" not in output and "source:" not in output
    assert json.loads((tmp_path / "c/metrics.json").read_text())["source"] == str(six)


def test_part_2s_latent_beside_a_pca_of_what_it_was_trained_on(config, tmp_path):
    torch.manual_seed(0)
    model = MultiTaskAutoencoder(ConvAutoencoder(latent=3))
    folder = keep(model, tmp_path / "multitask", keyword="face", copies="none")
    metrics = composite.main(replace(config, model=folder))
    assert metrics["latent"] == 3 and not metrics["truth_in_training"]  # the cat is in neither class
    model, trained_on = trained.network(ReportRun(source="twemoji", out=folder, plots=folder))
    seen = trained.splits_of(model, trained_on).originals.names
    assert "crying face" in seen and "smiling cat face with open mouth" not in seen and len(seen) < 50


@pytest.mark.parametrize("options, said", [({"strength": 3.0}, "strength 3"), ({"method": "mean"}, "mean")])
def test_only_the_originals_formula_is_shown_as_a_sum(options, said):
    signs, label, words = composite.formula(composite.Config())
    assert signs == ("", "+", "−", "=") and label == "composite"
    assert words == "composite = target + 1 × (featured − baseline)"
    signs, label, other = composite.formula(composite.Config(**options))
    assert not {"+", "−", "="} & set(signs) and said in label and other != words


def test_every_method_has_a_formula_and_a_clause_in_the_help(command):
    status, output, _ = command(composite, "--help")
    assert status == 0 and set(arithmetic.FORMULAS) == set(get_args(Method)) == {*arithmetic.ATTRIBUTES, "learned"}
    assert all(f"{method}: " in output for method in arithmetic.FORMULAS)


# ---------------------------------------------------------------- networks of others, and broken ones

OWN = """
import torch
from lab.contract import Autoencoder


class Squares(Autoencoder):
    def __init__(self, latent: int = 2):
        super().__init__(latent)
        self.layer = torch.nn.Linear(latent, 3 * 64 * 64)

    def encode(self, images):
        return images.flatten(1)[:, : self.latent]

    def decode(self, latents):
        return self.layer(latents).unflatten(1, (3, 64, 64))
"""


def test_a_network_of_the_users_own(config, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    name = f"{tmp_path / 'own.py'}:Squares"
    folder = keep(networks.build(name, 2, {}), tmp_path / "mine")
    with pytest.raises(UserError, match="give it as --network"):
        composite.main(replace(config, model=folder))
    assert composite.main(replace(config, model=folder, network=name))["latent"] == 2


def spoil(folder, file: str, content) -> None:
    (folder / file).write_text(content)


def without_weights(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")  # a pickle's name must not be tried


def truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def foreign(folder):
    save_file({"weight": torch.zeros(3)}, folder / "model.safetensors")


def not_finite(folder):
    weights = load_file(folder / "model.safetensors")
    weights["encoder.0.weight"][0] = float("nan")
    save_file(weights, folder / "model.safetensors")


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def pickled(folder):
    torch.save(Trap(), folder / "model.safetensors")


def of_the_hub(folder):
    spoil(folder, "run.json", (folder / "run.json").read_text().replace('"source": "twemoji"', '"source": "hub"'))


HUGE_LATENT = '{"architecture": "convolutional", "latent": 10000000000, "dropout": 0.2, "initialization": "he"}'


@pytest.mark.parametrize(
    "damage, arguments, message",
    [
        (None, ["--target", "smilling cat face"], "may mean 3 emoji; did you mean smiling cat face with open mouth, "),
        (None, ["--featured", "cat face with"], "may mean 6 emoji; did you mean cat face with wry smile, "),
        (None, ["--featured", "grinning"], "--baseline and --featured are both 'grinning face'"),
        (None, ["--seed", "3"], "was trained with --seed 0, not 3; give another --model"),
        (None, ["--seed", "-1"], "--seed is -1"),
        (None, ["--strength", "nan"], "--strength is nan"),
        (of_the_hub, [], "out of reach on the Hub"),
        (lambda folder: spoil(folder, "run.json", "{}"), [], "does not say what"),
        (lambda folder: spoil(folder, "config.json", HUGE_LATENT), [], "out of all proportion"),
        (lambda folder: spoil(folder, "config.json", "no JSON"), [], "cannot be used"),
        (without_weights, [], "holds no model.safetensors"),
        (truncated, [], "cannot be used"),
        (foreign, [], "cannot be used"),
        (not_finite, [], "not finite"),
        (pickled, [], "cannot be used"),
    ],
)
def test_bad_input(command, network, tmp_path, damage, arguments, message):
    folder = keep_as(tmp_path / "copy", network)
    if damage:
        damage(folder)
    status, _, error = command(composite, "--source", "twemoji", "--model", folder, *arguments)
    assert status == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "sprung").exists() and not list(tmp_path.glob("runs/composite/*.json"))
