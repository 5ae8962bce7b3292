"""The batched augmentation against torchvision's."""

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from lab import augmentation
import data


@pytest.fixture
def images(faces):
    return data.to_float(faces.images[10:60:7])


@pytest.mark.parametrize("degrees", [-10.0, 3.7, 10.0])
@pytest.mark.parametrize("flipped", [0.0, 1.0])
def test_warp_is_torchvisions_flip_and_rotation(images, degrees, flipped):
    expected = F.horizontal_flip(images) if flipped else images
    expected = 1 - F.rotate(1 - expected, degrees, interpolation=v2.InterpolationMode.BILINEAR)
    count = len(images)
    warped = augmentation.warp(
        images, torch.full((count,), degrees), torch.full((count,), flipped), torch.ones(count), torch.zeros(count, 2)
    )
    assert torch.allclose(warped, expected, atol=1e-4)


def test_warp_shifts_right_and_down_and_scales_up(images):
    one, zero = torch.ones(len(images)), torch.zeros(len(images))
    shifted = augmentation.warp(
        images, zero, zero, one, torch.tensor([[2 / 64 * 3, 2 / 64 * 5]]).repeat(len(images), 1)
    )
    assert torch.allclose(shifted[:, :, 5:, 3:], images[:, :, :-5, :-3], atol=1e-4)
    assert shifted[:, :, :5].min() > 0.999
    doubled = augmentation.warp(images, zero, zero, 2 * one, torch.zeros(len(images), 2))
    centre = nn_double(images)[:, :, 32:96, 32:96]
    assert torch.allclose(doubled, centre, atol=1e-4)


def nn_double(images):
    return torch.nn.functional.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)


@pytest.mark.parametrize(
    "ours, theirs, values",
    [
        (augmentation.brightness, F.adjust_brightness, (0.8, 1.2)),
        (augmentation.contrast, F.adjust_contrast, (0.8, 1.2)),
        (augmentation.saturation, F.adjust_saturation, (0.8, 1.2)),
        (augmentation.hue, F.adjust_hue, (-0.1, 0.0, 0.1)),
    ],
)
def test_colour_operations_are_torchvisions(images, ours, theirs, values):
    for value in values:
        assert torch.allclose(ours(images, torch.full((len(images),), value)), theirs(images, value), atol=1e-4)
    mixed = torch.linspace(min(values), max(values), len(images))  # each image has its own
    assert torch.allclose(ours(images, mixed)[3], theirs(images[3], mixed[3].item()), atol=1e-4)


def test_augmentation_stays_in_range_and_follows_its_generator(images):
    first, second, other = (augmentation.augment(images, data.generator("test", seed), 0.02) for seed in (0, 0, 1))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert 0 <= first.min() and first.max() <= 1 + 1e-6


def test_mixing_takes_every_pixel_from_between_two_images(images):
    mixed, which = augmentation.mix(images, data.generator("mix", 0), 1.0)
    assert mixed.min() >= 0 and mixed.max() <= 1 and not torch.equal(mixed, images) and which.all()
    mixed, which = augmentation.mix(images, data.generator("mix", 0), 0.0)
    assert torch.equal(mixed, images) and not which.any()
    mixed, which = augmentation.mix(images, data.generator("mix", 0), 0.5)
    assert which.any() and torch.equal(mixed[~which], images[~which])
    alike = images[:1].repeat(4, 1, 1, 1)
    assert torch.allclose(augmentation.mix(alike, data.generator("mix", 0), 1.0)[0], alike, atol=1e-6)
