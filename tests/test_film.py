"""The film shows the training that autoencoder.py makes, epoch by epoch."""

import json

import torch
from PIL import Image, ImageSequence

import autoencoder
import film
from common import figures


def test_a_film_is_of_the_same_training_as_part_1(tmp_path, six):
    tiny = dict(source=str(six), epochs=3, batch_size=8, latent=4, dropout=0.2, device="cpu", plots=tmp_path)
    found = film.main(film.Config(**tiny, every=2))
    autoencoder.main(autoencoder.Config(**tiny, out=tmp_path / "run"))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert found["val_mse"] == [row["val_loss"] for row in rows] and len(rows) == 3
    assert Image.open(found["film"]).n_frames == 2  # of the epochs 2 and 3


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
    status, _, error = command(film, "--epochs", "0")
    assert status == 2 and error.count("\n") == 1 and "epochs" in error
