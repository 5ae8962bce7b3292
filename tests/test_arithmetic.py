"""Latent arithmetic: spaces, ways to find an attribute, ranks and scores, principal directions."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from lab import arithmetic, training
from lab.arithmetic import ATTRIBUTES, Equation, Space
from lab.cli import UserError
from lab.networks import ConvAutoencoder, encode_all
from lab.pictures import generator, to_float


def random(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=generator("random", sum(shape)))


def test_spaces_decode_what_they_encode(faces):
    images, model = faces.images[:12], ConvAutoencoder(latent=6)
    for space in (arithmetic.pixel_space(images), arithmetic.pca_space(images, training.fit_pca(images, 12))):
        assert torch.allclose(space.decode(space.latents), to_float(images), atol=1e-4)
    space = arithmetic.network_space(model, images)
    assert torch.equal(space.latents, encode_all(model, images))
    assert torch.allclose(space.decode(space.latents), model(to_float(images)), atol=1e-6)


def test_attributes_where_cats_are_humans_plus_a_constant():
    humans = random(9, 3) @ random(3, 40)  # eight pairs span them all
    z = torch.cat([humans + 3, humans])  # cat k is row k, its human row 9 + k
    known = [(k, 9 + k) for k in range(9) if k != 5]
    attributes = {name: ATTRIBUTES[name](z, 0, 9, 14, known) for name in ("difference", "mean", "map")}
    assert torch.equal(attributes["difference"], z[14] - z[9])
    assert torch.allclose(z[0] + attributes["mean"], z[5], atol=1e-5)
    cats, humans = (z[[*rows]].numpy() for rows in zip(*known))
    ridge = Ridge(alpha=np.square(humans - humans.mean(0)).sum() / 8).fit(humans, cats)
    assert np.allclose(z[0] + attributes["map"], ridge.predict(z[[14]].numpy())[0], atol=1e-4)


def test_the_isolated_difference_has_no_part_along_other_attributes():
    z = random(8, 20)
    attribute, others = ATTRIBUTES["isolated"](z, 0, 7, 3, [(0, 4), (1, 5), (2, 6)]), z[[4, 5, 6]] - z[7]
    assert (others @ attribute).abs().max() < 1e-4
    removed = (z[3] - z[7] - attribute)[:, None]  # lies in the others' span
    assert torch.allclose(others.T @ torch.linalg.lstsq(others.T, removed).solution, removed, atol=1e-4)


def test_a_composite_is_the_target_plus_strengths_of_the_attribute():
    space = Space(random(4, 12), lambda z: z.unflatten(1, (3, 2, 2)))
    made, z = arithmetic.compose(space, Equation(0, 1, 2, None, []), "difference", [0.0, 1.0, -2.0]), space.latents
    expected = torch.stack([z[0], z[0] + z[2] - z[1], z[0] - 2 * (z[2] - z[1])])
    assert torch.allclose(made.flatten(1), expected)


def test_the_truth_is_never_among_the_known_pairs(everything):
    asked = "smiling cat face with open mouth", "weary face", "crying face", "crying cat face"
    target, baseline, featured, truth = map(everything.names.index, asked)
    found = [arithmetic.known_truth(everything, changed, featured) for changed in (target, baseline)]
    assert found == [truth, None]
    equation = arithmetic.equation(everything, target, baseline, featured, truth, "map")
    assert len(equation.known) == 8 and truth not in {cat for cat, _ in equation.known}
    small, images = arithmetic.subset(equation, everything)
    for ours, whole in ((small.sources(), equation.sources()), (sum(small.known, ()), sum(equation.known, ()))):
        assert torch.equal(images[[*ours]], everything.images[[*whole]])
    with pytest.raises(UserError, match="learns from cats with human counterparts, of which twemoji has 1"):
        arithmetic.equation(everything.take([target, *equation.known[0], featured]), 0, 2, 3, None, "mean")


def test_errors_are_mean_squares_and_ranks_count_ties_against_the_truth():
    pool = torch.randint(0, 256, (70, 3, 8, 8), dtype=torch.uint8, generator=generator("pool", 0))
    expected = torch.stack([(to_float(pool) - picture).square().mean((1, 2, 3)) for picture in random(3, 3, 8, 8)])
    assert torch.allclose(arithmetic.squared_errors(random(3, 3, 8, 8), pool), expected, atol=1e-6)
    errors = arithmetic.squared_errors(to_float(pool[:1]), torch.cat([pool, pool]))
    assert arithmetic.ranks(errors, [0], [[]]) == [2]  # equal pictures tie in spite of rounding
    errors = torch.tensor([[0.1, 0.1, 0.3, 0.05, 0.1], [0.0] * 5, [0.4, 0.3, 0.2, 0.1, 0.0]])
    # truth 0 ties with 1 and 4 and loses to 3; then 3 and 4 are left out
    assert arithmetic.ranks(errors[[0, 0]], [0, 0], [[], [3, 4]]) == [4, 2]
    assert arithmetic.ranks(errors[1:], [2, 4], [[0], [4]]) == [4, 1]
    assert arithmetic.nearest(errors[0], Equation(3, 1, 0, None, [])) == (4, pytest.approx(0.1))


def test_similarity_is_perfect_for_the_truth_and_local_in_the_region(faces):
    picture, region = to_float(faces.images[0]), torch.zeros(64, 64, dtype=torch.bool)
    region[:32] = True
    perfect = arithmetic.similarity(picture, picture, region)
    assert perfect["mse_to_truth"] == 0 and perfect["ssim_to_truth"] == pytest.approx(1, abs=1e-4)
    outside = arithmetic.similarity(torch.cat([picture[:, :50], 1 - picture[:, 50:]], 1), picture, region)
    assert outside["mse_in_region"] == 0 < outside["mse_to_truth"]
    assert outside["ssim_to_truth"] < 0.99 < outside["ssim_in_region"]


@pytest.fixture
def stretched():
    """Latents whose principal directions are known: a rotation's rows, with standard deviations that halve."""
    normal = torch.randn(50, 16, generator=generator("stretched", 0))
    rotation, deviations = torch.linalg.qr(normal[:8, :8]).Q, 2.0 ** -torch.arange(8)
    free = torch.linalg.qr(torch.cat([torch.ones(50, 1), normal[:, 8:]], 1)).Q[:, 1:]
    return free * 7 * deviations @ rotation + 3, rotation, deviations


def test_principal_directions_are_orthogonal_and_point_the_attributes_way(stretched):
    latents, rotation, deviations = stretched
    found, other = (arithmetic.principal_directions(latents, sign * rotation[1]) for sign in (1, -1))
    assert found.vectors[1] @ rotation[1] > 0.99 and other.vectors[1] @ rotation[1] < -0.99
    assert torch.allclose(found.vectors @ found.vectors.T, torch.eye(8), atol=1e-5)
    assert torch.allclose((found.vectors @ rotation.T).abs(), torch.eye(8), atol=1e-2)
    assert torch.allclose(found.deviations, deviations, atol=1e-4)
    alone, mixed = (arithmetic.isolation(found, attribute) for attribute in (rotation[6], rotation.sum(0)))
    assert alone["fullest"] == {"direction": 7, "attribute": pytest.approx(1, abs=1e-3)}
    assert alone["attribute_within"] == pytest.approx({"5": 0, "10": 1, "20": 1, "50": 1}, abs=1e-3)
    variance = deviations.square() / deviations.square().sum()
    assert alone["explained_variance"] == pytest.approx(variance[:5].tolist(), abs=1e-4)
    assert mixed["attribute_in_direction"] == pytest.approx([1 / 8] * 5, abs=1e-2)


def test_walks_go_by_standard_deviations_and_by_strengths(stretched):
    latents, rotation, deviations = stretched
    attribute, space = rotation[0] + rotation[1], Space(latents, lambda z: z[:, :, None, None])
    found = arithmetic.principal_directions(latents, attribute)
    rows = arithmetic.walks(space, latents[0], found, attribute)[..., 0, 0]
    assert torch.allclose(rows[0, 4], latents[0] + 2 * deviations[0] * rotation[0], atol=1e-2)
    assert torch.allclose(rows[-1, 0], latents[0] - 2 * attribute, atol=1e-5)
    assert len(rows) == 6 and torch.allclose(rows[:, 2], latents[0].expand(6, -1), atol=1e-5)
    alike = arithmetic.principal_directions(torch.ones(5, 8), attribute)  # no variance, so no direction
    assert arithmetic.isolation(alike, attribute)["fullest"] is None
