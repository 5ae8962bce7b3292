"""Where pictures come from: one entry each in `SOURCES`, or the path of the user's own parquet file or folder.

Nothing is decoded here, and nothing but the Hub's source opens a connection.
"""

import contextlib
import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, Iterator

import pyarrow
import pyarrow.parquet

from common import hub, styles
from common.errors import UserError
from common.pictures import FORMATS, SUFFIXES, Row, encode_pixels

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
BATCH = 256  # rows of a parquet file in memory at a time
MOST_ROWS = 1_000_000  # of a parquet file: a tiny one can hold a thousand times that


@dataclass(frozen=True)
class Source:
    """A dataset or art style that is known by name."""

    name: str
    rows: Callable[[], Iterable[Row]]  # raises UserError if it cannot be had
    credit: str  # whose pictures they are
    licence: str  # under which they may be shown; empty if none is named


# ---------------------------------------------------------------- known by name


def hub_rows() -> list[Row]:
    """The original's dataset, from the local Hub cache or downloaded. Raises UserError if it cannot be had."""
    import datasets  # takes a second to import, and no other source needs it

    file, how = hub.fetch()
    with readable(file):
        opened = parquet(file)
        require_columns(opened, file)
        table = opened.read(["image", "text"])
        texts = strings(table["text"])
        dataset = datasets.Dataset(datasets.table.InMemoryTable(table))
        dataset = dataset.cast_column("image", datasets.Image(decode=False))
    print(f"source: {hub.DATASET} at {hub.REVISION}, the original's dataset, {how}")
    read = [lambda i=i: encoded_picture(dataset[i]["image"]) for i in range(len(texts))]
    return [Row(text, f"row {i} ({text!r:.60}) of {file}", read[i]) for i, text in enumerate(texts)]


SOURCES = {
    source.name: source
    for source in (
        Source("hub", hub_rows, f"{hub.DATASET} on the Hugging Face Hub", ""),
        Source("twemoji", styles.twemoji_rows, "Twemoji, copyright Twitter, Inc and other contributors", "CC-BY 4.0"),
        Source("openmoji", styles.openmoji_rows, "OpenMoji, the open-source emoji and icon project", "CC BY-SA 4.0"),
        Source("noto", styles.noto_rows, "Noto Emoji, copyright Google LLC", "Apache-2.0"),
    )
}


def credited(source: str) -> str:
    """Whose pictures a source's are, and under which licence; of the user's own, the path."""
    known = SOURCES.get(source)
    if known is None:
        return source
    return f"{known.credit} ({known.licence})" if known.licence else known.credit


CHOICES = f"take auto, {', '.join(SOURCES)}, or the path of a parquet file or folder"


# ---------------------------------------------------------------- the user's own: literal paths, no cache


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever is wrong with a file's or folder's content into a UserError."""
    arrow = pyarrow.ArrowException, ArithmeticError, LookupError, RuntimeError, TypeError
    errors = *arrow, csv.Error, OSError, ValueError
    try:
        yield
    except errors as error:
        advice = "give a .parquet file with rows, or a folder with pictures"
        raise UserError(f"{path} cannot be read ({error}); {advice}") from None


def content(path: Path) -> bytes:
    """The bytes of a file; a device or a pipe would never end. Raises OSError."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file")
    return path.read_bytes()


def strings(column: pyarrow.Array) -> list[str | None]:
    """Descriptions as text, whatever simple type they have. Raises ArrowException or ValueError."""
    return column.cast(pyarrow.large_string()).to_pylist()


def encoded_picture(cell: object) -> bytes:
    """The picture in a cell of an image column: its bytes, its path, both in a struct, or its pixels.

    Raises OSError or ValueError.
    """
    if isinstance(cell, dict) and {"bytes", "path"} & set(cell):
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if isinstance(cell, list):
        return encode_pixels(cell)
    if isinstance(cell, str) and cell:
        return content(Path(cell))
    if not cell:
        raise ValueError("it is empty")
    if not isinstance(cell, bytes):
        raise ValueError(f"it is of type {type(cell).__name__}; the column `image` needs encoded pictures")
    return cell


def parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    """A parquet file of bounded size, opened by its literal name. Raises ArrowException, OSError or ValueError."""
    table = pyarrow.parquet.ParquetFile(pyarrow.OSFile(str(path)))  # a mere string may be taken for an address
    if not 0 < table.metadata.num_rows <= MOST_ROWS:
        raise ValueError(f"it has {table.metadata.num_rows} rows, and may have 1 to {MOST_ROWS}")
    return table


def require_columns(table: pyarrow.parquet.ParquetFile, path: Path) -> None:
    """Raise UserError for a parquet file without `image` and `text`."""
    missing = {"image", "text"} - set(table.schema_arrow.names)
    if missing:
        raise UserError(f"{path} has no column {' and no '.join(sorted(missing))}; it needs `image` and `text`")


@dataclass(frozen=True)
class TableRows:
    """Rows of an opened parquet file, as often as they are asked for, a batch at a time in memory."""

    table: pyarrow.parquet.ParquetFile  # with `image` and `text`
    path: Path

    def __iter__(self) -> Iterator[Row]:
        """Raises UserError."""
        with readable(self.path):
            for number, batch in enumerate(self.table.iter_batches(BATCH, columns=["image", "text"])):
                images = batch.column("image")
                for i, text in enumerate(strings(batch.column("text"))):
                    label = f"row {number * BATCH + i} ({text!r:.60}) of {self.path}"
                    yield Row(text, label, lambda image=images[i]: encoded_picture(image.as_py()))


def parquet_rows(path: Path) -> TableRows:
    """Rows of the user's parquet file. Raises what `readable` turns into a UserError, and UserError when iterated."""
    table = parquet(path)
    require_columns(table, path)
    return TableRows(table, path)


def records(file: Path) -> list[dict]:
    """The rows of a metadata file. Every text of a CSV stays the string that was written: NA and 007 are names too."""
    if file.suffix == ".parquet":
        return parquet(file).read().to_pylist()
    with file.open(encoding="utf-8-sig", newline="") as lines:
        if file.suffix == ".csv":
            return list(csv.DictReader(lines, strict=True))
        return [json.loads(line) for line in lines if line.strip()]


def described_files(metadata: Path) -> list[tuple[Path, str | None]]:
    """The files that a metadata file names, and their descriptions. Raises ValueError for one outside its folder."""
    rows = records(metadata)
    if not rows:
        raise ValueError(f"{metadata.name} has no rows")
    for row in rows:
        if not isinstance(row, dict) or not {"file_name", "text"} <= set(row) or None in row:
            raise ValueError(f"{metadata.name} needs the columns `file_name` and `text`, and no more fields in a row")
        name = row["file_name"]
        if not isinstance(name, str) or not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{metadata.name} names {name!r}; a `file_name` is a path inside the folder")
    texts = strings(pyarrow.array([row["text"] for row in rows]))
    return [(metadata.parent / row["file_name"], text) for row, text in zip(rows, texts)]


def files_of(folder: Path) -> list[Path]:
    """All files below a folder, sorted; none hidden, and no links to folders followed. Raises OSError."""

    def fail(error: OSError):
        raise error

    files = []
    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(file for file in files if file.is_file())


def folder_rows(folder: Path) -> list[Row]:
    """The pictures of a folder, described by the `text` of its metadata files or else by their names.

    Raises OSError or ValueError, also for a file name that is no UTF-8.
    """
    files = files_of(folder)
    metadata = [file for file in files if file.name in METADATA]
    if len({file.parent for file in metadata}) < len(metadata):
        raise ValueError(f"of {', '.join(METADATA)} a folder may have one")
    if metadata:
        named = [pair for file in metadata for pair in described_files(file)]
    else:
        named = [(file, file.stem.encode().decode()) for file in files if file.suffix.lower() in SUFFIXES]
    if not named:
        raise ValueError(f"it has no {', '.join(FORMATS)}")
    left_out = len(set(files) - {file for file, _ in named} - set(metadata))
    if left_out:
        reason = f"{metadata[0].name} does not name them" if metadata else "they are no pictures"
        print(f"source: {folder}; {left_out} other files are left out: {reason}")
    return [Row(text, f"{file} ({text!r:.60})", lambda file=file: content(file)) for file, text in named]


def path_rows(path: Path) -> Iterable[Row]:
    """Rows of the user's own parquet file or image folder. Raises UserError, also when iterated."""
    with readable(path):
        path = path.expanduser()
        if not path.exists():
            raise UserError(f"{path} is not there; {CHOICES}")
        if path.is_dir():
            return folder_rows(path)
        if path.suffix != ".parquet":
            raise UserError(f"{path} is not a parquet file; give a .parquet with `image` and `text`, or a folder")
        return parquet_rows(path)


def rows_of(source: str) -> tuple[str, Iterable[Row]]:
    """The name of the source that is meant, and its rows. Says in a line what `auto` has taken. Raises UserError."""
    if not source:
        raise UserError(f"--source is empty; {CHOICES}")
    if source == "auto":
        try:
            return "hub", SOURCES["hub"].rows()
        except UserError as error:
            print(f"source: twemoji, the stand-in: {str(error).rpartition(';')[0]}")
            source = "twemoji"
    return source, SOURCES[source].rows() if source in SOURCES else path_rows(Path(source))
