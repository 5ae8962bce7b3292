"""Where pictures come from: the user's own files, taken literally and read anew each time."""

import io
import json
import os
import shutil
import socket

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

import autoencoder
import data
from common import sources
from common.pictures import Row
from common.errors import UserError
from lab import trained
from lab.options import ReportRun

ODD_NAMES = ["a*b", "my[1]", "q?", "a::b", "file:a", "{a,b}", "a%20b", "#1"]


def encoded(grey: int, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (grey,) * 3).save(file, form)
    return file.getvalue()


def write(path, greys, texts=None, **metadata) -> str:
    """A parquet file with a picture in each of the greys."""
    texts = texts or [f"face {grey}" for grey in greys]
    table = pyarrow.table({"image": [encoded(grey) for grey in greys], "text": texts})
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path)
    return str(path)


def write_folder(folder, metadata=None, **files: bytes) -> str:
    """A folder of files, `a_png` being a.png, and a metadata.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    if metadata is not None:
        (folder / "metadata.csv").write_text(metadata, encoding="utf-8")
    return str(folder)


def greys(source: str, **options) -> dict[str, int]:
    """Name and grey level of every picture of a source."""
    originals = data.load_originals(source, "", **options)
    return dict(zip(originals.names, originals.images[:, 0, 0, 0].tolist()))


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_path_is_no_pattern_and_no_address(tmp_path, monkeypatch, name):
    for decoy in ("my1", "qa", "qb", "axb", "a", "b", "a b"):
        write(tmp_path / f"{decoy}.parquet", [200])
        write_folder(tmp_path / decoy, x_png=encoded(200))
    monkeypatch.chdir(tmp_path)
    for path in (f"{name}.parquet", str(tmp_path / f"{name}.parquet")):
        write(tmp_path / f"{name}.parquet", [7])
        assert greys(path) == {"face 7": 7}
    folder = write_folder(tmp_path / "in" / name, **{f"{name}_png": encoded(9)})
    assert greys(folder) == {data.normalise(name): 9}


def test_metadata_names_are_no_patterns(tmp_path):
    rows = "file_name,text\n" + "".join(f"{name}.png,face {i}\n" for i, name in enumerate(ODD_NAMES) if "," not in name)
    files = {f"{name}_png": encoded(i) for i, name in enumerate(ODD_NAMES)}
    folder = write_folder(tmp_path / "own", rows, **files, my1_png=encoded(200))
    assert greys(folder) == {f"face {i}": i for i, name in enumerate(ODD_NAMES) if "," not in name}


# ---------------------------------------------------------------- what is a picture


@pytest.mark.parametrize("others", [{}, {"b_png": encoded(2)}])
def test_avif_is_a_picture(tmp_path, others):
    folder = write_folder(tmp_path, a_AVIF=encoded(1, "AVIF"), **others)
    assert greys(folder) == {"a": 1, **({"b": 2} if others else {})}


def test_what_is_no_picture_is_left_out_and_counted(tmp_path, capsys):
    folder = write_folder(tmp_path / "own", a_png=encoded(1), _hidden_png=encoded(2), README_md=b"faces")
    write_folder(tmp_path / "own" / "sub", b_JPEG=encoded(3, "JPEG"))
    shutil.make_archive(str(tmp_path / "faces"), "zip", folder)
    for name in ("faces.zip", "a.png.gz"):
        shutil.copy(tmp_path / "faces.zip", tmp_path / "own" / name)
    assert greys(folder) == {"a": 1, "b": 3}
    assert capsys.readouterr().out == f"source: {folder}; 3 other files are left out: they are no pictures\n"


def test_pictures_that_metadata_does_not_name_are_counted(tmp_path, capsys):
    folder = write_folder(tmp_path, "file_name,text\na.png,face\n", a_png=encoded(1), b_png=encoded(2))
    assert greys(folder) == {"face": 1}
    assert "1 other files are left out: metadata.csv does not name them" in capsys.readouterr().out


# ---------------------------------------------------------------- descriptions


@pytest.mark.parametrize(
    "texts", [["1", "02", "3.0"], ["NA", "null", "nan"], ["true", "false"], ["ünï", "笑脸", "2020 01 01"]]
)
def test_texts_stay_what_was_written(tmp_path, texts):
    pictures = {f"{i}_png": encoded(i) for i in range(len(texts))}
    expected = {data.normalise(text): i for i, text in enumerate(texts)}
    lines = "".join(f"{i}.png,{text}\n" for i, text in enumerate(texts))
    folder = write_folder(tmp_path / "csv", f"\ufefffile_name,text\n{lines}", **pictures)
    assert greys(folder) == expected
    lines = [json.dumps({"file_name": f"{i}.png", "text": text}) for i, text in enumerate(texts)]
    folder = write_folder(tmp_path / "jsonl", **pictures, metadata_jsonl="\n".join(lines).encode())
    assert greys(folder) == expected
    folder = write_folder(tmp_path / "parquet", **pictures)
    table = pyarrow.table({"file_name": [f"{i}.png" for i in range(len(texts))], "text": texts})
    pyarrow.parquet.write_table(table, tmp_path / "parquet" / "metadata.parquet")
    assert greys(folder) == expected


NO_NAME, NO_TEXT = b'{"file_name": 3, "text": "a"}', b'{"file_name": "a.png", "text": []}'


@pytest.mark.parametrize("content", [b"3\n", b"[]\n", b"{", b"[" * 10**5, NO_NAME, NO_TEXT, b"\xff"])
def test_bad_lines_of_metadata(tmp_path, content):
    with pytest.raises(UserError, match="own cannot be read"):
        greys(write_folder(tmp_path / "own", a_png=encoded(1), metadata_jsonl=content))


def test_two_metadata_files_are_refused(tmp_path):
    line = b'{"file_name": "a.png", "text": "b"}'
    folder = write_folder(tmp_path, "file_name,text\na.png,a\n", a_png=encoded(1), metadata_jsonl=line)
    with pytest.raises(UserError, match="a folder may have one"):
        greys(folder)


# ---------------------------------------------------------------- replaced files


def test_what_was_replaced_under_the_same_time_is_read_anew(tmp_path):
    path, folder = tmp_path / "own.parquet", tmp_path / "own"
    for grey, name in ((10, "old"), (20, "new")):
        write(path, [grey])
        write_folder(folder, f"file_name,text\na.png,{name}\n", a_png=encoded(grey))
        for file in (path, *folder.iterdir()):
            os.utime(file, (10**9, 10**9))
        assert greys(str(path)) == {f"face {grey}": grey}
        assert greys(str(folder)) == {name: grey}


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int32", "int64"])
@pytest.mark.filterwarnings("error")
def test_pixel_lists_of_any_whole_numbers(tmp_path, kind):
    def table(pixels):
        column = pyarrow.array([pixels.tolist()], pyarrow.list_(pyarrow.list_(pyarrow.from_numpy_dtype(kind))))
        pyarrow.parquet.write_table(pyarrow.table({"image": column, "text": ["face"]}), tmp_path / "pixels.parquet")
        return str(tmp_path / "pixels.parquet")

    assert greys(table(np.full((8, 8), 77))) == {"face": 77}
    if kind != "uint8":
        with pytest.raises(UserError, match="row 0 .*whole numbers of 0 to 255; the column `image` needs"):
            greys(table(np.full((8, 8), 300)))


PLAIN_STRINGS = '{"info": {"features": {"image": "Image", "text": "Value"}}}'


@pytest.mark.parametrize("notes", [PLAIN_STRINGS, "{", '{"info": 3}', "[]"])
def test_notes_of_another_package_do_not_matter(tmp_path, notes):
    assert greys(write(tmp_path / "own.parquet", [7], huggingface=notes)) == {"face 7": 7}


def test_ten_million_rows_in_a_tiny_file_are_refused(tmp_path):
    """Written without ten million values in memory: one row group, repeated."""
    group = pyarrow.table({"image": pyarrow.nulls(10**6), "text": pyarrow.nulls(10**6)})
    with pyarrow.parquet.ParquetWriter(tmp_path / "tiny.parquet", group.schema) as writer:
        for _ in range(10):
            writer.write_table(group)
    assert (tmp_path / "tiny.parquet").stat().st_size < 100_000
    with pytest.raises(UserError, match="it has 10000000 rows"):
        greys(str(tmp_path / "tiny.parquet"))


def test_more_pictures_than_the_memory_holds_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "own.parquet", range(6))
    monkeypatch.setattr(data, "memory", lambda: 5 * 2 * 3 * data.SIZE**2)
    with pytest.raises(UserError, match="more than the 5 pictures.*--keyword"):
        greys(path)


def test_rows_are_numbered_over_batches(tmp_path):
    count = sources.BATCH + 3
    path = write(tmp_path / "own.parquet", [1] * count, texts=[f"face {i}" for i in range(count)])
    rows = list(sources.path_rows(tmp_path / "own.parquet"))
    assert rows[-1].label == f"row {count - 1} ('face {count - 1}') of {path}"
    assert len(greys(path)) == count


# ---------------------------------------------------------------- keywords and connections


@pytest.mark.parametrize("keyword", ["-", " _ ", "\n"])
def test_a_keyword_without_letters_does_not_mean_all(keyword):
    with pytest.raises(UserError, match="has no letter"):
        data.load_originals("twemoji", keyword)


OWN = ("dog", "grinning face", "tree", "crying-face", "car", "house", "boat")


def own(kind: str, folder, texts) -> str:
    """An own source of `kind` with these descriptions."""
    if kind == "parquet":
        return write(folder / "own.parquet", range(0, 30 * len(texts), 30), texts)
    return write_folder(folder / "own", **{f"{text}_png": encoded(30 * grey) for grey, text in enumerate(texts)})


@pytest.mark.parametrize("kind", ["parquet", "folder"])
@pytest.mark.parametrize(
    "texts, keyword, held, taken, said",
    [
        (OWN, None, "face", 2, "keyword 'face' keeps 2 of 7 pictures; --keyword \"\" takes all\n"),
        (OWN, "boat", "boat", 1, "keyword 'boat' keeps 1 of 7 pictures; --keyword \"\" takes all\n"),
        (OWN, "", "", 7, ""),
        (OWN[4:], None, "", 3, "no description has the keyword 'face': all 3 pictures are taken\n"),
        (OWN[1:2], None, "face", 1, ""),
    ],
)
def test_own_pictures_that_a_keyword_leaves_out_are_counted(tmp_path, capsys, kind, texts, keyword, held, taken, said):
    originals = data.asked_for(data.DataConfig(source=own(kind, tmp_path, texts), keyword=keyword))
    assert (originals.keyword, len(originals.names), capsys.readouterr().out) == (held, taken, said)


@pytest.mark.parametrize("kind", ["parquet", "folder"])
def test_a_given_keyword_that_matches_no_own_picture_is_an_error(tmp_path, kind):
    with pytest.raises(UserError, match="matches --keyword 'face'; try another word, or '' for all"):
        data.asked_for(data.DataConfig(source=own(kind, tmp_path, OWN[4:]), keyword="face"))


@pytest.mark.parametrize("preset", ["report", "best"])
def test_the_record_names_the_keyword_that_held(tmp_path, command, preset):
    source, tiny = own("folder", tmp_path, OWN[4:] + OWN[:1] + OWN[2:3]), ("--copies", "1", "--latent", "2")
    short = ("--epochs", "1") if preset == "report" else ("--steps", "1", "--pca-images", "8", "--split", "emoji")
    status, output, error = command(autoencoder, "--preset", preset, "--source", source, *tiny, *short)
    assert status == 0 and output.count("all 5 pictures are taken") == 1, error
    run = tmp_path / "runs/autoencoder"
    assert json.loads((run / "run.json").read_text())["config"]["keyword"] == ""
    model, trained_on = trained.network(ReportRun(source=source, out=run))
    assert len(trained.splits_of(model, trained_on).originals.names) == 5


def test_no_source_but_the_hubs_opens_a_connection(tmp_path, monkeypatch):
    """Also where the Hub's clients are not told to stay offline; what they try and hush up counts too."""
    for setting in ("huggingface_hub.constants.HF_HUB_OFFLINE", "datasets.config.HF_HUB_OFFLINE"):
        monkeypatch.setattr(setting, False)
    tried = []

    def refuse(*arguments, **options):
        tried.append(arguments)
        raise OSError("no network")

    for name in ("socket.socket.connect", "socket.socket.connect_ex", "socket.create_connection", "socket.getaddrinfo"):
        monkeypatch.setattr(name, refuse)
    with pytest.raises(OSError):
        socket.create_connection(("localhost", 9))
    assert tried.pop() and not tried
    greys(write_folder(tmp_path / "own", "file_name,text\na.png,face\n", a_png=encoded(1)))
    greys(write(tmp_path / "own.parquet", [7]))
    data.load_originals("twemoji", "cat face")
    assert not tried


# ---------------------------------------------------------------- one entry in one place


def test_an_art_style_is_one_entry(monkeypatch):
    rows = [Row("Grey-Face", "entry 0", lambda: encoded(5))]
    style = sources.Source("grey", lambda: rows, "nobody", "CC0")
    monkeypatch.setitem(sources.SOURCES, style.name, style)
    assert greys("grey") == {"grey face": 5}
    assert all(source.credit and source.name == name for name, source in sources.SOURCES.items())
