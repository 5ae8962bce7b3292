"""Faces taken apart and put together: properties, on drawn faces and on Twemoji's."""

import pytest
import torch

from lab import transplant
from lab.arithmetic import resolve_emoji
from lab.pictures import to_float


def face(eyes: int, mouth: int, colour=(1.0, 0.8, 0.3), centre: int = 32, radius: int = 28) -> torch.Tensor:
    """(3, 64, 64): a disc on white with eyes in one row and a mouth in another."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    picture = torch.ones(3, 64, 64)
    picture[:, (y - centre) ** 2 + (x - 32) ** 2 <= radius**2] = torch.tensor(colour)[:, None]
    for column in (22, 42):
        picture[:, eyes - 3 : eyes + 3, column - 3 : column + 3] = 0.1
    picture[:, mouth - 2 : mouth + 2, 24:40] = 0.2
    return picture


def compose(*pictures: torch.Tensor) -> torch.Tensor:
    return transplant.transplant(*(picture[None] for picture in pictures))[0]


def test_features_of_featured_replace_those_of_the_target():
    target, baseline, featured = face(24, 46), face(24, 46), face(20, 50)
    assert (compose(target, baseline, featured) - featured).abs().mean() < 0.01


def test_equal_faces_change_nothing():
    picture = face(24, 46)
    assert torch.allclose(compose(picture, picture, picture), picture, atol=0.02)


def test_a_change_of_colours_recolours():
    pale, dark = (1.0, 0.8, 0.3), (0.6, 0.4, 0.2)
    composite = compose(face(20, 50, pale), face(24, 46, pale), face(24, 46, dark))
    assert (composite - face(20, 50, dark)).abs().mean() < 0.02


def test_boxes_are_of_the_head():
    faces = transplant.take_apart(torch.stack([face(24, 46), face(30, 44, centre=36, radius=20)]))
    assert faces.boxes.tolist() == [pytest.approx([4, 61, 4, 61], abs=1), pytest.approx([16, 57, 12, 53], abs=1)]


def test_parts_move_and_scale_as_boxes_do():
    parts = torch.zeros(1, 2, 4, 64, 64)
    parts[..., 20:24, 30:34] = 1
    import numpy as np

    box, to = np.array([[0.0, 64, 0, 64]]), np.array([[32.0, 64, 16, 48]])
    placed = transplant.from_box_to_box(parts, box, to)[0, 0, 0]
    rows, columns = placed.nonzero().float().mean(0)
    assert rows == pytest.approx(32 + 11 - 0.5, abs=1) and columns == pytest.approx(16 + 16 - 0.5, abs=1)


def test_erased_features_leave_the_head():
    faces = transplant.take_apart(face(24, 46)[None])
    everything = torch.ones(1, 1, 64, 64, dtype=torch.bool).numpy()
    bare = transplant.erase(faces, everything)[0]
    assert (bare[:, 20:28, 20:44] - torch.tensor([1.0, 0.8, 0.3])[:, None, None]).abs().max() < 0.1


def test_composites_of_twemoji_stay_in_range_and_keep_the_head(everything):
    names = ("smiling cat face with open mouth", "grinning face", "smiling face with heart shaped eyes")
    target, baseline, featured = (to_float(everything.images[resolve_emoji(everything, "emoji", n)]) for n in names)
    composite = compose(target, baseline, featured)
    assert composite.min() >= 0 and composite.max() <= 1
    red = (composite[0] > 0.7) & (composite[1] < 0.35)
    assert red.sum() > 300  # hearts
    assert (composite - target)[:, 40:, :8].abs().mean() < 0.05  # the cat's lower corner
