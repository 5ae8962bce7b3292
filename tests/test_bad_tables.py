"""Tables and folders that are no source: one line, exit status 2, nothing overwritten."""

import os

import pyarrow
import pytest

import autoencoder
from conftest import TEXTS, assert_one_line, write_parquet

# columns of a table, with PICTURE for an encoded picture, and what the line says
TABLES = {
    "no columns": ({}, "cannot be read (it has 0 rows"),
    "no rows": (
        {"image": pyarrow.array([], "binary"), "text": pyarrow.array([], "string")},
        "give a .parquet file with rows",
    ),
    "no image": ({"text": TEXTS}, "no column image"),
    "no text": ({"image": ["PICTURE"]}, "no column text"),
    "neither": ({"file": TEXTS}, "no column image and no text"),
    "images of numbers": (
        {"image": [1.5] * 6, "text": TEXTS},
        "it is of type float; the column `image` needs encoded pictures",
    ),
    "images of words": ({"image": [["a", "b"]] * 6, "text": TEXTS}, "its pixels are not whole numbers of 0 to 255"),
    "images of ragged lists": (
        {"image": [[[1], [1, 2]]] * 6, "text": TEXTS},
        "cannot be decoded (setting an array element",
    ),
    "images of other fields": ({"image": [{"url": "a"}] * 6, "text": TEXTS}, "row 0 ('face 0')"),
    "images whose bytes are numbers": (
        {"image": [{"bytes": 1, "path": "a"}] * 6, "text": TEXTS},
        "it is of type int; the column `image` needs",
    ),
    "images null": ({"image": pyarrow.nulls(6), "text": TEXTS}, "cannot be decoded (it is empty)"),
    "an image null": (
        {"image": ["PICTURE"] * 5 + [None], "text": TEXTS},
        "row 5 ('face 5') of table.parquet cannot be decoded (it is empty)",
    ),
    "an image empty": (
        {"image": ["PICTURE"] * 5 + [b""], "text": TEXTS},
        "row 5 ('face 5') of table.parquet cannot be decoded",
    ),
    "an image of text": ({"image": ["PICTURE"] * 5 + [b"face"], "text": TEXTS}, "it is none of PNG, JPEG, GIF"),
    "files that are not there": ({"image": ["nowhere.png"] * 6, "text": TEXTS}, "nowhere.png is no file"),
    "a file without end": (
        {"image": [{"bytes": None, "path": "/dev/zero"}] * 6, "text": TEXTS},
        "/dev/zero is no file",
    ),
    "texts of lists": (
        {"image": ["PICTURE"] * 6, "text": [["face"]] * 6},
        "cannot be read (Unsupported cast from list",
    ),
    "texts of bytes": ({"image": ["PICTURE"] * 6, "text": [b"\xff"] * 6}, "cannot be read (Invalid UTF8"),
    "texts null": ({"image": ["PICTURE"] * 6, "text": pyarrow.nulls(6)}, "only 1 distinct names"),
    "texts all alike": ({"image": ["PICTURE"] * 6, "text": ["face"] * 6}, "only 1 distinct names"),
    "a text of many lines": ({"image": [b""], "text": ["face\n" * 10**5]}, "row 0 ('face\\nface"),
}

# a metadata.csv, or None, the files beside it, and what the line says
FOLDERS = {
    "nothing": (None, {}, "cannot be read"),
    "no pictures": (None, {"README.md": b"faces"}, "cannot be read"),
    "a folder called x.png": (None, {"x.png/y.txt": b""}, "cannot be read"),
    "a text called face.png": (None, {"face.png": b"text"}, "folder/face.png ('face') cannot be decoded"),
    "a picture without bytes": (None, {"face.png": b""}, "folder/face.png ('face') cannot be decoded"),
    "a name that is no UTF-8": (None, {"\udcff.png": "PICTURE"}, "cannot be read ('utf-8'"),
    "metadata empty": ("", {"a.png": "PICTURE"}, "cannot be read (metadata.csv has no rows"),
    "metadata without rows": ("file_name,text\n", {"a.png": "PICTURE"}, "cannot be read (metadata.csv has no rows"),
    "metadata without file names": (
        "text\nface\n",
        {"a.png": "PICTURE"},
        "metadata.csv needs the columns `file_name` and `text`",
    ),
    "metadata binary": ("file_name,text\n\udcff\udcfe,face\n", {"a.png": "PICTURE"}, "cannot be read ('utf-8'"),
    "metadata and a missing file": (
        "file_name,text\na.png,face\nb.png,face\n",
        {"a.png": "PICTURE"},
        "b.png is no file",
    ),
    "metadata that leaves the folder": (
        "file_name,text\n../x.png,face\n",
        {"a.png": "PICTURE"},
        "metadata.csv names '../x.png'; a `file_name` is a path inside the folder",
    ),
    "metadata with an absolute path": (
        "file_name,text\n/etc/passwd,face\n",
        {"a.png": "PICTURE"},
        "metadata.csv names '/etc/passwd'",
    ),
    "metadata with an address": ("file_name,text\nhttp://a.b/c.png,face\n", {"a.png": "PICTURE"}, "c.png is no file"),
    "metadata with too many fields": (
        "file_name,text\na.png,face\na.png,face,face\n",
        {"a.png": "PICTURE"},
        "and no more fields in a row",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(command, earlier_records, picture, name):
    columns, message = TABLES[name]
    if isinstance(columns.get("image"), list):
        columns = {**columns, "image": [picture if image == "PICTURE" else image for image in columns["image"]]}
    write_parquet("table.parquet", **columns)
    assert_one_line(command(autoencoder, "--source", "table.parquet"), message)


@pytest.mark.parametrize(
    "spoil",
    [lambda content: b"", lambda content: b"no parquet", lambda content: content[:-9], lambda content: content[100:]],
)
def test_broken_tables(command, earlier_records, picture, tmp_path, spoil):
    write_parquet("table.parquet", image=[picture] * 6, text=TEXTS)
    path = tmp_path / "table.parquet"
    path.write_bytes(spoil(path.read_bytes()))
    assert_one_line(command(autoencoder, "--source", "table.parquet"), "table.parquet cannot be read")


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(command, earlier_records, picture, tmp_path, name):
    metadata, files, message = FOLDERS[name]
    folder = tmp_path / "folder"
    folder.mkdir()
    for file, content in files.items():
        path = folder / os.fsencode(file).decode("utf-8", "surrogateescape")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture if content == "PICTURE" else content)
    if metadata is not None:
        (folder / "metadata.csv").write_bytes(metadata.encode("utf-8", "surrogateescape"))
    assert_one_line(command(autoencoder, "--source", "folder", "--keyword", ""), message)


def test_bad_pictures_only_are_not_skipped_into_nothing(command, earlier_records):
    write_parquet("table.parquet", image=[b"no picture"] * 6, text=TEXTS)
    assert_one_line(
        command(autoencoder, "--source", "table.parquet", "--skip-bad"),
        "none of the 6 pictures of table.parquet can be decoded",
    )
