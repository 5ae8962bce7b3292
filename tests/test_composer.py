"""The learned composer: what it takes for a head and its features, what it keeps, and where it puts what is new."""

from dataclasses import replace

import pytest
import torch

import composite
import data
from lab import arithmetic, composites, families, features
from lab.composer import COMPOSER, COMPOSERS, Composer, material
from lab.composites import Equation

YELLOW, GREEN, BLACK, RED, WHITE = (
    (1.0, 0.8, 0.3),
    (0.3, 0.7, 0.3),
    (0.1, 0.1, 0.1),
    (0.85, 0.15, 0.25),
    (1.0, 1.0, 1.0),
)
LEVEL = Composer(eyes=0.0, mouth=0.0)


def painted(*areas: tuple, ground: tuple = WHITE) -> torch.Tensor:
    """(1, 3, 64, 64): disks of (row, column, radius, colour) on a ground, the later ones over the others."""
    picture = torch.tensor(ground)[:, None, None].repeat(1, 64, 64)
    place = torch.arange(64) + 0.5
    for row, column, radius, colour in areas:
        disk = (place[:, None] - row) ** 2 + (place - column) ** 2 <= radius**2
        picture = torch.where(disk, torch.tensor(colour)[:, None, None], picture)
    return picture[None]


def face(colour: tuple, eyes: tuple, row: float = 32, column: float = 32, radius: float = 28) -> torch.Tensor:
    """A head with two eyes of a colour and a black mouth, all of it as large as the head."""
    part = radius / 28
    sides = [(row - 8 * part, column + side * 9 * part, 5 * part, eyes) for side in (-1, 1)]
    return painted((row, column, radius, colour), *sides, (row + 12 * part, column, 4 * part, BLACK))


# ---------------------------------------------------------------- what is kept


@pytest.mark.usefixtures("decoded_once")
def test_a_target_is_copied_exactly_where_nothing_has_to_change(everything):
    cats, humans = (data.to_float(everything.images[row]) for row in families.cats(everything))
    for composer in (COMPOSER, COMPOSERS[0]):
        assert torch.equal(composer(cats, humans, humans), cats)
    noise = torch.rand(3, 3, 64, 64, generator=data.generator("noise", 0))
    assert torch.equal(COMPOSER(noise, humans[:3], humans[:3]), noise)


@pytest.mark.parametrize(
    "extreme", [torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64), torch.full((1, 3, 64, 64), 0.5)]
)
def test_pictures_without_a_head_make_composites_too(extreme):
    happy, sad = face(YELLOW, BLACK), face(YELLOW, RED)
    for sources in ((extreme, happy, sad), (happy, extreme, sad), (happy, sad, extreme), (extreme, extreme, extreme)):
        made = COMPOSER(*sources)
        assert made.shape == (1, 3, 64, 64) and made.isfinite().all() and made.min() >= 0 and made.max() <= 1


def test_each_picture_of_a_batch_is_composed_by_itself():
    targets = torch.cat([face(GREEN, BLACK), face(GREEN, BLACK, radius=20, row=40), painted((30, 30, 22, RED))])
    others = [face(YELLOW, colour).expand(3, -1, -1, -1) for colour in (BLACK, RED)]
    together = COMPOSER(targets, *others)
    for one, target in zip(together, targets):
        assert torch.equal(one, COMPOSER(target[None], *(other[:1] for other in others))[0])


# ---------------------------------------------------------------- where what is new goes


@pytest.mark.parametrize("row, column, radius", [(32, 32, 28), (38, 30, 22), (30, 34, 25)])
def test_eyes_go_where_those_of_the_target_were_as_large_as_its_head(row, column, radius):
    made = LEVEL(face(GREEN, BLACK, row, column, radius), face(YELLOW, BLACK), face(YELLOW, RED))
    right = face(GREEN, RED, row, column, radius)
    far = (made - right).abs().amax(1)[0] > 0.2
    assert far.float().mean() < 0.02  # edges of eyes that were scaled
    eye = round(row - 8 * radius / 28), round(column + 9 * radius / 28)
    assert torch.allclose(made[0, :, eye[0], eye[1]], torch.tensor(RED), atol=0.05)
    mouth = made[0, :, round(row + 12 * radius / 28), column]
    assert torch.allclose(mouth, torch.tensor(BLACK), atol=0.05)  # is the same in both others: it stays


def test_learned_numbers_move_eyes_and_mouths_down_on_a_head_of_the_same_size():
    pictures = face(GREEN, GREEN), face(YELLOW, YELLOW), face(YELLOW, RED)
    level, lower = LEVEL(*pictures), Composer(eyes=4.0, mouth=0.0)(*pictures)
    red = [(one[0, 0] - one[0, 1] > 0.4).nonzero().float().mean(0) for one in (level, lower)]
    assert torch.allclose(red[1] - red[0], torch.tensor([4.0, 0.0]), atol=0.3)


def test_ears_and_tears_do_not_move_the_head_and_teeth_are_no_ground():
    plain = features.taken_apart(face(YELLOW, BLACK, radius=24))
    ears = torch.minimum(face(YELLOW, BLACK, radius=24), painted((8, 16, 6, YELLOW), (8, 48, 6, YELLOW)))
    assert features.taken_apart(ears).heads[0] == pytest.approx(plain.heads[0], abs=1.0)
    toothy = face(YELLOW, WHITE)
    faces = features.taken_apart(toothy)
    assert faces.inside[0, 0, 24, 23] and not faces.inside[0, 0, 0, 0]
    assert faces.ink[0, 0, 24, 23] == 1 and faces.ink[0, 0, 32, 32] < 1e-6


def test_what_is_erased_leaves_the_outline_and_outside_the_head_white():
    rows, columns = torch.arange(64)[:, None], torch.arange(64)[None]
    covered = ((rows >= 16) & (rows < 32) & (columns < 30))[None, None]
    outlined = painted((32, 32, 24, BLACK), (32, 32, 21, YELLOW), (24, 24, 4, BLACK))
    crying = painted((32, 32, 21, YELLOW), (24, 24, 4, BLACK), (24, 10, 6, RED))
    kept, dry = (features.erased(features.taken_apart(picture), covered)[0] for picture in (outlined, crying))
    for erased in (kept, dry):
        assert (erased[:, 24, 24] - torch.tensor(YELLOW)).abs().max() < 0.05  # the eye
    outside = (rows - 31.5) ** 2 + (columns - 31.5) ** 2 > 22**2
    assert torch.equal(kept[:, outside], outlined[0][:, outside])
    assert (dry[:, 24, 5:8] == 1).all()  # the tear


def test_a_change_of_colours_is_applied_to_another_shape():
    hand = [painted((32, 32, 24, colour)) for colour in (YELLOW, GREEN)]
    target = painted((24, 20, 9, YELLOW), (44, 44, 12, YELLOW), (44, 44, 4, BLACK))
    right = painted((24, 20, 9, GREEN), (44, 44, 12, GREEN), (44, 44, 4, BLACK))
    assert material(target, *hand).explained.item() > 0.99
    assert torch.allclose(COMPOSER(target, *hand), right, atol=0.01)
    assert material(target, face(YELLOW, BLACK), face(YELLOW, RED)).explained.item() < 0.9


# ---------------------------------------------------------------- as a method of composite.py


@pytest.mark.usefixtures("decoded_once")
def test_the_learned_method_composes_pictures_at_any_strength(everything):
    place = everything.names.index
    sources = [place("smiling cat face with open mouth"), place("grinning face"), place("crying face")]
    small, images = composites.reduced(Equation(*sources, None, []), everything)
    space = composites.space_of("learned", None, images)
    none, half, whole = composites.compose(space, small, "learned", [0.0, 0.5, 1.0])
    pictures = data.to_float(everything.images[sources])
    assert torch.equal(none, pictures[0])
    assert torch.allclose(whole, COMPOSER(*pictures.split(1))[0], atol=1e-6)
    assert torch.allclose(half, (none + whole) / 2, atol=1e-6) and not torch.allclose(none, whole, atol=0.1)


@pytest.mark.usefixtures("decoded_once")
def test_the_learned_composite_is_recorded_beside_the_arithmetic(network, tmp_path):
    config = composite.Config(source="twemoji", model=network, out=tmp_path / "run", plots=tmp_path, overwrite=True)
    metrics, arithmetical = composite.main(replace(config, method="learned")), composite.main(config)
    assert metrics["method"] == "learned" and metrics["rank_of_truth"] == 1
    for other in ("unchanged_target", "pixel_arithmetic", "pca_arithmetic"):
        assert metrics[other] == arithmetical[other]
    assert metrics["mse_to_truth"] != arithmetical["mse_to_truth"]
    one = metrics["mse_to_truth_by_strength"]["strengths"].index(1.0)
    assert metrics["mse_to_truth_by_strength"]["network"][one] == pytest.approx(metrics["mse_to_truth"], abs=1e-6)
    shares = [each["principal_directions"]["attribute_within"]["5"] for each in (metrics, arithmetical)]
    assert shares[0] != shares[1]  # the attribute is what was composed, as the network sees it
    assert set(arithmetic.FORMULAS) >= {"learned"}
