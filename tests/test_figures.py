"""What is drawn where: pictures that hide nothing, and titles that say what they show."""

import pytest
import torch
from PIL import Image

import autoencoder
import data
from common import charts, sources
from lab import baselines, presets
from lab.convolutional import ConvAutoencoder


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 10.0])
def test_pictures_on_a_map_hide_none_of_the_others_and_stay_near_their_points(spread):
    points = spread * torch.randn(40, 2, generator=data.generator("points", 0))
    places = charts.free_places(points, 1.0)
    gaps = (places[:, None] - places).abs().amax(2) + 9 * torch.eye(40)
    assert gaps.min() > 0.98
    assert torch.equal(places[0], points[0])
    moved = (places - points).norm(dim=1)
    assert moved.max() < 9 and (spread < 10 or moved.median() == 0)  # a block of 40 is 7 wide


def test_a_map_is_drawn_of_one_point_and_of_too_many(tmp_path):
    for count in (1, charts.MOST + 20):
        images, labels = torch.zeros(count, 3, 8, 8, dtype=torch.uint8), [0] * count
        path = charts.latent_map({"a": torch.zeros(count, 2)}, images, labels, ["x", "y"], [0], tmp_path / "map.png")
        assert Image.open(path).width > 300


def test_rows_are_upright_originals_and_what_each_method_makes_of_them(made):
    images = made([f"face {i}" for i in range(5)]).images
    pca, cpu = baselines.fit_pca(images, 3), torch.device("cpu")
    networks = [ConvAutoencoder(4).eval() for _ in range(2)]
    whose = {1.0: "convolutional", 2.0: "folder/mine.py:Mine"}
    metrics = [{"preset": "report", "network": whose[k], "test_mse": k, "pca_mse": 3.0} for k in whose]
    trained = presets.Trained(networks[0], [], pca)
    rows = autoencoder.rows(trained, metrics[0], images, (networks[1], metrics[1]), cpu)
    (_, first), *others = rows
    assert torch.equal(first, images)
    assert [label.replace("\n", ", ") for label, _ in others] == [
        "mine.py:Mine, test MSE 2.0000",
        "PCA, 3 numbers, test MSE 3.0000",
        "original's network, test MSE 1.0000",
    ]
    for (_, pictures), expected in zip(others[::2], networks[::-1]):
        assert torch.allclose(pictures, expected(data.to_float(images)), atol=1e-6)
    part = data.Part(images, torch.arange(5))
    error = (others[1][1] - data.to_float(images)).square().mean().item()
    assert baselines.errors(pca, part)["pca_mse"] == pytest.approx(error, rel=1e-5)
    assert len(autoencoder.rows(trained, metrics[0], images, None, cpu)) == 3


def test_pictures_are_credited_to_those_who_drew_them():
    assert sources.credited("twemoji") == "Twemoji, copyright Twitter, Inc and other contributors (CC-BY 4.0)"
    assert sources.credited("hub").endswith("on the Hugging Face Hub") and sources.credited("my/folder") == "my/folder"
