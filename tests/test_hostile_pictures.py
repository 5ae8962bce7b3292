"""Pictures and descriptions from anywhere: the right pixels and names, or one line that says which picture it was."""

import io
import os
import struct
import warnings
import zlib

import datasets
import pytest
import torch
from PIL import Image, ImageFile

import data
from common import figures
from common.errors import UserError
from common.pictures import Row


def encode(picture: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def png(width: int, height: int, depth: int, kind: int, row: bytes) -> bytes:
    """A PNG with equal rows, written by hand: Pillow writes neither 16-bit colours nor false sizes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    rows = zlib.compress((b"\0" + row) * min(height, 64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def plain(mode: str, colour, size=(8, 8)) -> Image.Image:
    return Image.new(mode, size, colour)


def halves(left, right, mode: str = "RGB") -> Image.Image:
    picture = Image.new(mode, (64, 64), left)
    picture.paste(right, (32, 0, 64, 64))
    return picture


def with_palette() -> Image.Image:
    """Left the palette's first colour, red, right its second, blue."""
    picture = halves(0, 1, "P")
    picture.putpalette([255, 0, 0, 0, 0, 255])
    return picture


def turned(orientation: int) -> bytes:
    """A picture with a red left half, stored so that it is upright only after its EXIF orientation is applied."""
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(halves(RED, WHITE).transpose(back), exif=exif)


RED, BLUE, WHITE, BLACK, GREY = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128)
SIXTEEN = struct.pack(">HHHH", 0x8000, 0x8000, 0, 0)  # grey, grey, black, black
SIXTEEN_RGB = struct.pack(">6H", 0x8000, 0x8000, 0x8000, 0, 0, 0)

# what is encoded, and the colours of its left and right half on white
RIGHT = {
    "one pixel": (encode(plain("RGB", RED, (1, 1))), RED, RED),
    "1 bit": (encode(halves(0, 1, "1")), BLACK, WHITE),
    "grey and alpha": (encode(halves((0, 128), (0, 0), "LA")), (127, 127, 127), WHITE),
    "colour and alpha": (encode(halves((255, 0, 0, 255), (0, 0, 0, 0), "RGBA")), RED, WHITE),
    "palette": (encode(with_palette()), RED, BLUE),
    "palette with a transparent colour": (encode(with_palette(), transparency=1), RED, WHITE),
    "palette with alpha": (encode(with_palette(), transparency=b"\xff\x80"), RED, (127, 127, 255)),
    "a transparent colour": (encode(halves(RED, BLUE), transparency=BLUE), RED, WHITE),
    "16-bit grey": (png(4, 4, 16, 0, SIXTEEN), GREY, BLACK),
    "16-bit colours": (png(2, 2, 16, 2, SIXTEEN_RGB), GREY, BLACK),
    "16-bit grey in a TIFF": (encode(plain("I;16", 0x8000), "TIFF"), GREY, GREY),
    "CMYK": (encode(halves((0, 255, 255, 0), (255, 255, 0, 0), "CMYK"), "TIFF"), RED, BLUE),
    "CMYK, inverted as Adobe does": (encode(halves((0, 255, 255, 0), (255, 255, 0, 0), "CMYK"), "JPEG"), RED, BLUE),
    "animated": (
        encode(halves(RED, BLUE), "GIF", save_all=True, append_images=[plain("RGB", BLACK, (64, 64))]),
        RED,
        BLUE,
    ),
    "animated PNG": (
        encode(halves(RED, BLUE), save_all=True, append_images=[plain("RGB", BLACK, (64, 64))]),
        RED,
        BLUE,
    ),
    "WebP": (encode(halves((255, 0, 0, 255), (0, 0, 0, 0), "RGBA"), "WEBP", lossless=True), RED, WHITE),
    "upside down": (turned(3), RED, WHITE),
    "on its right side": (turned(6), RED, WHITE),
    "on its left side": (turned(8), RED, WHITE),
}


@pytest.mark.parametrize("name", RIGHT)
def test_pixels_are_right(name):
    encoded, left, right = RIGHT[name]
    image = data.to_tensor(data.open_picture(encoded)).float()
    for columns, colour in ((slice(0, 12), left), (slice(52, 64), right)):  # away from the edge between them
        part = image[:, :, columns]
        assert (part - torch.tensor(colour)[:, None, None]).abs().max() <= 3, (colour, part[:, 32, 6])


@pytest.mark.parametrize("size", [(100, 1), (1, 100)])
def test_a_narrow_picture_is_a_line_on_white(size):
    image = data.to_tensor(plain("RGB", BLACK, size))
    across = image if size[1] == 1 else image.mT
    assert (across.float().mean((0, 2)) < 255).sum() == 1  # one row is not white


BOMB, WORSE = png(10_000, 9_000, 8, 2, b""), png(60_000, 60_000, 8, 2, b"")
EXIF = bytes.fromhex(
    "457869660000 4d4d002a00000008 0002 010e000200000004 61626300 0112000300000001 00060000 00000000"
)  # turned, named abc
AVIF = encode(Image.linear_gradient("L").convert("RGB"), "AVIF")
MOVING = encode(plain("RGB", RED), "AVIF", save_all=True, append_images=[plain("RGB", BLUE)])
NOISE = Image.effect_noise((64, 64), 100).convert("RGB")


def with_exif(exif: bytes) -> bytes:
    return encode(plain("RGB", RED), "JPEG", exif=exif)


BAD = {
    "a size that Pillow warns of": (BOMB, "90000000 pixels"),
    "a size that Pillow refuses": (WORSE, "3600000000 pixels"),
    "huge GIF": (b"GIF89a\xff\xff\xff\xff" + encode(plain("P", 0), "GIF")[10:], "pixels"),
    "no bytes": (b"", "none of PNG, JPEG"),
    "text": (b"a picture of a face", "none of PNG, JPEG"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>', "none of PNG, JPEG"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "none of PNG, JPEG"),
    "PostScript, which would start a program": (encode(plain("RGB", RED), "EPS"), "none of PNG, JPEG"),
    "PDF": (encode(plain("RGB", RED), "PDF"), "none of PNG, JPEG"),
    "signature alone": (b"\x89PNG\r\n\x1a\n", "none of PNG, JPEG"),
    "truncated PNG": (encode(NOISE)[:3000], "truncated"),
    "truncated JPEG": (encode(NOISE, "JPEG")[:1500], "truncated"),
    "PNG with a wrong checksum": (encode(NOISE).replace(b"IDAT", b"IDAt", 1), ""),
    "broken EXIF, no number": (with_exif(EXIF[:17] + b"J" + EXIF[18:40] + b"\x80" + EXIF[41:]), "not an integer"),
    "broken EXIF, text for a number": (with_exif(EXIF[:15] + b"A\x01\x1f" + EXIF[18:]), "abs()"),
    "broken EXIF, a fraction for text": (with_exif(EXIF[:19] + b"\5\0\0\0\1\0\0\0\0" + EXIF[28:]), "encode"),
    "AVIF with damaged content": (AVIF[:-8] + bytes(8), "Failed to decode"),
    "AVIF without a time scale": (MOVING.replace(b"mdhd", b"mdhe"), "division by zero"),
    "real numbers": (encode(plain("F", 0.5), "TIFF"), "32 bits per pixel"),
    "whole numbers of 32 bits": (encode(plain("I", 70_000), "TIFF"), "32 bits per pixel"),
    "10000 pixels in a row": (encode(plain("RGB", RED, (10_000, 1))), "10000x1 pixels nothing is left"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_decoded_is_named_or_counted(name, monkeypatch):
    content, message = BAD[name]
    if "size" in name or "huge" in name:  # refused by its header alone: nothing of it may be decoded
        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda picture: pytest.fail("decoded"))
    rows = [Row("face 7", "row 7", lambda: content)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning is a second line
        with pytest.raises(UserError) as error:
            data.decode(rows, "made", "face", False)
        assert (
            str(error.value).startswith("row 7 cannot be decoded (")
            and message in str(error.value)
            and "\n" not in str(error.value)
        )
        with pytest.raises(UserError, match="none of the 1 pictures of made can be decoded"):
            data.decode(rows, "made", "face", True)
    monkeypatch.undo()
    originals = data.decode([Row("face 6", "row 6", lambda: RIGHT["one pixel"][0]), *rows], "made", "face", True)
    assert (originals.names, originals.skipped) == (["face 6"], 1)


# ---------------------------------------------------------------- descriptions

TEXTS = {
    "Smiling-Face": "smiling face",
    "  tab\tand\nnew line ": "tab and new line",
    "\x1b[31mred\x00\x07": "[31mred",
    "": "",
    None: "",
    "وجه مبتسم": "وجه مبتسم",
    "笑脸 顔": "笑脸 顔",
    "👩‍🚀 face": "👩‍🚀 face",
    "$\\frac{$": "$\\frac{$",
    "x" * 10**6: "x" * 10**6,
}


def test_any_description_is_a_name_and_a_title(tmp_path):
    texts, image = list(TEXTS), {"bytes": RIGHT["one pixel"][0], "path": None}
    datasets.Dataset.from_dict({"image": [image] * len(texts), "text": texts}).to_parquet(tmp_path / "texts.parquet")
    originals = data.load_originals(str(tmp_path / "texts.parquet"), "")
    assert originals.names == list(TEXTS.values())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the figures' font has Latin letters only: boxes for others
        path = figures.reconstructions([("original", originals.images)], originals.names, tmp_path / "figure.png")
    width, height = Image.open(path).size
    assert width < 2500 and height < 800


def test_a_bad_picture_with_a_hostile_description_is_one_short_line(tmp_path):
    text = "face\n\x1b[2J" + "x" * 10**6
    datasets.Dataset.from_dict({"image": [{"bytes": b"", "path": None}], "text": [text]}).to_parquet(
        tmp_path / "long.parquet"
    )
    with pytest.raises(UserError) as error:
        data.load_originals(str(tmp_path / "long.parquet"))
    assert str(error.value).isprintable() and len(str(error.value)) < 400 and "row 0 ('face" in str(error.value)


def test_twins_share_a_name_and_numbers_are_names(tmp_path):
    image = {"bytes": RIGHT["one pixel"][0], "path": None}
    for file, texts, names in (("same", ["face"] * 3, ["face"] * 3), ("numbers", [1, 22, 3], ["1", "22", "3"])):
        datasets.Dataset.from_dict({"image": [image] * 3, "text": texts}).to_parquet(tmp_path / f"{file}.parquet")
        assert data.load_originals(str(tmp_path / f"{file}.parquet"), "").names == names


# ---------------------------------------------------------------- folders


def test_a_folder_gives_every_picture_and_nothing_else(tmp_path):
    """A picture called train is no training set; what only looks like a picture is left alone; links lead nowhere."""
    folder = tmp_path / "my [pictures]*"
    (folder / "more").mkdir(parents=True)
    for name in ("train", "test tube", "val-1", "more/face"):
        (folder / f"{name}.png").write_bytes(RIGHT["one pixel"][0])
    (folder / "folder.png").mkdir()
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")  # reading it would never end
    assert sorted(data.load_originals(str(folder), "").names) == ["face", "test tube", "train", "val 1"]
