"""Part 3 as a command: composites by every method, their scores, and where their records go."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

import composite
import data
from conftest import ROOT
from lab import arithmetic, names, training
from lab.options import DataOptions
from lab.pictures import to_float


FIGURES = {f"composite_{name}.png" for name in ("equation", "side_by_side", "strip", "directions")}
METHODS = tuple(arithmetic.ATTRIBUTES)
OTHER_OPTIONS = [
    {"target": "fox face"}, {"baseline": "🐶"}, {"featured": "crying face"}, {"truth": "cat face"}, {"strength": -2.0},
    {"method": "isolated"}, {"model": Path("m")}, {"model": Path("m"), "seed": 2}, {"model": Path("a/m")},
    {"target": "👋"}, {"target": "👋🏽"},
]  # fmt: skip


@pytest.fixture(autouse=True)
def twemoji_is_decoded_once(monkeypatch, drawn, faces, everything):
    load, decoded = data.load_pictures, {("twemoji", "face"): faces, ("twemoji", ""): everything}

    def load_once(source="twemoji", keyword=None, skip_bad=False):
        return decoded.get((source, keyword)) or load(source, keyword, skip_bad)

    monkeypatch.setattr(data, "load_pictures", load_once)


@pytest.fixture
def config(tiny_run, tmp_path):
    return composite.Config(model=tiny_run, out=tmp_path / "run", plots=tmp_path / "plots")


@pytest.mark.parametrize("method", METHODS)
def test_a_composite_whose_true_picture_is_known(config, method, drawn):
    assert get_args(composite.Config.__annotations__["method"]) == METHODS == tuple(arithmetic.FORMULAS)
    metrics = composite.main(replace(config, method=method))
    assert json.loads((config.out / "metrics.json").read_text()) == metrics and drawn == FIGURES
    assert metrics["truth"] == "smiling cat face with heart shaped eyes" and "truth_in_training" in metrics
    unchanged, pixels, pca = (metrics[name] for name in ("unchanged_target", "pixel_arithmetic", "pca_arithmetic"))
    assert ("latent_arithmetic" in metrics) == (method == "transplant")
    for answer in (metrics, unchanged, pixels, pca):
        assert answer["mse_to_truth"] > 0 and answer["ssim_to_truth"] < 1 and 1 <= answer["rank_of_truth"] <= 3778
    assert unchanged["mse_to_truth"] == pytest.approx(0.0405, abs=1e-4)
    errors = metrics["mse_to_truth_by_strength"]
    at_one = [errors[space][errors["strengths"].index(1.0)] for space in ("network", "pca", "pixels")]
    assert at_one == pytest.approx([answer["mse_to_truth"] for answer in (metrics, pca, pixels)], abs=1e-6)
    assert errors["pixels"][0] == pytest.approx(unchanged["mse_to_truth"], abs=1e-6)
    assert metrics["principal_directions"]["variance_within"]["5"] == pytest.approx(1)  # of four


@pytest.mark.parametrize("method", ["mean", "transplant"])
def test_a_composite_whose_true_picture_is_not_known(config, method, capsys):
    metrics = composite.main(replace(config, target="🍕", featured="😍", method=method))
    assert metrics["truth"] is None and not {"mse_to_truth", "mse_to_truth_by_strength"} & set(metrics)
    nearest, output = metrics["nearest_emoji"], capsys.readouterr().out
    assert f"nearest of the other 3775 emoji: {nearest!r}, MSE {metrics['mse_to_nearest']:.4f}" in output
    unknown = ["slice of pizza", "grinning face", "smiling face with heart shaped eyes"]
    assert metrics["unknown_to_network"] == unknown and nearest not in unknown
    assert f"'cat face' in their names: expect little of {', '.join(unknown)}" in output


@pytest.mark.portable
def test_the_pretrained_network_brings_the_cat_nearer_to_its_truth(command, tmp_path):
    status, output, error = command(composite)
    network = f"network: {ROOT / 'pretrained/coursework'}, 30 epochs, test MSE 0.0136, PCA 0.0046, mean image 0.0559"
    assert status == 0 and network in output, error
    metrics = json.loads((tmp_path / "runs/composite/metrics.json").read_text())
    assert metrics["mse_to_truth"] == pytest.approx(0.026, abs=0.001)  # of the unchanged target 0.04


def test_part_2s_latent(config):
    metrics = composite.main(replace(config, model=ROOT / "pretrained/multitask"))
    assert metrics["latent"] == 128 and not metrics["truth_in_training"]  # a cat is neither happy nor sad


def test_ones_own_pictures_beside_a_pca_of_the_networks(config, everything, tmp_path):
    asked = dict(target="dog face", baseline="grinning face", featured="crying face", truth="cow face")
    chosen = [names.find(everything.names, name) for name in asked.values()]
    for i in chosen:
        Image.fromarray(everything.images[i].permute(1, 2, 0).numpy()).save(tmp_path / f"{everything.names[i]}.png")
    metrics = composite.main(replace(config, source=str(tmp_path), **asked))
    assert (metrics["source"], metrics["network_source"]) == (str(tmp_path), "twemoji")
    seen = data.split(data.load_pictures(keyword="cat face"), DataOptions(copies=1)).train.images
    space = arithmetic.pca_space(everything.images[chosen[:3]], training.fit_pca(seen, 4))
    made = arithmetic.compose(space, arithmetic.Equation(0, 1, 2, None, []), "difference")[0]
    error = (made - to_float(everything.images[chosen[3]])).square().mean().item()
    assert metrics["pca_arithmetic"]["mse_to_truth"] == pytest.approx(error, abs=1e-6)


def test_every_option_that_decides_the_result_is_in_the_folders_name(monkeypatch, tiny_run, tmp_path):
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/autoencoder", "m", "a/m", "m/seed-2"):
        shutil.copytree(tiny_run, folder)
    opened = []
    monkeypatch.setattr(composite.runs, "opened", lambda config, pictures: opened.append((config.out, config.plots)))

    def folders(**options) -> tuple[Path, Path]:
        with pytest.raises(TypeError):  # what is opened is no run
            composite.main(composite.Config(**options))
        return opened.pop()

    assert folders() == (Path("runs/composite"), Path("plots"))
    assert folders(target="🐶", featured="heart eyes") == folders(target="dog face", featured=":heart_eyes:")
    assert folders(target="🐶", out=Path("o"), plots=Path("p")) == (Path("o"), Path("p"))
    places = [folders(**options) for options in OTHER_OPTIONS]
    assert len({Path("runs/composite"), *(out for out, _ in places)}) == 1 + len(OTHER_OPTIONS)
    assert all(out == plots and out.parent == Path("runs") for out, plots in places)


def test_over_seeds_by_the_networks_of_these_seeds(command, tiny_run, tmp_path):
    for seed in (0, 1):
        shutil.copytree(tiny_run, tmp_path / f"networks/seed-{seed}")
    status, output, error = command(composite, "--model", "networks", "--seeds", 2, "--out", "composites")
    assert status == 0 and "mse to truth: " in output and "± 0.0000, n = 2" in output, error
    assert '"model": "networks/seed-1"' in (tmp_path / "composites/seed-1/run.json").read_text()
