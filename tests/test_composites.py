"""What is done to one composite: its nearest emoji, and the principal directions beside it."""

import pytest
import torch

import data
from lab import composites
from lab.arithmetic import Space


def test_nearest_leaves_the_sources_out(made):
    originals = made([f"emoji {i}" for i in range(6)])
    picture = data.to_float(originals.images[3])
    for sources, expected in (((0, 1, 2), 3), ((3, 1, 2), None)):
        errors = composites.errors_to_all({"composite": picture}, originals)
        found, error = composites.nearest(errors["composite"], composites.Equation(*sources, None, []))
        others = {i: (data.to_float(originals.images[i]) - picture).square().mean() for i in range(6)}
        kept = {i: value for i, value in others.items() if i not in sources}
        assert found == min(kept, key=kept.get) and error == pytest.approx(float(kept[found]), abs=1e-6)
        assert expected in (None, found) and found not in sources


@pytest.fixture
def stretched():
    """Latents whose principal directions are known: a rotation's rows, with standard deviations that halve."""
    generator = data.generator("stretched", 0)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    free = torch.linalg.qr(torch.cat([torch.ones(50, 1), torch.randn(50, 8, generator=generator)], 1)).Q[:, 1:]
    deviations = 2.0 ** -torch.arange(8)
    return free * 49**0.5 * deviations @ rotation + 3, rotation, deviations


def test_principal_directions_are_those_of_the_latents_and_point_the_attributes_way(stretched):
    latents, rotation, deviations = stretched
    attribute = -2 * rotation[1]
    found = composites.principal_directions(latents, attribute)
    assert torch.allclose(found.deviations, deviations, atol=1e-4)
    assert torch.allclose((found.vectors @ rotation.T).abs(), torch.eye(8), atol=1e-2)
    assert (found.vectors @ attribute > -1e-4).all() and found.vectors[1] @ attribute > 1.9


def test_an_attribute_is_isolated_by_the_direction_that_it_is(stretched):
    latents, rotation, deviations = stretched
    alone = composites.isolation(composites.principal_directions(latents, rotation[6]), rotation[6])
    assert alone["fullest"]["direction"] == 7 and alone["fullest"]["attribute"] == pytest.approx(1, abs=1e-3)
    assert alone["attribute_within"]["5"] < 1e-3 and alone["attribute_within"]["10"] == pytest.approx(1, abs=1e-3)
    expected = deviations.square() / deviations.square().sum()
    assert alone["explained_variance"] == pytest.approx(expected[:5].tolist(), abs=1e-4)
    mixed = rotation.sum(0)
    spread = composites.isolation(composites.principal_directions(latents, mixed), mixed)
    assert spread["attribute_in_direction"] == pytest.approx([1 / 8] * 5, abs=1e-2)


@pytest.mark.parametrize("latents", [torch.ones(5, 3), torch.eye(3)[:2]])
def test_few_or_equal_latents_and_no_attribute_stay_finite(latents):
    none = torch.zeros(3)
    found = composites.principal_directions(latents, none)
    shares = composites.isolation(found, none)
    assert shares["attribute_within"]["5"] == 0 and all(value == value for value in shares["variance_within"].values())
    rows = composites.walks(Space(latents, lambda z: z.reshape(-1, 3, 1, 1)), latents[0], found, none)
    assert rows.shape == (len(found.vectors) + 1, 5, 3, 1, 1) and rows.isfinite().all()


def test_walks_go_by_standard_deviations_and_by_strengths(stretched):
    latents, rotation, deviations = stretched
    space = Space(latents, lambda z: z[:, :, None, None])
    attribute = rotation[0] + rotation[1]
    rows = composites.walks(space, latents[0], composites.principal_directions(latents, attribute), attribute)
    assert torch.allclose(rows[0, 4, :, 0, 0], latents[0] + 2 * deviations[0] * rotation[0], atol=1e-2)
    assert torch.allclose(rows[-1, 0, :, 0, 0], latents[0] - 2 * attribute, atol=1e-5)
    assert len(rows) == 6 and torch.allclose(rows[:, 2, :, 0, 0], latents[0].expand(6, -1), atol=1e-5)
