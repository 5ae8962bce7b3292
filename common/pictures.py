"""One encoded picture to one tensor: the only place where pictures are decoded, whoever made them."""

import io
import struct
import warnings
import zlib
from typing import Callable, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as F

SIZE = 64  # pixels per side, as in the report
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")  # one of Pillow's others starts a program
UNDECODABLE = (  # what Pillow's decoders raise for damaged pictures, and its reader of EXIF
    OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning,
    ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, struct.error, zlib.error,
)  # fmt: skip


class Row(NamedTuple):
    """A picture that a source has, not opened yet."""

    text: str | None  # its description
    label: str  # what messages call it
    read: Callable[[], bytes]  # gives the encoded picture
    code: str = ""  # its code points, such as 1F63B or 1F64E-1F3FB; empty where the source does not say


Image.init()  # knows all formats and their suffixes
SUFFIXES = frozenset(suffix for suffix, form in Image.registered_extensions().items() if form in FORMATS)  # lower case


def encode_pixels(pixels: list) -> bytes:
    """Nested lists of pixels, (H, W) or (H, W, channels), 0 to 255, as an encoded picture. Raises ValueError."""
    array, file = np.array(pixels), io.BytesIO()
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
        raise ValueError("its pixels are not whole numbers of 0 to 255; the column `image` needs those, or files")
    Image.fromarray(array.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def open_picture(encoded: bytes) -> Image.Image:
    """Any encoded picture, of an animation the first, as RGB on white, upright. Raises one of UNDECODABLE."""
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


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """An RGB picture as a (3, SIZE, SIZE) uint8 tensor, padded with white to a square. Raises ValueError for a line."""
    if max(picture.size) >= 2 * SIZE * min(picture.size):
        raise ValueError(f"of {picture.width}x{picture.height} pixels nothing is left at {SIZE}x{SIZE}")
    return F.pil_to_tensor(ImageOps.pad(picture, (SIZE, SIZE), Image.Resampling.BILINEAR, color="white"))
