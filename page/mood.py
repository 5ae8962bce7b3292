"""The tab *Happy or sad*: the classifier's answer with its confidence, and the map of latents with the new picture."""

import tempfile
from functools import cache
from pathlib import Path

import gradio
import torch

import data
from common import charts
from lab import classification
from lab.classification import CLASSES
from lab.contract import encode_all
from lab.multitask import class_probabilities
from page import choose, shelf, show
from page.shelf import CPU


@cache
def known() -> tuple[data.Originals, torch.Tensor, torch.Tensor]:
    """The emoji that the classifier was trained on, their labels and their latents."""
    originals, labels = classification.classify(data.load_originals("twemoji"))
    return originals, labels, encode_all(shelf.network("multitask"), originals.images, CPU)


def judged(picture: torch.Tensor) -> str:
    """The answer for a (3, 64, 64) uint8 picture with its confidence, over the map of latents, as HTML."""
    sure = class_probabilities(shelf.network("multitask"), picture[None], CPU)[0]
    answer = int(sure.argmax())
    originals, labels, latents = known()
    everything = torch.cat([latents, encode_all(shelf.network("multitask"), picture[None], CPU)])
    new = len(latents)
    points = classification.in_the_plane(everything, torch.arange(new))
    with tempfile.TemporaryDirectory() as folder:
        path = charts.latent_map(
            {"the classifier's latents": points},
            torch.cat([originals.images, picture[None]]), [*labels.tolist(), answer], list(CLASSES), [new],
            Path(folder) / "map.png", ("in training: pale", "your choice: bold frame"),
        )  # fmt: skip
        drawn = show.uri(path.read_bytes())
    said = f"{list(CLASSES)[answer]}, with a confidence of {sure[answer]:.0%}"
    return show.row((picture, said)) + f'<img class="wide" src="{drawn}" alt="the map of latents">'


def tab(opened: gradio.Tab) -> None:
    """The tab's fields, and what happens when it is opened or one changes."""
    picture = choose.field("crying face", "mood")
    gradio.Markdown("It was trained on 23 faces and has two answers: a pizza is happy or sad too, often for sure.")
    answer = gradio.HTML(show.COMING, elem_id="mood", min_height=150)
    gradio.on(
        [opened.select, picture.change], show.in_a_line(judged), picture, answer, trigger_mode="always_last",
        api_name="mood", concurrency_id="one", show_progress="minimal",
    )  # fmt: skip
