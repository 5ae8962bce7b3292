"""How the page shows pictures, numbers and tables: as HTML that fits any width, with nothing that must be fetched."""

import base64
import functools
import html
import io
from typing import Callable, Sequence

import gradio
import torch
from PIL import Image

from lab.cli import UserError

STYLE = """
.row { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: flex-start; margin: 8px 0; }
.row .cell { display: flex; gap: 14px; }
.row figure { margin: 0; width: 112px; font-size: 13px; line-height: 1.3; text-align: center; overflow-wrap: anywhere; }
.row figure img { width: 112px; height: 112px; border: 1px solid #ddd; border-radius: 6px; }
.row .sign { font-size: 26px; line-height: 112px; min-width: 14px; text-align: center; }
.row.small figure { width: 72px; } .row.small figure img { width: 72px; height: 72px; }
img.plain { image-rendering: pixelated; } img.strip { width: 100%; height: 26px; border-radius: 4px; }
img.wide { width: 100%; max-width: 620px; background: white; }
table.table { border-collapse: collapse; font-size: 14px; width: auto; border: 0 !important; }
table.table td, table.table th { border: 0 !important; border-bottom: 1px solid #bbb !important; }
table.table td, table.table th { padding: 3px 14px 3px 0 !important; text-align: left; }
#sheet .grid-container { grid-template-columns: repeat(auto-fill, minmax(64px, 1fr)) !important; }
#sheet img { background: white; } #sheet .caption-label { display: none; }
.tab-container button { padding: 0 10px !important; font-size: 14px !important; }
footer { display: none !important; }
"""

COMING = "<p>The pictures come in a few seconds.</p>"  # in a tab that has just been opened


def uri(encoded: bytes) -> str:
    """A PNG as the address of a picture that is in the page itself."""
    return "data:image/png;base64," + base64.b64encode(encoded).decode()


def to_pil(picture: torch.Tensor) -> Image.Image:
    """A (3, H, W) picture, uint8 or float in [0, 1]."""
    if picture.dtype != torch.uint8:
        picture = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(picture.permute(1, 2, 0).numpy())


def png(picture: torch.Tensor) -> bytes:
    """A (3, H, W) picture, uint8 or float in [0, 1], as a PNG."""
    file = io.BytesIO()
    to_pil(picture).save(file, "PNG")
    return file.getvalue()


def row(*cells: tuple[torch.Tensor, str] | str, kind: str = "") -> str:
    """Pictures with their captions, in a row that wraps; a text among them is the sign before the next picture."""
    parts, sign = [], ""
    for cell in cells:
        if isinstance(cell, str):
            sign = f'<span class="sign">{html.escape(cell)}</span>' if cell else ""
            continue
        picture, caption = cell[0], html.escape(cell[1])
        image = f'<img src="{uri(png(picture))}" alt="{caption}">'
        parts.append(f'<div class="cell">{sign}<figure>{image}<figcaption>{caption}</figcaption></figure></div>')
        sign = ""
    return f'<div class="row {kind}">{"".join(parts)}</div>'


def strip(latent: torch.Tensor, about: str) -> str:
    """A (d,) latent as a strip of d colours: white is 0, red above it and blue below, full at its largest number."""
    parts = latent / latent.abs().max().clamp_min(1e-9)
    white = 1 - parts.abs()
    colours = torch.stack([torch.where(parts < 0, white, 1.0), white, torch.where(parts > 0, white, 1.0)])
    image = uri(png(colours[:, None]))
    return f'<p>{html.escape(about)}</p><img class="plain strip" src="{image}" alt="{html.escape(about)}">'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts."""
    lines = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in rows)
    return f'<table class="table"><tr>{"".join(f"<th>{html.escape(name)}</th>" for name in head)}</tr>{lines}</table>'


def text(*sentences: str) -> str:
    """Sentences as a paragraph."""
    return f"<p>{html.escape(' '.join(sentences))}</p>"


def in_a_line(function: Callable) -> Callable:
    """The function of an event; what its user can mend is shown on the page in one line, without a traceback."""

    @functools.wraps(function)
    def answered(*arguments, **options):
        try:
            return function(*arguments, **options)
        except UserError as error:
            line = html.escape(str(error).replace("--", ""))  # what are options elsewhere are fields here
            raise gradio.Error(line, print_exception=False, duration=20) from None

    return answered


def at_first(function: Callable, *arguments) -> str:
    """What a function gives as HTML before anybody asks; what is missing for it is a line there, not an error."""
    try:
        return function(*arguments)
    except UserError as error:
        return text(str(error))
