"""Figures: small files, written whole, that hide nothing and show what their labels say."""

from types import SimpleNamespace

import matplotlib
import pytest
import torch
from PIL import Image

import autoencoder
import data
from lab import figures, networks, training
from lab.networks import decode_all, encode_all
from lab.options import DataOptions
from lab.pictures import generator
from lab.training import Trained


def test_figures_are_small_whatever_the_titles_are(command, tmp_path, tiny_run, faces):
    status, output, error = command(data)
    assert status == 0 and not error and "206 of twemoji" in output and "figure plots/contact_sheet.png" in output
    images, folder = faces.images[:30], tmp_path / "plots"
    odd = "$\\frac{$"
    figures.reconstructions([(odd, images[:3])] * 2, [odd, "x" * 10**4, "a"], folder / "rows.png")
    figures.equation(images[:3], images[:4], ["$"] * 4, "−+=", (images[3], "$"), "formula", folder / "equation.png")
    points = torch.randn(30, 2, generator=generator("points", 0))
    figures.latent_map(points, images, [0, 1] * 15, ["one", "two"], "map", folder / "map.png")
    found = [*folder.iterdir(), *(tiny_run.parent / "plots").iterdir()]
    assert len(found) == 6
    for path in found:
        with Image.open(path) as picture:
            assert picture.format == "PNG" and 300 < picture.width < 2000 > picture.height, path
        assert path.stat().st_size < 200_000, path


def test_letters_have_a_font_if_one_is_installed_and_no_warning_if_none_is(made, tmp_path, monkeypatch, recwarn):
    installed = [__file__, f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSansMono.ttf"]  # the first is none
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: installed)
    text = figures.new_figure(1, 1).text(0, 0, "a⌒笑")
    figures.choose_fonts([text])
    assert text.get_fontfamily() == ["DejaVu Sans", "DejaVu Sans Mono"]
    figures.contact_sheet(made(["a"]).images, "⌒ 笑 हँ وجه", tmp_path / "figure.png")
    assert not recwarn


@pytest.mark.parametrize("spread", [0.0, 0.1, 10.0])
def test_pictures_on_a_map_hide_none_of_the_others_and_stay_near_their_points(spread):
    points = spread * torch.randn(40, 2, generator=generator("points", 0))
    places = figures.free_places(points, 1.0)
    gaps = (places[:, None] - places).abs().amax(2) + 9 * torch.eye(40)
    assert gaps.min() > 0.98 and torch.equal(places[0], points[0])
    moved = (places - points).norm(dim=1)
    assert moved.max() < 9 and (spread < 10 or moved.median() == 0)  # a block of 40 is 7 wide


def save_half(path, *_, **options):
    path.write_bytes(b"half")
    raise OSError("the disk is full")


def test_an_error_leaves_the_earlier_figure(tmp_path, made, monkeypatch):
    path = figures.contact_sheet(made(["a"]).images, "first", tmp_path / "figure.png")
    before = path.read_bytes()
    monkeypatch.setattr(Image.Image, "quantize", lambda *_: SimpleNamespace(save=save_half))
    with pytest.raises(OSError):
        figures.contact_sheet(made(["b"]).images, "second", path)
    assert path.read_bytes() == before


def test_part_1_draws_pictures_and_what_pca_and_the_networks_make_of_them(made, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "reconstructions", lambda rows, titles, path: drawn.update(rows=rows, titles=titles))
    splits = data.split(made([f"face {letter}" for letter in "abcdefghij"]), DataOptions(copies="none"))
    own, other = (networks.build("convolutional", 4).eval() for _ in range(2))
    pca = training.fit_pca(splits.train.images, 3)
    metrics = {"preset": "coursework", "network": "convolutional", "test_mse": 1, "pca_components": 3, "pca_mse": 2}
    metrics |= {"mean_image_mse": 3, "styles": {splits.pictures.source: {"pca_mse": 2, "pca_components": 3}}}
    history = [{"epoch": 1, "train_loss": 1, "val_loss": 1}]
    references = [(other, {"preset": "best", "network": "folder/mine.py:Mine", "test_mse": 4})]
    config = SimpleNamespace(preset="coursework", plots=tmp_path, hold_out_style=None)
    autoencoder.draw(Trained(own, history, pca), splits, metrics, references, config)
    images = splits.pictures.images[splits.test.emoji]
    expected = {
        "picture": images,
        "PCA, 3 components\ntest MSE 2.0000": training.pca_reconstructions(pca, images),
        "mine.py:Mine,\ntrained as the best preset\ntest MSE 4.0000": decode_all(other, encode_all(other, images)),
        "coursework's network\ntest MSE 1.0000": decode_all(own, encode_all(own, images)),
    }
    assert [label for label, _ in drawn["rows"]] == [*expected]
    assert all(torch.equal(found, expected[label]) for label, found in drawn["rows"])
    assert drawn["titles"] == [splits.pictures.names[i] for i in splits.test.emoji]
