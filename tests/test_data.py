"""Copies and splits: nothing tested is ever trained on, and the same seed gives the same tensors."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import autoencoder
import composite
import data
from lab import classes
from lab.cli import UserError
from lab.names import twin_key
from lab.options import DataOptions
from lab.pictures import Part, Pictures, Splits, to_float


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


@pytest.mark.parametrize("split, leaked", [("coursework", 206), ("unseen", 0)])
def test_counts_on_twemoji(faces, split, leaked):
    splits = data.split(faces, DataOptions(split=split, augment="none"))
    counts = splits.counts()
    assert (counts["pictures"], counts["copies"], counts["images"], counts["distinct_names"]) == (206, 824, 1030, 171)
    assert torch.equal(torch.cat([part.emoji for part in parts(splits)]).bincount(), torch.full((206,), 5))
    if split == "coursework":
        assert [len(part) for part in parts(splits)] == [618, 206, 206]
    assert splits.leaked() == leaked and f"leaked: {leaked} test images" in data.describe(splits)


@pytest.mark.parametrize("split, seed", [("coursework", 0), ("unseen", 0), ("unseen", 1), ("unseen", 2)])
def test_a_held_out_style_is_only_tested_and_unseen_emoji_are_in_no_other_part_in_any_style(styles, split, seed):
    options = DataOptions(hold_out_style="upside down", split=split, copies="none", seed=seed)
    splits = data.split(styles, options)
    drawn = [{styles.styles[i] for i in part.emoji.tolist()} for part in parts(splits)]
    assert drawn == [{"twemoji", "recoloured"}, {"twemoji"}, {"twemoji"}, {"recoloured"}, {"upside down"}]
    if split == "unseen":
        tested = torch.cat([part.emoji for part in splits.tests().values()])
        assert_apart(splits.train.emoji, torch.cat([splits.val.emoji, tested]), styles)
        assert_apart(splits.val.emoji, tested, styles)
        assert splits.leaked() == 0


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
    "split, names, message",
    [
        ("coursework", ["face"] * 4, "finds 4 pictures in made; --split coursework needs 5"),
        ("unseen", ["face"] * 9, "9 pictures in made, 1 different; --split unseen needs 5"),
    ],
)
def test_five_can_be_split_and_what_is_less_is_one_line(made, split, names, message):
    enough = ["face"] * 5 if split == "coursework" else [f"face {i}" for i in range(5)]  # copies, whatever they show
    assert all(map(len, parts(data.split(made(enough), DataOptions(split=split, copies=1)))))
    with pytest.raises(UserError, match=message):
        data.split(made(names), DataOptions(split=split, copies=1))


@pytest.mark.parametrize("held_out", [None, "other"])
def test_a_style_without_a_tested_emoji_is_not_tested_and_said_so(made, held_out):
    pictures = made([f"face {i}" for i in range(10)])
    other = replace(pictures.take([0, 1]), names=["a", "b"], images=pictures.images[:2] // 2, styles=["other"] * 2)
    splits = data.split(pictures.joined([other]), DataOptions(split="unseen", copies=1, hold_out_style=held_out))
    assert [*splits.tests()] == ["made"] and "other is not tested: it has no tested emoji" in data.describe(splits)
    assert {splits.pictures.styles[i] for i in splits.train.emoji} == {"made"} | {"other"} - {held_out}


def test_other_pictures_of_the_same_name_and_moved_ones(tmp_path, faces, monkeypatch, capsys, drawn):
    def is_other(script, **options) -> bool:
        script.main(script.Config(**options))
        return "the network in run was trained on other pictures than" in capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    (tmp_path / "pics").mkdir()
    for name, image in zip(faces.names[:10], faces.images.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(f"pics/{name}.png")
    tiny = dict(copies=1, epochs=1, latent=4, batch_size=8, device="cpu")
    assert not is_other(autoencoder, source="./pics", out=Path("run"), **tiny)
    again = {"reference": (Path("run"),), "out": Path("again"), "plots": Path("again")}
    assert not is_other(autoencoder, source="pics", **again, **tiny)  # the same folder, spelled otherwise
    (tmp_path / "pics").rename("moved")
    with pytest.raises(UserError, match="pics' does not exist"):
        is_other(autoencoder, evaluate=Path("run"))
    assert not is_other(autoencoder, evaluate=Path("run"), source="moved")
    Image.new("RGB", (64, 64)).save(f"moved/{faces.names[0]}.png")
    assert is_other(autoencoder, evaluate=Path("run"), source="moved")
    asked = dict(zip(("target", "baseline", "featured"), faces.names))
    assert is_other(composite, model=Path("run"), source="moved", **asked)


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


def test_folds_test_every_picture_once_and_never_leak(styles):
    pictures, labels = classes.classify(styles)
    tested = []
    for splits in data.folds(pictures, labels, DataOptions(hold_out_style="upside down", copies="none")):
        of_fold = torch.cat([part.emoji for part in splits.tests().values()])
        assert_apart(splits.train.emoji, of_fold, pictures)
        assert splits.leaked() == len(splits.val) == 0
        assert {pictures.styles[i] for i in splits.train.emoji} == {"twemoji", "recoloured"}
        assert labels[splits.train.emoji].unique().tolist() == labels[of_fold].unique().tolist() == [0, 1]
        tested += of_fold.tolist()
    assert sorted(tested) == [*range(len(pictures))]
