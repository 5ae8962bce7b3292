"""The user's own pictures: a parquet file with `image` and `text`, or a folder of pictures."""

import contextlib
import csv
import json
from pathlib import Path
from typing import Iterator

import pyarrow
import pyarrow.parquet as parquet
from PIL import Image

from lab.cli import UserError
from lab.sources import FORMATS, Row


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what is wrong with the content of a file or folder into a UserError."""
    try:
        yield
    except (pyarrow.ArrowException, csv.Error, OSError, ValueError, LookupError, TypeError) as error:
        advice = "give a .parquet file with the columns `image` and `text`, or a folder with pictures"
        raise UserError(f"{path} cannot be read ({error}); {advice}") from None


def encoded_picture(cell: object) -> bytes:
    """The picture in a cell of an image column: bytes, a path, or both in a struct. Raises OSError, ValueError."""
    if isinstance(cell, dict):
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if isinstance(cell, str) and cell:
        return Path(cell).read_bytes()
    if not isinstance(cell, bytes) or not cell:
        raise ValueError(f"its image is {type(cell).__name__}, not an encoded picture")
    return cell


def parquet_rows(path: Path) -> Iterator[Row]:
    """Rows of a parquet file with `image` and `text`, a batch at a time in memory. Raises UserError."""
    with readable(path):
        with parquet.ParquetFile(pyarrow.OSFile(str(path))) as table:  # a mere string may be taken for an address
            missing = {"image", "text"} - set(table.schema_arrow.names)
            if missing:
                raise ValueError(f"it has no column {' and no '.join(sorted(missing))}")
            for batch in table.iter_batches(256, columns=["image", "text"]):
                texts = batch.column("text").cast(pyarrow.large_string()).to_pylist()
                for text, image in zip(texts, batch.column("image")):
                    yield Row(text, f"{text!r:.60} of {path}", lambda image=image: encoded_picture(image.as_py()))


def described_files(metadata: Path) -> list[tuple[Path, str]]:
    """The files that a metadata.csv or .jsonl names, and their descriptions. Raises ValueError for one outside."""
    with metadata.open(encoding="utf-8-sig", newline="") as lines:
        csv_rows = metadata.suffix == ".csv"
        rows = list(csv.DictReader(lines)) if csv_rows else [json.loads(line) for line in lines if line.strip()]
    for row in rows:
        name = row.get("file_name") if isinstance(row, dict) else None
        if not isinstance(name, str) or row.get("text") is None:
            raise ValueError(f"{metadata.name} needs the columns `file_name` and `text`")
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{metadata.name} names {name!r}, which is not inside the folder")
    return [(metadata.parent / row["file_name"], str(row["text"])) for row in rows]


def folder_rows(folder: Path) -> list[Row]:
    """The pictures of a folder, described by its metadata.csv or .jsonl, else by their file names. Raises UserError."""
    Image.init()
    suffixes = {suffix for suffix, form in Image.registered_extensions().items() if form in FORMATS}
    with readable(folder):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
        metadata = [path for path in files if path.name in ("metadata.csv", "metadata.jsonl")]
        named = [pair for path in metadata for pair in described_files(path)]
        named = named or [(path, path.stem) for path in files if path.suffix.lower() in suffixes]
        if not named:
            raise ValueError(f"it has no {', '.join(FORMATS)}")
    return [Row(text, f"{path} ({text!r:.60})", path.read_bytes) for path, text in named]
