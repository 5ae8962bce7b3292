"""Which emoji count as one: thousands of pictures, in bounded time and memory."""

import pytest
import torch

from common.names import twin_keys


@pytest.fixture
def noise():
    """A function that draws (count, 3, 64, 64) uint8 pictures of noise, no two alike."""
    generator = torch.Generator().manual_seed(0)
    return lambda count: torch.randint(2, 250, (count, 3, 64, 64), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("spread", [0, 2])  # in grey levels: the same picture, and nearly the same
def test_a_thousand_like_pictures_are_one(noise, spread, monkeypatch):
    """Compared in full are few pairs, not the half million there are: those would take minutes."""
    images = noise(1)[0] + torch.randint(0, spread + 1, (1000, 3, 64, 64), dtype=torch.uint8)
    images[::2] = images[::2].flip(3)
    compared, full = [], torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: compared.append(len(tensor)) or full(tensor))
    assert set(twin_keys([f"face {i}" for i in range(1000)], images)) == {"face 0"}
    assert sum(compared) < 10_000


def test_like_pictures_are_connected_over_others_and_over_names(noise):
    """a is like b, b like c, c has the name of d, and d is e mirrored; f is alone."""
    a, d, f = noise(3)
    images = torch.stack([a, a + 2, a + 4, d, d.flip(2), f])
    names = ["e", "b", "face type 3", "face type 4", "a", "f"]
    assert twin_keys(names, images) == ["a"] * 5 + ["f"]
    assert twin_keys([], images[:0]) == []


def test_keys_are_those_of_comparing_every_pair(noise):
    """Steps of brightness on both sides of what counts as alike, in any order, some mirrored."""
    picture = noise(1)[0].clamp(max=150)
    steps = torch.tensor([0, 5, 10, 30, 35, 70, 82, 93]).to(torch.uint8)
    images = torch.stack([picture + step for step in steps])[torch.tensor([3, 6, 0, 5, 1, 7, 4, 2])]
    images[1::3] = images[1::3].flip(3)
    flat, mirrored = (view.flatten(1).double() / 255 for view in (images, images.flip(3)))
    alike = sum((view[:, None] - flat).square().mean(2) < 0.002 for view in (flat, mirrored)) > 0
    reached = torch.linalg.matrix_power(alike.double(), 8) > 0
    keys = twin_keys([f"face {i}" for i in range(8)], images)
    assert keys == [f"face {row.nonzero().min()}" for row in reached]
