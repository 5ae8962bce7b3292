"""The user's own pictures: a parquet file with `image` and `text`, or a folder of pictures."""

import csv
import io
import json
import os
from functools import partial
from pathlib import Path
from typing import Callable

import numpy as np
import pyarrow
from PIL import Image
from pyarrow import json as json_lines
from pyarrow import parquet

from lab.cli import UserError
from lab.names import code_of, names_by_code
from lab.sources import FORMATS, SOURCES, Row

METADATA = ("metadata.csv", "metadata.jsonl")
PARTS = {"train", "training", "test", "val", "valid", "validation", "dev"}  # folders of a split, not of a class


def own_row(text: str | None, label: str | Path, read: Callable[[], bytes], described_by: str) -> Row:
    """A row; a description that is an emoji's character becomes the emoji's name."""
    code = code_of(text or "")
    name = names_by_code().get(code)
    return Row(name or text, f"{label} ({text!r:.60})", read, code if name else "", described_by)


def encoded_pixels(cell: list) -> bytes:
    """(H, W), (H, W, C) or (C, H, W) numbers, 0..255 or none above 1, as a PNG. Raises ValueError, TypeError."""
    pixels = np.array(cell).squeeze()
    pixels = np.moveaxis(pixels, 0, 2) if pixels.ndim == 3 and pixels.shape[2] > 4 else pixels
    pixels = pixels * 255 if pixels.max() <= 1 else pixels
    if pixels.ndim < 2 or not 0 <= pixels.min() <= pixels.max() <= 255:
        raise ValueError(f"its image, a list of shape {np.shape(cell)}, is not (H, W, C) pixels in 0..255 or [0, 1]")
    Image.fromarray(pixels.astype(np.uint8)).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def encoded_picture(scalar: pyarrow.Scalar, folder: Path) -> bytes:
    """The picture in a cell of a table in `folder`: bytes, a path, both in a struct, or pixels. Raises anything."""
    cell = scalar.as_py()
    cell = (cell.get("bytes") or cell.get("path")) if isinstance(cell, dict) else cell
    if isinstance(cell, list):
        return encoded_pixels(cell)
    return (folder / cell).read_bytes() if isinstance(cell, str) else cell


def read_table(path: Path) -> pyarrow.Table:
    """A metadata.csv, a metadata.jsonl or a parquet file. Raises pyarrow's errors, csv.Error, OSError, ValueError."""
    if path.name not in METADATA:
        return parquet.read_table(pyarrow.OSFile(str(path)))  # a mere string may be taken for an address
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".jsonl":
        return json_lines.read_json(io.BytesIO(text.encode()))
    rows = [*csv.DictReader(io.StringIO(text), strict=True)]
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("a row has more or fewer cells than the header; quote a text that has a comma")
    return pyarrow.Table.from_pylist(rows)


def class_names(schema: pyarrow.Schema) -> dict[str, dict[str, str]]:
    """What the numbers in each column of class labels mean, as the library `datasets` stores it."""
    about = json.loads((schema.metadata or {}).get(b"huggingface", "{}"))
    features = about.get("info", {}).get("features", {}).items()
    return {name: {str(i): k for i, k in enumerate(f["names"])} for name, f in features if "names" in f}


def table_rows(path: Path) -> list[Row]:
    """Rows of a table: `image`, or for metadata `file_name`, and `text` or else class labels. Raises UserError."""
    if not path.exists():
        raise UserError(f"the source {str(path)!r} does not exist; take {', '.join(SOURCES)}, a parquet file, a folder")
    image = "file_name" if path.name in METADATA else "image"
    try:
        table = read_table(path)
        classes, found = class_names(table.schema), table.column_names
        column = next((name for name in ("text", *classes) if name in found), "text")
        if not {image, column} <= {*found}:
            raise ValueError(f"it has the columns {found}" if found else "it has no rows")
        texts, names = table[column].cast(pyarrow.large_string()).to_pylist(), classes.get(column, {})
    except (pyarrow.ArrowException, csv.Error, OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); it needs the columns `{image}` and `text`") from None
    labels = [path] * len(table) if image == "image" else [path.parent / str(name) for name in table[image]]
    reads = [partial(encoded_picture, cell, path.parent) for cell in table[image]]
    by = f"`{column}` of {path.name}"
    return [own_row(names.get(text, text), label, read, by) for text, label, read in zip(texts, labels, reads)]


def files_below(folder: Path) -> list[Path]:
    """All files in order, those behind links too, hidden ones not."""
    files, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        new = os.path.realpath(place) not in seen  # a link may lead back
        seen.add(os.path.realpath(place))
        folders[:] = sorted(name for name in folders if new and not name.startswith("."))
        files += [Path(place, name) for name in names if new and not name.startswith(".")]
    return sorted(files)


def folder_rows(folder: Path) -> list[Row]:
    """The pictures of a folder, described by its metadata.csv or .jsonl; by class folders (not those of a split), if
    all are in one and there are several; or by file names. Or its parquet files. Raises UserError."""
    Image.init()
    suffixes = {suffix for suffix, form in Image.registered_extensions().items() if form in FORMATS}
    files = files_below(folder)
    pictures = [path for path in files if path.suffix.lower() in suffixes]
    parquets = [path for path in files if path.suffix.lower() == ".parquet"]
    described = {path.parent: path for path in reversed(files) if path.name in METADATA}  # one a folder
    if tables := sorted(described.values()) + ([] if pictures else parquets):
        return [row for path in tables for row in table_rows(path)]
    found = ", ".join(sorted({path.suffix or path.name for path in files})) or "nothing"
    if not pictures:
        raise UserError(f"{folder} has no {', '.join(FORMATS)} or .parquet file; it has {found}")
    inside = [path.relative_to(folder).parts[:-1] for path in pictures]
    names = [next((name for name in reversed(parts) if name.lower() not in PARTS), "") for parts in inside]
    by = "their folders"
    if not all(names) or len(set(names)) < 2:
        names, by = [path.stem for path in pictures], f"their file names: no {' or '.join(METADATA)}, only {found}"
    return [own_row(name, path, path.read_bytes, by) for name, path in zip(names, pictures)]
