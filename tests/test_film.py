"""The film shows the training that autoencoder.py makes, epoch by epoch."""

import json

import torch
from PIL import Image, ImageSequence

import autoencoder
import film
from common import figures
from lab import networks
from lab.contract import decode_all, encode_all


def test_a_film_is_of_the_same_training_as_part_1(tmp_path, six, monkeypatch):
    drawn = []

    def kept(images, frames, titles, path):
        drawn[:] = images, frames
        return draw(images, frames, titles, path)

    draw = figures.film
    monkeypatch.setattr(figures, "film", kept)
    tiny = dict(source=str(six), epochs=3, batch_size=8, latent=4, dropout=0.2, device="cpu", plots=tmp_path)
    found = film.main(film.Config(**tiny, every=2))
    autoencoder.main(autoencoder.Config(**tiny, out=tmp_path / "run"))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert found["val_mse"] == [row["val_loss"] for row in rows] and len(rows) == 3
    assert Image.open(found["film"]).n_frames == 2
    images, ((second, before), (third, after)) = drawn
    assert second.startswith("epoch 2 of 3") and third.startswith("epoch 3 of 3") and not torch.equal(before, after)
    cpu, network = torch.device("cpu"), networks.load(tmp_path / "run")
    expected = decode_all(network, encode_all(network, images, cpu), cpu)
    assert torch.allclose(after, expected, atol=1e-5) and not torch.allclose(before, expected, atol=1e-5)


def test_a_film_has_a_frame_for_each_label_and_only_the_reconstructions_change(tmp_path):
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    frames = [(f"epoch {k}", torch.full((2, 3, 8, 8), k / 4)) for k in range(4)]
    film = Image.open(figures.film(images, frames, ["one", "two"], tmp_path / "film.png"))
    pictures = [frame.convert("RGB") for frame in ImageSequence.Iterator(film)]
    assert len(pictures) == 4 and film.info["loop"] == 0
    width, height = film.size
    upper, lower = (0, 0, width, height * 2 // 5), (0, height * 3 // 5, width, height)
    assert len({picture.crop(upper).tobytes() for picture in pictures}) == 1
    assert len({picture.crop(lower).tobytes() for picture in pictures}) == 4


def test_a_film_says_what_is_wrong_with_its_options(command):
    status, _, error = command(film, "--every", "0")
    assert status == 2 and error.count("\n") == 1 and "every" in error
