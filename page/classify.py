"""The tab *Happy or sad*: the classifier's answer with its confidence, and the new picture on the map of latents."""

import tempfile
from pathlib import Path

import gradio
import torch
from PIL import Image

from lab import figures
from lab.classes import CLASSES, class_probabilities, classify, project_to_plane
from lab.networks import encode_all
from page import cache, show


def classified(picture: torch.Tensor) -> str:
    """The answer for a (3, 64, 64) uint8 picture with its confidence, over the map of latents, as HTML."""
    model = cache.network("multitask")
    pictures, labels = classify(cache.pictures("twemoji"))  # those that it was trained on
    images, new = torch.cat([pictures.images, picture[None]]), len(pictures)
    probabilities = class_probabilities(model, images)[new]
    answer = int(probabilities.argmax())
    points = project_to_plane(encode_all(model, images), torch.arange(new))
    with tempfile.TemporaryDirectory() as folder:
        drawn = figures.latent_map(
            {"the classifier's latents": points}, images, [*labels.tolist(), answer], list(CLASSES), [new],
            Path(folder) / "map.png", ("in training: pale", "your picture: bold frame"),
        )  # fmt: skip
        address = show.to_address(Image.open(drawn))
    caption = f"{list(CLASSES)[answer]}, with a confidence of {probabilities[answer]:.0%}"
    return show.row((picture, caption)) + f'<img class="wide" src="{address}" alt="the map of latents">'


def tab(opened: gradio.Tab) -> None:
    """The tab's fields, and what happens when it is opened or one changes."""
    picture = show.picture_field("crying face", "classify")
    gradio.Markdown("Trained on 23 faces, it calls every picture happy or sad, even a pizza, often with confidence.")
    answer = gradio.HTML(show.WAIT, elem_id="classify")
    show.listen([opened.select, picture.change], classified, picture, answer, "classify")
