"""Part 3: names in any spelling, and composite.py."""

import json
import os
from dataclasses import asdict, replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import autoencoder
import composite
import data
from common import names
from common.errors import UserError
from lab import arithmetic, networks, records, trained
from lab.contract import decode_all, encode_all
from lab.convolutional import ConvAutoencoder
from lab.multitask import MultiTaskAutoencoder
from lab.options import ReportRun

pytestmark = pytest.mark.usefixtures("decoded_once")
CPU = torch.device("cpu")

# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    "query, expected",
    [
        ("grinning face", "grinning face"),  # exact, though other names contain it
        ("Smiling Face With HEART-SHAPED eyes", "smiling face with heart shaped eyes"),
        ("😍", "smiling face with heart shaped eyes"),
        ("☹️", "frowning face"),
        ("star eyes", "grinning face with star eyes"),  # the only name that contains it
    ],
)
def test_names_in_any_spelling_or_as_a_character(faces, query, expected):
    assert faces.names[names.find(faces.names, query)] == expected


def test_skin_tones_of_a_character(faces):
    plain, light, dark = (names.find(faces.names, query) for query in ("🙎", "🙎🏻", "🙎🏿"))
    assert plain == names.find(faces.names, "person with pouting face") == light - 1 == dark - 5


@pytest.mark.parametrize(
    "query, nearest",
    [
        ("grining face", "grinning face"),
        ("cat face with", "cat face with tears of joy"),
        ("🚂", "steam|face"),
        ("", "did you mean"),
    ],
)
def test_unclear_names_list_the_nearest(faces, query, nearest):
    with pytest.raises(UserError, match=f"did you mean.*({nearest})|{nearest}"):
        names.find(faces.names, query)


# ---------------------------------------------------------------- the script


def keep(model, folder, **data_options):
    """The folder of a run, as a training leaves it, but for the training."""
    folder.mkdir(exist_ok=True)
    trained_on = data.DataConfig(**{"source": "twemoji", "keyword": "cat face", "copies": 1, **data_options})
    originals = data.load_originals(trained_on.source, trained_on.keyword)
    networks.save(model.eval(), originals, CPU, folder)
    (folder / "run.json").write_text(json.dumps({"source": trained_on.source, "config": asdict(trained_on)}))
    (folder / "metrics.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    torch.manual_seed(0)
    return keep(ConvAutoencoder(latent=4), tmp_path_factory.mktemp("network"))


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
    assert len(list(config.plots.glob("composite_*.png"))) == 3


@pytest.mark.parametrize("method", ["mean", "isolated", "map"])
def test_other_methods_and_no_truth(config, method):
    metrics = composite.main(replace(config, target="dog face", featured="😍", method=method))
    assert metrics["truth"] is None and "mse_to_truth" not in metrics


def test_strength_0_is_the_reconstruction_of_the_target(network):
    model, images = networks.load(network), data.load_originals("twemoji", "cat face").images[:3]
    equation = composite.Equation(0, 1, 2, None, [])
    composites = composite.compose(arithmetic.network_space(model, images, CPU), equation, "difference", [0.0])
    assert torch.equal(composites, decode_all(model, encode_all(model, images, CPU)[:1], CPU))


@pytest.fixture
def six(tmp_path, everything):
    """A source of six pictures, three of them for a composite."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    asked = [names.find(everything.names, name) for name in ("dog face", "grinning face", "crying face")]
    for i in [*asked, *(everything.names.index(name) for name in ("cow face", "pig face", "frog face"))]:
        Image.fromarray(everything.images[i].permute(1, 2, 0).numpy()).save(folder / f"{everything.names[i]}.png")
    return folder


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
    assert composite.formula(composite.Config()) == (("", "+", "−", "="), "composite")
    signs, label = composite.formula(composite.Config(**options))
    assert not {"+", "−", "="} & set(signs) and said in label


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
        (None, ["--target", "grining face"], "did you mean grinning face"),
        (None, ["--featured", "cat face with"], "matches 6 emoji; did you mean cat face with tears of joy, "),
        (None, ["--strength", "nan"], "--strength is nan"),
        (of_the_hub, [], f"was trained on {records.source_label('hub')}, not twemoji"),
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
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in network.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    if damage:
        damage(folder)
    status, _, error = command(composite, "--source", "twemoji", "--model", folder, *arguments)
    assert status == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "sprung").exists() and not list(tmp_path.glob("runs/composite/*.json"))
