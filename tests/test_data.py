"""Copies and splits: nothing tested is ever trained on, and the same seed gives the same tensors."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from PIL import Image

import autoencoder
import composite
import data
from conftest import assert_one_line
from lab import classes
from lab.cli import UserError
from lab.names import twin_key
from lab.options import DataOptions
from lab.pictures import Part, Pictures, Splits, generator, to_float


@pytest.fixture(scope="module")
def styles(faces) -> Pictures:
    """The faces in three styles. In the second, every other of the first 60 is drawn like the next one mirrored."""
    recoloured, upside_down = faces.images.flip(1), faces.images.flip(2)
    recoloured[:60:2] = faces.images[1:60:2].flip(3)
    drawn = {"recoloured": recoloured, "upside down": upside_down}
    return faces.joined([replace(faces, images=drawn[name], styles=[name] * len(faces)) for name in drawn])


def assert_apart(trained: torch.Tensor, tested: torch.Tensor, pictures: Pictures) -> None:
    """No tested picture has the name of a trained one, is its skin-tone twin, or looks like it or its mirror image."""
    names = [{twin_key(pictures.names[i]) for i in part.tolist()} for part in (trained, tested)]
    assert len(trained) and len(tested) and not names[0] & names[1]
    seen, new = (to_float(pictures.images[part.unique()]) for part in (trained, tested))
    for view in (seen, seen.flip(3)):
        assert torch.cdist(new.flatten(1), view.flatten(1)).square().min() / view[0].numel() > 0.0019


def parts(splits: Splits) -> list[Part]:
    return [splits.train, splits.val, *splits.tests().values()]


# ---------------------------------------------------------------- splits


@pytest.mark.parametrize("split, leaked", [("coursework", 206), ("unseen", 0)])
def test_counts_on_twemoji(faces, split, leaked):
    splits = data.split(faces, DataOptions(split=split, augment="none"))
    counts = splits.counts()
    assert (counts["pictures"], counts["copies"], counts["images"], counts["distinct_names"]) == (206, 824, 1030, 171)
    assert torch.equal(torch.cat([part.emoji for part in parts(splits)]).bincount(), torch.full((206,), 5))
    if split == "coursework":
        assert [len(part) for part in parts(splits)] == [618, 206, 206]
    assert splits.leaked() == leaked and f"leaked: {leaked} test images" in data.describe(splits)


@pytest.mark.parametrize("seed", range(3))
def test_unseen_emoji_are_in_no_other_part_in_any_style(styles, seed):
    options = DataOptions(hold_out_style="upside down", split="unseen", copies="none", seed=seed)
    splits = data.split(styles, options)
    tested = torch.cat([part.emoji for part in splits.tests().values()])
    assert_apart(splits.train.emoji, torch.cat([splits.val.emoji, tested]), styles)
    assert_apart(splits.val.emoji, tested, styles)
    assert splits.leaked() == 0


@pytest.mark.parametrize("split", ["coursework", "unseen"])
def test_a_held_out_style_is_only_tested_and_the_other_is_also_trained_on(styles, split):
    splits = data.split(styles, DataOptions(hold_out_style="upside down", split=split, copies="none"))
    drawn = [{styles.styles[i] for i in part.emoji.tolist()} for part in parts(splits)]
    assert drawn == [{"twemoji", "recoloured"}, {"twemoji"}, {"twemoji"}, {"recoloured"}, {"upside down"}]


@pytest.mark.parametrize("split", ["coursework", "unseen"])
def test_further_styles_leave_validation_and_test_as_they_are(styles, split):
    few = styles.take([i for style in ("twemoji", "upside down") for i in styles.of_style(style).tolist()[:20]])
    alone, both = (data.split(pictures, DataOptions(split=split, copies=1)) for pictures in (few.own, few))
    assert torch.equal(alone.val.images, both.val.images) and torch.equal(alone.test.images, both.test.images)
    assert len(both.train) > len(alone.train)


@pytest.mark.parametrize("split", ["coursework", "unseen"])
def test_same_seed_same_tensors_other_seed_others(made, split):
    pictures, state = made([f"face {i}" for i in range(10)]), torch.get_rng_state()
    first, again, other = (data.split(pictures, DataOptions(split=split, copies=1, seed=seed)) for seed in (1, 1, 2))
    for one, same in zip(parts(first), parts(again)):
        assert torch.equal(one.images, same.images) and torch.equal(one.emoji, same.emoji)
    assert not torch.equal(first.train.images, other.train.images)
    assert not torch.equal(first.test.emoji, other.test.emoji)
    assert torch.equal(torch.get_rng_state(), state)  # training draws from the global generator


@pytest.mark.parametrize(
    "count, split, names, message",
    [
        (4, "coursework", "face {}", "finds 4 pictures in made; --split coursework needs 5"),
        (9, "unseen", "face", "9 pictures in made, which show 1 emoji: those of one name .*; --split unseen needs 5"),
        (9, "coursework", "face", None),  # copies are split, whatever they show
        (5, "unseen", "face {}", None),
    ],
)
def test_what_is_too_little_to_split_is_one_line(made, count, split, names, message):
    pictures, options = made([names.format(i) for i in range(count)]), DataOptions(split=split, copies=1)
    if message is None:
        assert all(map(len, parts(data.split(pictures, options))))
    else:
        with pytest.raises(UserError, match=message):
            data.split(pictures, options)


@pytest.mark.parametrize("held_out", [None, "other"])
def test_a_style_without_a_tested_emoji_is_not_tested_and_said_so(made, held_out):
    pictures = made([f"face {i}" for i in range(10)])
    other = replace(pictures.take([0, 1]), names=["a", "b"], images=pictures.images[:2] // 2, styles=["other"] * 2)
    splits = data.split(pictures.joined([other]), DataOptions(split="unseen", copies=1, hold_out_style=held_out))
    assert [*splits.tests()] == ["made"] and "other is not tested: it has no tested emoji" in data.describe(splits)
    assert {splits.pictures.styles[i] for i in splits.train.emoji} == {"made"} | {"other"} - {held_out}


def test_other_pictures_of_the_same_name_and_moved_ones(command, tmp_path, faces):
    def run(script, *arguments) -> str:
        status, output, error = command(script, *arguments)
        assert status == 0, error
        return output

    (tmp_path / "pics").mkdir()
    for name, image in zip(faces.names[:10], faces.images.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(tmp_path / f"pics/{name}.png")
    tiny = ("--copies", 1, "--epochs", 1, "--latent", 4, "--batch-size", 8, "--out", "run", "--plots", "run")
    run(autoencoder, "--source", "./pics", *tiny)
    (tmp_path / "pics").rename(tmp_path / "moved")
    assert_one_line(command(autoencoder, "--evaluate", "run"), "pics' does not exist")
    composed = ("--target", faces.names[0], "--baseline", faces.names[1], "--featured", faces.names[2])
    commands = [(autoencoder, "--evaluate", "run", "--source", "moved"), (composite, "--model", "run", *composed)]
    assert "other pictures" not in run(*commands[0])
    Image.new("RGB", (64, 64)).save(tmp_path / f"moved/{faces.names[0]}.png")
    assert "the network in run was trained on other pictures than" in run(*commands[0])
    (tmp_path / "moved").rename(tmp_path / "pics")
    assert "the network in run was trained on other pictures than" in run(*commands[1])


def test_every_seed_deals_the_skin_tone_twins_alike(faces):
    """Of seven sextets of twins one or two are tested, so that test sets have about one size."""
    sizes = Counter(faces.keys)
    for seed in range(5):
        dealt = data.split_names(faces.keys, seed)
        assert sorted(key for part in dealt for key in part) == sorted(sizes)
        assert all(1 <= sum(sizes[key] == 6 for key in part) <= 2 for part in dealt[1:])


def test_batches_cover_a_part_in_the_order_of_the_generator(made):
    part = Part(made([""] * 10).images, torch.arange(10))
    first, again = (torch.cat([e for _, e in part.batches(4, generator("order", 0))]) for _ in range(2))
    assert torch.equal(first, again) and first.sort().values.tolist() == [*range(10)] != first.tolist()
    assert [len(images) for images, _ in part.batches(4)] == [4, 4, 2]


# ---------------------------------------------------------------- copies


def test_copies_are_augmented_only_as_asked(made):
    pictures = made([f"face {i}" for i in range(5)])
    exact, augmented, other, none = (
        data.expand(pictures, torch.tensor([1, 3]), DataOptions(**options), "test")
        for options in ({"augment": "none"}, {}, {"seed": 1}, {"copies": "none"})
    )
    assert exact.emoji.tolist() == augmented.emoji.tolist() == 5 * [1, 3] and none.emoji.tolist() == [1, 3]
    assert torch.equal(exact.images, pictures.images[exact.emoji]) and torch.equal(none.images, exact.images[:2])
    for one, images in ((augmented, exact.images), (other, augmented.images)):
        changed = (one.images != images).flatten(1).any(1)
        assert changed.tolist() == [False] * 2 + [True] * 8  # the pictures themselves stay as they are


def test_augmented_corners_have_the_colour_of_the_ground():
    square = torch.full((20, 3, 64, 64), 255, dtype=torch.uint8)
    square[:, :, 16:48, 16:48] = 0
    found = data.augment(square, 0).float()
    edge = torch.cat([found[..., 0, :], found[..., -1, :], found[..., 0], found[..., -1]], -1)
    assert (edge.amax(-1) - edge.amin(-1)).max() <= 1 and edge.min() > 150  # the jitter tints all of it alike
    assert len({image.numpy().tobytes() for image in found}) == 20


def test_held_out_names_are_gone_with_their_relatives_in_every_style(styles):
    kept = styles.without(["Clock-Face two oclock", "face palm type 3", "cat face"])
    assert not {"clock face two oclock", "clock face ten oclock", "face palm", "cat face"} & set(kept.names)
    left = [style for name, style in zip(kept.names, kept.styles) if name == "dragon face"]
    assert left == ["recoloured", "upside down"]  # Twemoji's looks like the recoloured cat
    with pytest.raises(UserError, match="--hold-out 'cheshire cat' is not among"):
        styles.without(["cheshire cat"])


def test_other_pictures_have_no_face_and_no_relative_of_one(faces, everything, monkeypatch):
    monkeypatch.setattr(data, "all_pictures", lambda *_: everything)
    others = data.other_pictures(faces.without(["cat face"]), DataOptions(hold_out=("cat face",)))
    joined = faces.joined([others])
    assert_apart(torch.arange(len(faces), len(joined)), torch.arange(len(faces)), joined)
    assert len(others) > 3000 and "cat" in others.names  # the whole cat is no face


@pytest.fixture(scope="module")
def labelled(styles) -> tuple[Pictures, torch.Tensor]:
    """The happy and the sad faces of all styles, with their labels."""
    return classes.classify(styles)


def test_folds_test_every_picture_once_and_never_leak(labelled):
    pictures, labels = labelled
    tested = []
    for splits in data.folds(pictures, labels, DataOptions(hold_out_style="upside down", copies="none")):
        of_fold = torch.cat([part.emoji for part in splits.tests().values()])
        assert_apart(splits.train.emoji, of_fold, pictures)
        assert splits.leaked() == len(splits.val) == 0
        assert {pictures.styles[i] for i in splits.train.emoji} == {"twemoji", "recoloured"}
        assert labels[splits.train.emoji].unique().tolist() == labels[of_fold].unique().tolist() == [0, 1]
        tested += of_fold.tolist()
    assert sorted(tested) == [*range(len(pictures))]


def test_five_seeds_test_every_emoji_once_and_the_next_five_are_another_division(labelled):
    pictures, labels = labelled
    options = [DataOptions(copies="none", seed=seed) for seed in range(6)]
    *five, sixth = ({*data.fold_of_seed(pictures, labels, one).test.emoji.tolist()} for one in options)
    assert sum(map(len, five)) == len(set().union(*five)) == len(pictures.own) and sixth not in five
