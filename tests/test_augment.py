"""What the best preset is trained on: augmentation as torchvision's, other pictures, and never a tested emoji."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

import data
from lab import augment
from lab.augment import LeakError, Mixture, refuse_leaks
from lab.names import twin_key
from lab.options import DataOptions
from lab.pictures import Part, Pictures, Splits, generator, to_float

CPU = torch.device("cpu")


@pytest.fixture
def images(faces):
    return to_float(faces.images[10:60:7])


@pytest.mark.parametrize("flipped, degrees, scale", [(0.0, -10.0, 1.0), (1.0, 3.7, 1.3), (0.0, 0.0, 2.0)])
def test_warp_is_torchvisions_flip_and_affine_map(images, flipped, degrees, scale):
    """Which turns clockwise, and shifts right and down by pixels."""
    expected, move = functional.horizontal_flip(images) if flipped else images, dict(translate=[3, 5], shear=[0.0, 0.0])
    bilinear = v2.InterpolationMode.BILINEAR
    expected = 1 - functional.affine(1 - expected, -degrees, scale=scale, interpolation=bilinear, **move)
    one, shift = torch.ones(len(images)), torch.tensor([3.0, 5.0]) / 32
    warped = augment.warp(images, degrees * one, flipped * one, scale * one, shift.repeat(len(images), 1))
    assert torch.allclose(warped, expected, atol=1e-4)


@pytest.mark.parametrize("name", augment.COLOURS)
def test_colour_operations_are_torchvisions(images, name):
    values = torch.linspace(-0.1, 0.1, len(images)) + (name != "hue")  # every image has its own
    theirs = getattr(functional, f"adjust_{name}")
    expected = torch.stack([theirs(image, value) for image, value in zip(images, values.tolist())])
    assert torch.allclose(augment.adjust(images, name, values), expected, atol=1e-4)


def test_augmentation_stays_in_range_and_follows_its_generator(images):
    first, again, other = (augment.augment(images, generator("test", seed), 0.02) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert 0 <= first.min() and first.max() <= 1 + 1e-6


def test_a_mixture_lies_between_two_images(images):
    mixed, which = augment.mix(images, generator("mix", 0), 0.5)
    assert which.any() and not which.all() and torch.equal(mixed[~which], images[~which])
    assert images.amin(0).sub(1e-6).le(mixed).all() and images.amax(0).add(1e-6).ge(mixed).all()
    assert not torch.equal(mixed[which], images[which])
    assert not augment.mix(images, generator("mix", 0), 0.0)[1].any()


def options(split="coursework", augment="none", mixing=0.0):
    return SimpleNamespace(split=split, augment=augment, mixing=mixing, other_pictures=0.25, shift=0.0)


@pytest.mark.portable
def test_a_batch_has_its_part_of_other_pictures_and_says_whose_the_faces_are():
    black, white = (torch.full((count, 3, 64, 64), value, dtype=torch.uint8) for count, value in ((3, 0), (2, 255)))
    pictures, others = (Pictures("made", ["a", "b"], images, ["", ""], ["made"] * 2) for images in (black, white))
    train = Part(black[[0, 1, 1]], torch.tensor([0, 1, 1]))
    splits = Splits(pictures, train, train, train, others=others)
    images, emoji = Mixture(splits, options(), CPU).batch(8, generator("batch", 0))
    assert images.mean((1, 2, 3)).tolist() == [0] * 6 + [1] * 2
    assert {*emoji[:6].tolist()} == {0, 1} and emoji[6:].tolist() == [-1, -1]
    mixed = Mixture(splits, options(mixing=1.0), CPU)
    assert (mixed.batch(8, generator("batch", 0))[1] == -1).all()
    assert mixed.sample(8, generator("sample", 0)).mean() == 0.25  # what PCA is fitted to is not mixed
    alone = Mixture(replace(splits, others=None), options(), CPU)
    assert (alone.batch(8, generator("batch", 0))[1] >= 0).all()


def test_without_augmentation_the_mixture_has_none(faces):
    splits = data.split(data.load_pictures(keyword="cat face"), DataOptions(copies="none"))
    seen = {picture.numpy().tobytes() for picture in to_float(faces.images)}
    for name, expected in (("none", True), ("coursework", False)):
        images, _ = Mixture(splits, options(augment=name), CPU).batch(8, generator("batch", 0))
        assert all(image.numpy().tobytes() in seen for image in images) == expected


@pytest.fixture(scope="module")
def unseen(faces):
    return data.split(faces, SimpleNamespace(**vars(DataOptions(split="unseen", copies=1)), other_pictures=0.25))


@pytest.mark.portable
def test_no_tested_emoji_is_in_the_mixture(unseen, everything):
    mixture = Mixture(unseen, options(split="unseen"), CPU)
    names = {picture.numpy().tobytes(): twin_key(name) for picture, name in zip(everything.images, everything.names)}
    tested = {twin_key(unseen.pictures.names[i]) for part in (unseen.val, unseen.test) for i in part.emoji}
    for pictures in (mixture.faces, mixture.others, mixture.faces.flip(3), mixture.others.flip(3)):
        assert not tested & {names.get(picture.numpy().tobytes()) for picture in pictures}
    assert len(mixture.others) > 3000 and len(mixture.faces) == len(unseen.train.emoji.unique())  # copies add nothing


def test_the_guard_refuses_a_tested_emoji_by_its_name_its_twins_and_its_picture(unseen):
    i = unseen.test.emoji[0]
    name, picture = unseen.pictures.names[i], unseen.pictures.images[i : i + 1]
    white = torch.full_like(picture, 255)
    refuse_leaks(["a tram", "a ship"], torch.cat([white, white]), unseen)
    for leaked, image in ((name, white), (f"{name} type 3", white), ("a tram", picture), ("a tram", picture.flip(3))):
        with pytest.raises(LeakError, match=leaked):
            refuse_leaks(["a ship", leaked], torch.cat([white, image]), unseen)


def test_the_guard_sees_all_that_training_sees(unseen):
    i = unseen.val.emoji[:1]
    picture = unseen.pictures.images[i]
    others = replace(unseen.others.take([0]), images=picture.flip(3))
    for wrong in (replace(unseen, train=Part(picture, i)), replace(unseen, others=others)):
        with pytest.raises(LeakError):
            Mixture(wrong, options(split="unseen"), CPU)
