"""composite.py: which pictures it takes, and where its records and figures go."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import composite
import data
from conftest import keep_as
from lab import arithmetic, baselines, composites, trained
from lab.options import ReportRun

pytestmark = pytest.mark.usefixtures("decoded_once")
FIGURES = {f"composite_{name}.png" for name in ("equation", "side_by_side", "strip", "directions")}


@pytest.fixture
def config(network, tmp_path):
    return composite.Config(source="twemoji", model=network, out=tmp_path / "run", plots=tmp_path / "plots")


# ---------------------------------------------------------------- sources


def test_the_hub_is_not_asked_where_the_record_says_twemoji(command, network, tmp_path):
    """Though Part 1 was asked for `auto`: that would say that the Hub is out of reach."""
    folder = keep_as(tmp_path / "auto", network, lambda run: {**run, "config": {**run["config"], "source": "auto"}})
    for source in ((), ("--source", "twemoji")):
        status, output, error = command(composite, "--model", folder, *source)
        assert status == 0 and "source:" not in output, error
    assert command(data, "--plots", tmp_path)[1].startswith("source: twemoji, the stand-in: ")  # as it would be


def test_other_pictures_than_the_networks_beside_a_pca_of_the_networks(config, six, everything):
    """The composite's pictures come from --source, and the PCA is that of what the network was trained on."""
    options = {"target": "dog face", "featured": "crying face", "truth": "cow face"}
    metrics = composite.main(replace(config, source=str(six), **options))
    assert (metrics["source"], metrics["network_source"]) == (str(six), "twemoji")
    model, trained_on = trained.network(ReportRun(source="twemoji", out=config.model, plots=config.model))
    seen = trained.splits_of(model, trained_on).train.images
    assert len(seen) > 6
    asked = [everything.names.index(name) for name in ("dog face", "grinning face", "crying face")]
    space = arithmetic.pca_space(everything.images[asked], baselines.fit_pca(seen, model.latent))
    made = composites.compose(space, composites.Equation(0, 1, 2, None, []), "difference", [1.0])
    error = (made[0] - data.to_float(everything.images[everything.names.index("cow face")])).square().mean()
    assert metrics["pca_arithmetic"]["mse_to_truth"] == pytest.approx(float(error), abs=1e-6)


# ---------------------------------------------------------------- where things go


def test_another_triple_is_another_folder_and_the_same_one_again_the_same(command, network, tmp_path):
    def run(*options):
        status, output, error = command(composite, "--model", "runs/autoencoder", *options)
        assert status == 0, error
        folder, figures = re.search(r"^record in (.*)/, figures in (.*)/composite_\*\.png$", output, re.M).groups()
        assert json.loads((tmp_path / folder / "metrics.json").read_text())
        assert {path.name for path in (tmp_path / figures).glob("*.png")} == FIGURES
        return folder, figures

    keep_as(tmp_path / "runs/autoencoder", network)
    assert run() == ("runs/composite", "plots")
    kept = {path: path.stat().st_mtime_ns for path in [*(tmp_path / "plots").iterdir(), tmp_path / "runs/composite"]}
    dog = run("--target", "🐶", "--featured", "heart eyes")
    assert dog == ("runs/composite-dog-plus-heart-eyes",) * 2
    assert run("--target", "dog face", "--featured", ":heart_eyes:") == dog  # one emoji, however it is named
    assert run("--strength", "-0.5", "--method", "mean")[0] == "runs/composite-mean-strength--0.5"
    assert run("--target", "🐶", "--out", "o", "--plots", "p") == ("o", "p")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.parametrize(
    "options",
    [
        {"target": "fox face"}, {"baseline": "🐶"}, {"featured": "crying face"}, {"truth": "cat face"}, {"seed": 2},
        {"strength": 2.0}, {"strength": -2.0}, {"method": "map"}, {"model": Path("m")}, {"network": "my.py:Mine"},
    ],
)  # fmt: skip
def test_every_option_that_decides_the_result_is_in_the_folders_name(everything, options):
    def settled(**options):
        config = composite.Config(**options)
        config = replace(config, model=config.model or composite.default_model(config.seed))
        return composite.settled(config, everything, composite.equation_of(config, everything), "twemoji")

    usual, other = settled(), settled(**options)
    assert (usual.out, usual.plots) == (Path("runs/composite"), Path("plots"))
    assert other.out.name.startswith("composite-") and other.plots == other.out and other.out.parent == Path("runs")
    assert settled(**{**options, "strength": 3.0}).out != other.out


def test_another_seed_is_another_network_trained_on_the_same_pictures(command, network, tmp_path, six):
    """Those that the record of seed 0 names, and nobody asks the Hub."""
    keep_as(tmp_path / "runs/autoencoder", network, lambda run: {**run, "source": str(six)})
    status, output, error = command(composite, "--target", "dog face", "--featured", "crying face", "--seed", "4")
    assert status == 0 and "no trained network in runs/autoencoder-seed-4" in output and "source:" not in output, error
    metrics = json.loads((tmp_path / "runs/composite-dog-plus-cry-seed-4/metrics.json").read_text())
    assert (metrics["network_seed"], metrics["network_source"]) == (4, str(six))
    assert json.loads((tmp_path / "runs/autoencoder-seed-4/run.json").read_text())["config"]["seed"] == 4


def test_what_the_network_does_not_know_is_said(config, capsys):
    metrics = composite.main(replace(config, target="🍕", featured="pouting cat"))
    said = "the network knows only emoji with 'cat face' in their names: expect little of 'slice of pizza', 'grinning"
    assert said in capsys.readouterr().out
    assert metrics["unknown_to_network"] == ["slice of pizza", "grinning face"]
