"""The user's own pictures: a parquet file with `image` and `text`, or a folder of pictures."""

import contextlib
import csv
import io
import json
import os
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
from PIL import Image

from lab.cli import UserError
from lab.names import code_of, names_by_code
from lab.sources import FORMATS, Row

METADATA = ("metadata.csv", "metadata.jsonl")
PARTS = {"train", "training", "test", "val", "valid", "validation", "dev"}  # folders of a split, not of a class


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what is wrong with the content of a file or folder into a UserError."""
    try:
        yield
    except UnicodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from None
    except (pyarrow.ArrowException, csv.Error, OSError, ValueError, LookupError, TypeError) as error:
        advice = "give a .parquet file with the columns `image` and `text`, or a folder with pictures"
        raise UserError(f"{path} cannot be read ({error}); {advice}") from None


def row(text: str | None, label: str, read: Callable[[], bytes], described_by: str) -> Row:
    """A row; a description that is an emoji's character becomes the emoji's name."""
    code = code_of(text or "")
    name = names_by_code().get(code)
    return Row(name or text, f"{label} ({text!r:.60})", read, code if name else "", described_by)


def encoded_pixels(cell: list) -> bytes:
    """(H, W), (H, W, C) or (C, H, W) numbers, 0..255 or floats in [0, 1], as a PNG. Raises ValueError."""
    pixels = np.array(cell)
    if pixels.ndim == 3 and pixels.shape[2] > 4:
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim not in (2, 3) or not pixels.size or pixels.dtype.kind not in "buif" or pixels.shape[2:] > (4,):
        raise ValueError(f"its image is a list of shape {pixels.shape}, not (H, W), (H, W, C) or (C, H, W) numbers")
    scale = 255 if pixels.dtype.kind in "bf" and pixels.max() <= 1 else 1
    if not 0 <= pixels.min() <= pixels.max() * scale <= 255:
        raise ValueError("its pixels are neither in 0..255 nor in [0, 1]")
    squeezed = pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
    Image.fromarray((squeezed * scale).astype(np.uint8)).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def encoded_picture(cell: object) -> bytes:
    """The picture in a cell of an image column: bytes, a path, both in a struct, or pixels. Raises OSError, ValueError."""
    if isinstance(cell, dict):
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if isinstance(cell, list):
        return encoded_pixels(cell)
    if isinstance(cell, str) and cell:
        return Path(cell).read_bytes()
    if not isinstance(cell, bytes) or not cell:
        raise ValueError(f"its image is {type(cell).__name__}, not an encoded picture")
    return cell


def class_names(schema: pyarrow.Schema) -> dict[str, dict[int, str]]:
    """What the numbers in each column of class labels mean, as the library `datasets` stores it."""
    about = json.loads((schema.metadata or {}).get(b"huggingface", "{}"))
    features = about.get("info", {}).get("features", {}).items()
    return {name: dict(enumerate(feature["names"])) for name, feature in features if "names" in feature}


def parquet_rows(path: Path) -> Iterator[Row]:
    """Rows of a parquet file, a batch at a time in memory: `image`, and `text` or class labels. Raises UserError."""
    # A mere string may be taken for an address.
    with readable(path), parquet.ParquetFile(pyarrow.OSFile(str(path))) as table:
        found, classes = table.schema_arrow.names, class_names(table.schema_arrow)
        column = next((name for name in ("text", *classes) if name in found), "text")
        if not {"image", column} <= set(found):
            raise ValueError(f"it needs the columns `image` and `text`, and has {', '.join(found)}")
        for batch in table.iter_batches(256, columns=["image", column]):
            texts = batch.column(column)
            numbers = column in classes and texts.to_pylist()
            texts = [*map(classes[column].get, numbers)] if numbers else texts.cast(pyarrow.large_string()).to_pylist()
            for text, image in zip(texts, batch.column("image")):
                yield row(text, str(path), lambda image=image: encoded_picture(image.as_py()), f"column {column}")


def described_files(metadata: Path) -> list[tuple[Path, str]]:
    """The files that a metadata.csv or .jsonl names, and their descriptions. Raises UserError."""
    with readable(metadata), metadata.open(encoding="utf-8-sig", newline="") as lines:
        csv_rows = metadata.suffix == ".csv"
        rows = list(csv.DictReader(lines)) if csv_rows else [json.loads(line) for line in lines if line.strip()]
        for each in rows:
            name = each.get("file_name") if isinstance(each, dict) else None
            if not isinstance(name, str) or each.get("text") is None:
                raise ValueError(f"it needs the columns `file_name` and `text`, and has {', '.join(map(str, each))}")
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(f"it names {name!r}, which is not inside the folder")
    return [(metadata.parent / each["file_name"], str(each["text"])) for each in rows]


def files_below(folder: Path) -> list[Path]:
    """All files in order, those behind links too, hidden ones not."""
    files, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        new = os.path.realpath(place) not in seen  # a link may lead back
        seen.add(os.path.realpath(place))
        folders[:] = sorted(name for name in folders if new and not name.startswith("."))
        files += [Path(place, name) for name in names if new and not name.startswith(".")]
    return sorted(files)


def class_folder(path: Path) -> str:
    """The folder nearest to a file, by its path inside the source, that is not named after a part; empty if none."""
    return next((name for name in reversed(path.parts[:-1]) if name.lower() not in PARTS), "")


def folder_rows(folder: Path) -> list[Row]:
    """The pictures of a folder, described by its metadata.csv or .jsonl, else by class folders if all are in such and
    these are several, else by their file names. Raises UserError."""
    Image.init()
    suffixes = {suffix for suffix, form in Image.registered_extensions().items() if form in FORMATS}
    files = files_below(folder)
    pictures = [path for path in files if path.suffix.lower() in suffixes]
    classes = [class_folder(path.relative_to(folder)) for path in pictures]
    by, named = "their folders", [*zip(pictures, classes)]
    if metadata := [path for path in files if path.name in METADATA]:
        by, named = metadata[0].name, [pair for path in metadata for pair in described_files(path)]
    elif not all(classes) or len(set(classes)) < 2:
        by, named = f"their file names, without {' or '.join(METADATA)}", [(path, path.stem) for path in pictures]
    if not named:
        tables = [path for path in files if path.suffix.lower() == ".parquet"]
        found = ", ".join(sorted({path.suffix or path.name for path in files})) or "nothing"
        if not tables:
            raise UserError(f"{folder} has no {', '.join(FORMATS)}, nor .parquet; it has {found}")
        return [each for path in tables for each in parquet_rows(path)]
    return [row(text, str(path), path.read_bytes, by) for path, text in named]
