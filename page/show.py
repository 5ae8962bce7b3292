"""How the page shows pictures, numbers and errors, as HTML that fits any width, and how it takes a picture."""

import base64
import functools
import html
import io
from pathlib import Path
from typing import Callable

import gradio
import torch
from PIL import Image

from lab import sources
from lab.cli import UserError
from page import cache

THEME = gradio.themes.Default(font=("system-ui", "sans-serif"))
STYLE = """
.row { display: flex; flex-wrap: wrap; gap: 8px 14px; margin: 8px 0; }
.row figure { margin: 0; width: 112px; font-size: 13px; line-height: 1.3; text-align: center; overflow-wrap: anywhere; }
.row figure img { width: 112px; height: 112px; border: 1px solid #ddd; border-radius: 6px; }
.row .sign { font-size: 26px; line-height: 112px; }
img.strip { width: 100%; height: 26px; image-rendering: pixelated; }
img.wide { width: 100%; max-width: 620px; }
table.table { font-size: 14px; width: auto; } table.table td { padding: 3px 10px !important; }
#sheet .grid-container { grid-template-columns: repeat(auto-fill, minmax(64px, 1fr)) !important; }
#sheet img { background: white; } #sheet .caption-label { display: none; }
.tab-container button { padding: 0 10px !important; font-size: 14px !important; }
"""
WAIT = "<p>The pictures appear in a few seconds.</p>"  # in a tab that has just been opened


def to_pil(picture: torch.Tensor) -> Image.Image:
    """A (3, H, W) picture, uint8 or float in [0, 1]."""
    if picture.dtype != torch.uint8:
        picture = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(picture.permute(1, 2, 0).numpy())


def to_address(picture: Image.Image) -> str:
    """A picture as an address that holds its PNG."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def row(*cells: tuple[torch.Tensor, str] | str) -> str:
    """Pictures with their captions, and signs between them, in a row that wraps."""
    parts = []
    for cell in filter(None, cells):
        if isinstance(cell, str):
            parts.append(f'<span class="sign">{cell}</span>')
        else:
            picture, caption = to_address(to_pil(cell[0])), html.escape(cell[1])
            parts.append(f'<figure><img src="{picture}" alt="{caption}"><figcaption>{caption}</figcaption></figure>')
    return f'<div class="row">{"".join(parts)}</div>'


def strip(latent: torch.Tensor, caption: str) -> str:
    """A (d,) latent as a strip of d colours: white is 0, red above it and blue below, full at its largest number."""
    parts = latent / latent.abs().max().clamp_min(1e-9)
    white = 1 - parts.abs()
    colours = torch.stack([torch.where(parts < 0, white, 1.0), white, torch.where(parts > 0, white, 1.0)])
    return f'<p>{caption}</p><img class="strip" src="{to_address(to_pil(colours[:, None]))}" alt="{caption}">'


def listen(events: list, function: Callable, inputs, outputs, name: str | None = None) -> None:
    """Call a function on these events, one visitor at a time; `name` makes it public. A UserError becomes a line."""

    @functools.wraps(function)
    def answered(*arguments):
        try:
            return function(*arguments)
        except UserError as error:
            line = html.escape(str(error).replace("--", ""))  # what are options elsewhere are fields here
            raise gradio.Error(line, print_exception=False, duration=20) from None

    endpoint = {"api_name": name} if name else {"api_visibility": "private"}
    common = {"trigger_mode": "always_last", "concurrency_id": "one", "show_progress": "minimal"}
    gradio.on(events, answered, inputs, outputs, **common, **endpoint)


def uploaded(path: str) -> torch.Tensor:
    """(3, 64, 64) uint8, a visitor's picture. Its file is removed at once. Raises UserError."""
    encoded = Path(path).read_bytes()
    Path(path).unlink()
    picture = sources.decode(sources.Row(None, path, lambda: encoded), skip_bad=True)
    if picture is None:
        raise UserError(f"the picture cannot be opened; give a complete {', '.join(sources.FORMATS)}")
    return picture


def picture_field(usual: str, tab: str) -> gradio.State:
    """A text for an emoji of Twemoji and a button for one's own picture: the state that holds the last of them."""
    picture = gradio.State(cache.picture(usual))
    with gradio.Row():
        name = gradio.Textbox(usual, label="an emoji", max_length=200, elem_id=f"{tab}-emoji", scale=3)
        upload = gradio.UploadButton("or your own picture", elem_id=f"{tab}-upload", scale=1)
    listen([name.submit, name.blur], cache.picture, name, picture, f"{tab}_emoji")
    listen([upload.upload], uploaded, upload, picture, f"{tab}_picture")
    return picture
