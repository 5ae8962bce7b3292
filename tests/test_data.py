"""Sources, names, copies and splits."""

import io

import datasets
import pytest
import torch
from hypothesis import given, strategies
from PIL import Image

import data
from common.copies import AUGMENT
from common import hub, splitting, styles
from common.errors import UserError
from data import DataConfig


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_twemoji_is_the_size_of_the_reports_dataset(faces):
    assert len(faces.names) == 206
    assert len(set(faces.names)) == 171
    assert faces.images.shape == (206, 3, 64, 64) and faces.images.dtype == torch.uint8


def test_every_emoji_with_a_picture_is_there_once():
    rows = styles.twemoji_rows()
    assert len(rows) == 3778
    assert len({row.label for row in rows}) == 3778


@pytest.mark.parametrize("count, expected", [(206, (824, 1030, 618, 206, 206)), (204, (816, 1020, 612, 204, 204))])
def test_sizes_are_the_reports(made, count, expected):
    splits = data.split(made([f"face {i}" for i in range(count)]), DataConfig(augment="none"))
    counts = splits.counts()
    assert tuple(counts[name] for name in ("copies", "images", "train", "val", "test")) == expected


@pytest.mark.parametrize("split", ["report", "emoji"])
def test_parts_hold_every_image_once(faces, split):
    splits = data.split(faces, DataConfig(split=split, augment="none"))
    emoji = torch.cat([splits.train.emoji, splits.val.emoji, splits.test.emoji])
    assert torch.equal(emoji.bincount(), torch.full((206,), 5))


def test_emoji_split_keeps_names_apart(faces):
    splits = data.split(faces, DataConfig(split="emoji"))
    names = [{faces.names[i] for i in part.emoji} for part in (splits.train, splits.val, splits.test)]
    assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])
    assert splits.leaked() == 0


@pytest.mark.parametrize("seed", range(5))
def test_emoji_split_keeps_mirror_images_together(faces, seed):
    """With flips, two o'clock is ten o'clock: no training picture, mirrored or not, may be like a tested one."""
    splits = data.split(faces, DataConfig(split="emoji", copies="none", seed=seed))
    train = data.to_float(torch.cat([splits.train.images, splits.train.images.flip(3)])).flatten(1)
    tested = data.to_float(torch.cat([splits.val.images, splits.test.images])).flatten(1)
    assert torch.cdist(tested, train).square().min() / train.shape[1] > 0.0019


def test_twins_are_alike_by_name_or_by_picture(made):
    originals = made(["clock two", "clock ten", "face palm type 3", "face palm", "other"])
    originals.images[1] = originals.images[0].flip(2)
    assert originals.keys == ["clock ten", "clock ten", "face palm", "face palm", "other"]


def test_report_split_leaks_and_says_so(faces):
    splits = data.split(faces, DataConfig(split="report"))
    train = {faces.names[i] for i in splits.train.emoji}
    by_name = sum(faces.names[i] in train for i in splits.test.emoji)
    assert 190 < by_name <= splits.leaked() <= 206
    assert f"{splits.leaked()} of 206 test images" in data.describe(splits)


@given(strategies.lists(strategies.text("abc", max_size=2), min_size=1), strategies.integers())
def test_split_by_emoji_gives_every_name_to_one_part(keys, seed):
    parts = splitting.split_by_emoji(keys, seed)
    assert sorted(key for part in parts for key in part) == sorted(set(keys))
    assert len(parts[0]) >= len(parts[1]) >= len(parts[2])


@pytest.mark.parametrize("split", ["report", "emoji"])
def test_same_seed_same_tensors(made, split):
    names = [f"face {i}" for i in range(10)]
    first, second, other = (data.split(made(names), DataConfig(split=split, seed=seed)) for seed in (1, 1, 2))
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(first, part).images, getattr(second, part).images)
    assert not torch.equal(first.train.images, other.train.images)


def test_generators_are_separate():
    draws = {
        torch.rand(1, generator=data.generator(purpose, 0)).item() for purpose in ("split", "order", "augmentation")
    }
    assert len(draws) == 3


def test_augmentation_leaves_the_global_generator_alone(made):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    data.augment(made(["a"]).images, 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_copies_without_augmentation_are_exact(made):
    originals = made([f"face {i}" for i in range(5)])
    splits = data.split(originals, DataConfig(augment="none"))
    assert torch.equal(splits.train.images, originals.images[splits.train.emoji])


def test_no_copies(made):
    splits = data.split(made([f"face {i}" for i in range(10)]), DataConfig(copies="none"))
    assert splits.counts()["copies"] == 0 and splits.counts()["images"] == 10


def edge(images: torch.Tensor) -> torch.Tensor:
    return torch.cat([images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]], -1).float()


def test_rotation_has_white_corners_and_no_seam():
    disc = torch.full((20, 3, 64, 64), 255, dtype=torch.uint8)
    disc[:, :, 16:48, 16:48] = 0
    rotate = torch.nn.Sequential(*AUGMENT.transforms[:-1])
    rotated = torch.stack([rotate(image) for image in disc])
    assert not torch.equal(rotated, disc)
    assert edge(rotated).min() == 255
    jittered = edge(data.augment(disc, 0))  # colour jitter may tint the ground, but all of it alike
    assert (jittered.amax(-1) - jittered.amin(-1)).max() <= 1


def test_names_match_in_both_spellings():
    assert data.normalise("SMILING CAT FACE WITH HEART-SHAPED EYES") == data.normalise(
        "smiling cat face with heart shaped  eyes"
    )
    assert data.twin_key("face massage type 1 2") == data.twin_key("face massage type 6") == "face massage"


@pytest.mark.parametrize(
    "mode, colour",
    [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0)), ("I;16", 65535), ("L", 255), ("1", 1), ("CMYK", (0, 0, 0, 0))],
)
def test_every_mode_ends_on_white(mode, colour):
    file = io.BytesIO()
    Image.new(mode, (30, 20), colour).save(file, "TIFF")
    assert data.to_tensor(data.open_picture(file.getvalue())).unique().tolist() == [255]


def test_wide_pictures_are_padded_not_squashed():
    tensor = data.to_tensor(Image.new("RGB", (128, 64), "black"))
    assert tensor[:, 16:48].max() == 0 and tensor[:, :15].min() == 255


def test_batches_cover_the_part_and_follow_the_generator(made):
    part = data.split(made([f"face {i}" for i in range(10)]), DataConfig(augment="none")).train
    in_order = torch.cat([emoji for _, emoji in data.batches(part, 7)])
    assert torch.equal(in_order, part.emoji)
    shuffled = [torch.cat([e for _, e in data.batches(part, 7, data.generator("order", 0))]) for _ in range(2)]
    assert torch.equal(*shuffled) and not torch.equal(shuffled[0], in_order)
    assert torch.equal(shuffled[0].sort().values, in_order.sort().values)


# ---------------------------------------------------------------- the user's own pictures


@pytest.fixture
def pictures(tmp_path):
    """Six encoded pictures in different greys, with their descriptions."""
    return [(f"Grey-Face {i}", png(Image.new("RGB", (20, 20), (i, i, i)))) for i in range(6)]


def write_parquet(path, columns: dict):
    datasets.Dataset.from_dict(columns).to_parquet(str(path))
    return str(path)


def test_parquet(tmp_path, pictures):
    texts, images = zip(*pictures)
    path = write_parquet(
        tmp_path / "own.parquet", {"image": [{"bytes": b, "path": None} for b in images], "text": texts}
    )
    originals = data.load_originals(path)
    assert originals.names == [f"grey face {i}" for i in range(6)]
    assert originals.images[:, 0, 0, 0].tolist() == list(range(6))


@pytest.mark.parametrize("metadata", [True, False])
def test_image_folder(tmp_path, pictures, metadata):
    for i, (text, image) in enumerate(pictures):
        (tmp_path / (f"{i}.png" if metadata else f"{text}.png")).write_bytes(image)
    if metadata:
        (tmp_path / "metadata.csv").write_text(
            "file_name,text\n" + "".join(f"{i}.png,{t}\n" for i, (t, _) in enumerate(pictures))
        )
    originals = data.load_originals(str(tmp_path))
    assert sorted(originals.names) == [f"grey face {i}" for i in range(6)]


def test_a_picture_that_cannot_be_decoded_is_named_or_skipped(tmp_path, pictures):
    images = [image for _, image in pictures[:5]] + [b"no picture"]
    texts = [text for text, _ in pictures]
    path = write_parquet(
        tmp_path / "own.parquet", {"image": [{"bytes": b, "path": None} for b in images], "text": texts}
    )
    with pytest.raises(UserError, match="Grey-Face 5.*--skip-bad"):
        data.load_originals(path)
    originals = data.load_originals(path, skip_bad=True)
    assert len(originals.names) == 5 and originals.skipped == 1


def test_auto_says_what_it_took(capsys):
    assert data.load_originals("auto", "cat face").source == "twemoji"
    output = capsys.readouterr().out
    assert output.startswith("source: twemoji") and output.count("\n") == 1


def test_hub_file_is_used_from_the_cache(tmp_path, pictures, monkeypatch, capsys):
    texts, images = zip(*pictures)
    file = tmp_path / "datasets--valhalla--emoji-dataset" / "snapshots" / f"{hub.REVISION}abc" / hub.FILE
    file.parent.mkdir(parents=True)
    write_parquet(file, {"image": [{"bytes": b, "path": None} for b in images], "text": texts})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert data.load_originals("auto").source == "hub"
    assert "from the cache" in capsys.readouterr().out
    assert len(data.load_originals("hub").names) == 6
