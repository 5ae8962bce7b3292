"""The picture that a visitor chooses: an emoji of Twemoji, or one of their own."""

from pathlib import Path

import gradio
import torch

from page import cache, show


def named(query: str) -> torch.Tensor:
    """(3, 64, 64) uint8, Twemoji's picture of the emoji that is meant. Raises UserError."""
    return cache.pictures("twemoji").images[cache.find(query)]


def uploaded(path: str) -> torch.Tensor:
    """(3, 64, 64) uint8, a visitor's picture, whose file is removed: nothing of it is kept. Raises UserError."""
    file = Path(path)
    encoded = file.read_bytes()
    file.unlink()
    return cache.decode(encoded)


def field(usual: str, tab: str) -> gradio.State:
    """A text for an emoji and a button for a picture: the state of what was chosen last."""
    picture = gradio.State(named(usual))
    with gradio.Row():
        name = gradio.Textbox(usual, label="an emoji", max_length=200, elem_id=f"{tab}-emoji", scale=3)
        upload = gradio.UploadButton("or your own picture", elem_id=f"{tab}-upload", scale=1)
    once = {"concurrency_id": "one", "show_progress": "hidden"}
    gradio.on([name.submit, name.blur], show.in_a_line(named), name, picture, api_name=f"{tab}_emoji", **once)
    upload.upload(show.in_a_line(uploaded), upload, picture, api_name=f"{tab}_picture", **once)
    return picture
