"""Latent arithmetic: spaces, attributes, ranks and scores, principal directions. And transplants of features."""

import numpy as np
import pytest
import torch

from lab import arithmetic, training, transplant
from lab.arithmetic import ATTRIBUTES, Equation, Space, resolve_emoji
from lab.cli import UserError
from lab.networks import ConvAutoencoder, encode_all
from lab.pictures import generator, to_float
from studies import families


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
    attributes = {name: ATTRIBUTES[name](z, 0, 9, 14, known) for name in ("difference", "mean")}
    assert torch.equal(attributes["difference"], z[14] - z[9])
    assert torch.allclose(z[0] + attributes["mean"], z[5], atol=1e-5)


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
    equation = arithmetic.equation(everything, target, baseline, featured, truth, "mean")
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
    alone = arithmetic.isolation(found, rotation[6])
    assert alone["fullest"] == {"direction": 7, "attribute": pytest.approx(1, abs=1e-3)}
    assert alone["attribute_within"] == pytest.approx({"5": 0, "10": 1, "20": 1, "50": 1}, abs=1e-3)
    variance = deviations.square() / deviations.square().sum()
    assert alone["variance_within"]["5"] == pytest.approx(variance[:5].sum().item(), abs=1e-4)


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


PALE, GREEN = (1.0, 0.8, 0.3), (0.4, 0.7, 0.3)


def face(eyes: int, mouth: int, colour=PALE, centre: int = 32, radius: int = 28) -> torch.Tensor:
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


def test_a_target_stays_as_it_is_when_baseline_and_featured_have_the_same_features(everything):
    cats, humans = (to_float(everything.images[row]) for row in families.cats(everything))
    assert torch.equal(transplant.transplant(cats, humans, humans), cats)
    noise = torch.rand(9, 3, 64, 64, generator=generator("noise", 0))
    assert torch.equal(transplant.transplant(noise, humans, humans), noise)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_pictures_without_a_head_make_composites_too(level):
    plain, happy, sad = torch.full((3, 64, 64), level), face(24, 46), face(20, 50)
    for sources in ((plain, happy, sad), (happy, plain, sad), (happy, sad, plain), (plain, plain, plain)):
        made = compose(*sources)
        assert made.isfinite().all() and made.min() >= 0 and made.max() <= 1


def test_a_change_of_colours_recolours_if_nothing_else_changes():
    dark = (0.6, 0.4, 0.2)
    composite = compose(face(20, 50), face(24, 46), face(24, 46, dark))
    assert (composite - face(20, 50, dark)).abs().mean() < 0.02
    angry = compose(face(20, 50), face(24, 46), face(28, 44, (0.9, 0.2, 0.2)))
    assert (angry - face(28, 44)).abs().mean() < 0.02  # its features, not its red


def drop(picture: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
    """The picture with a blue rectangle: a tear, or large eyes."""
    picture = picture.clone()
    picture[:, rows, columns] = torch.tensor([0.3, 0.6, 1.0])[:, None, None]
    return picture


def test_the_box_is_of_the_head_and_parts_move_and_scale_as_boxes_do():
    boxes = [transplant.take_apart(each.numpy()).box.tolist() for each in (face(24, 46), face(30, 44, PALE, 36, 20))]
    assert boxes == [pytest.approx([4, 61, 4, 61], abs=1), pytest.approx([16, 57, 12, 53], abs=1)]
    parts = np.zeros((4, 64, 64))
    parts[:, 20:24, 30:34] = 1
    placed = transplant.from_box_to_box(parts, np.array([0.0, 64, 0, 64]), np.array([32.0, 64, 16, 48]))[0]
    assert np.argwhere(placed > 0.5).mean(0) == pytest.approx([32 + 11 - 0.5, 16 + 16 - 0.5], abs=1)


@pytest.mark.parametrize("rows, columns", [(slice(14, 34), slice(8, 30)), (slice(30, 44), slice(0, 12))])
def test_large_features_and_tears_leave_nothing_behind(rows, columns):
    green = face(24, 46, GREEN, radius=25)
    green = torch.where(green.amin(0) < 1, green, face(24, 46, (0.0, 0.0, 0.0)))  # with an outline
    bare = compose(drop(green, rows, columns), drop(face(24, 46), rows, columns), face(24, 46))
    assert (bare - green).abs().mean() < 0.006  # neither blue nor a ghost, and the outline goes on


def test_a_tear_goes_though_little_of_it_is_covered_and_a_nose_beside_a_feature_stays():
    nose = (slice(None), slice(40, 45), slice(22, 27))  # two pixels from the tear
    cat = drop(face(26, 50, GREEN), *nose[1:])
    target, baseline = drop(cat, slice(38, 50), slice(10, 20)), drop(face(26, 50), slice(30, 40), slice(12, 22))
    featured = face(26, 50)
    featured[:, 29:32, 22:42] = 0.1
    made = compose(target, baseline, featured)
    assert (made - cat)[:, 38:48, 10:20].abs().mean() < 0.05
    assert torch.equal(made[nose], cat[nose])


def test_features_beyond_a_head_stay_in_the_picture():
    small = face(30, 40, PALE, 32, 18)
    made = compose(face(24, 46, PALE, 32, 31), small, drop(small, slice(28, 38), slice(6, 20)))
    assert (made[0] < 0.4)[28:34, :24].any(0).sum() > 20  # whole, not cut off by the edge


def test_a_target_without_a_head_is_said(capsys):
    line = torch.ones(3, 64, 64)
    line[:, 31:33, 4:60] = 0
    assert (compose(line, face(24, 46), face(20, 50)) - line).abs()[:, 16:48, 16:48].sum() > 50
    assert capsys.readouterr().out == "no head found: the features are put in the middle\n"


def test_composites_of_twemoji_stay_in_range_and_keep_the_head(everything):
    names = ("smiling cat face with open mouth", "grinning face", "smiling face with heart shaped eyes")
    target, baseline, featured = (to_float(everything.images[resolve_emoji(everything, "emoji", n)]) for n in names)
    composite = compose(target, baseline, featured)
    assert composite.min() >= 0 and composite.max() <= 1
    red = (composite[0] > 0.7) & (composite[1] < 0.35)
    assert red.sum() > 300  # hearts
    assert (composite - target)[:, 40:, :8].abs().mean() < 0.05  # the cat's lower corner
