"""Latent arithmetic and its scores."""

import pytest
import torch

import data
from lab import arithmetic
from lab.arithmetic import Space

# ---------------------------------------------------------------- arithmetic


@pytest.fixture
def identity():
    """A space in which pictures are their own latents, and nothing is clipped."""
    latents = torch.rand(6, 3 * 4 * 4, generator=data.generator("identity", 0))
    return Space(latents, lambda z: z.unflatten(1, (3, 4, 4)))


def test_difference_is_target_plus_featured_minus_baseline(identity):
    z = identity.latents
    attribute = arithmetic.ATTRIBUTES["difference"](z, 0, 1, 2, [])
    assert torch.allclose(identity.decode((z[0] + attribute)[None])[0].flatten(), z[0] + z[2] - z[1])


def test_every_attribute_is_exact_where_cats_are_humans_plus_a_constant():
    generator = data.generator("humans", 0)
    humans = torch.rand(9, 3, generator=generator) @ torch.rand(3, 40, generator=generator)  # eight pairs span them all
    z = torch.cat([humans + 3, humans])  # cat k is row k, its counterpart row 9 + k
    known = [(k, 9 + k) for k in range(9) if k != 5]
    for name in ("difference", "mean"):
        assert torch.allclose(z[0] + arithmetic.ATTRIBUTES[name](z, 0, 9, 14, known), z[5], atol=1e-5)
    # the map shrinks towards the mean cat, but must get nearer to the answer than that is
    mapped = z[0] + arithmetic.ATTRIBUTES["map"](z, 0, 9, 14, known)
    assert (z[5] - mapped).norm() < 0.7 * (z[5] - z[:9].mean(0)).norm()


def test_isolated_difference_has_no_part_along_other_attributes():
    z = torch.rand(8, 20, generator=data.generator("isolated", 0))
    known = [(0, 4), (1, 5), (2, 6)]
    attribute = arithmetic.ATTRIBUTES["isolated"](z, 0, 7, 3, known)
    for human in (4, 5, 6):
        assert abs(float((z[human] - z[7]) @ attribute)) < 1e-4
    assert attribute.norm() > 0.1


# ---------------------------------------------------------------- scores


def test_errors_are_mean_squares():
    pictures, pool = torch.rand(3, 3, 8, 8), torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    expected = torch.stack([(data.to_float(pool) - picture).square().mean((1, 2, 3)) for picture in pictures])
    assert torch.allclose(arithmetic.squared_errors(pictures, pool), expected, atol=1e-6)


def test_ranks_count_ties_against_us_and_leave_sources_out():
    errors = torch.tensor([[0.1, 0.1, 0.3, 0.05, 0.1], [0.0, 0.0, 0.0, 0.0, 0.0], [0.4, 0.3, 0.2, 0.1, 0.0]])
    # truth 0 ties with 1 and 4 and loses to 3; then 3 and 4 are left out
    assert arithmetic.ranks(errors[:1], [0], [[]]) == [4]
    assert arithmetic.ranks(errors[:1], [0], [[3, 4]]) == [2]
    assert arithmetic.ranks(errors[1:], [2, 4], [[0], [4]]) == [4, 1]


def test_identical_pictures_tie_with_the_truth():
    pool = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8).repeat(2, 1, 1, 1)
    errors = arithmetic.squared_errors(data.to_float(pool[:1]), pool)
    assert arithmetic.ranks(errors, [0], [[]]) == [2]


def test_similarity_is_perfect_for_the_truth_and_local_in_the_region(faces):
    picture = data.to_float(faces.images[0])
    region = torch.zeros(64, 64, dtype=torch.bool)
    region[:32] = True
    perfect = arithmetic.similarity(picture, picture, region)
    assert perfect["mse_to_truth"] == 0 and perfect["ssim_to_truth"] == pytest.approx(1, abs=1e-4)
    spoiled = picture.clone()
    spoiled[:, 50:] = 1 - spoiled[:, 50:]
    outside = arithmetic.similarity(spoiled, picture, region)
    assert outside["mse_in_region"] == 0 < outside["mse_to_truth"] and outside["ssim_to_truth"] < 1
