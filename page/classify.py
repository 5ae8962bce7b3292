"""The tab *Happy or sad*: the classifier's answer with its confidence, and the map of latents with the new picture."""

import tempfile
import functools
from pathlib import Path

import gradio
import torch

import data
from lab import figures
from lab.classes import CLASSES, class_probabilities, classify, project_to_plane
from lab.networks import encode_all
from lab.pictures import Pictures
from page import cache, choose, show


@functools.cache
def known() -> tuple[Pictures, torch.Tensor, torch.Tensor]:
    """The emoji that the classifier was trained on, their labels and their latents."""
    pictures, labels = classify(data.load_pictures("twemoji"))
    return pictures, labels, encode_all(cache.network("multitask"), pictures.images)


def judged(picture: torch.Tensor) -> str:
    """The answer for a (3, 64, 64) uint8 picture with its confidence, over the map of latents, as HTML."""
    sure = class_probabilities(cache.network("multitask"), picture[None])[0]
    answer = int(sure.argmax())
    pictures, labels, latents = known()
    everything = torch.cat([latents, encode_all(cache.network("multitask"), picture[None])])
    new = len(latents)
    points = project_to_plane(everything, torch.arange(new))
    with tempfile.TemporaryDirectory() as folder:
        path = figures.latent_map(
            {"the classifier's latents": points},
            torch.cat([pictures.images, picture[None]]), [*labels.tolist(), answer], list(CLASSES), [new],
            Path(folder) / "map.png", ("in training: pale", "your picture: bold frame"),
        )  # fmt: skip
        drawn = show.uri(path.read_bytes())
    said = f"{list(CLASSES)[answer]}, with a confidence of {sure[answer]:.0%}"
    return show.row((picture, said)) + f'<img class="wide" src="{drawn}" alt="the map of latents">'


def tab(opened: gradio.Tab) -> None:
    """The tab's fields, and what happens when it is opened or one changes."""
    picture = choose.field("crying face", "classify")
    gradio.Markdown(
        "It was trained on 23 faces and has two answers: it calls a pizza happy or sad too, often with confidence."
    )
    answer = gradio.HTML(show.COMING, elem_id="classify", min_height=150)
    gradio.on(
        [opened.select, picture.change], show.in_a_line(judged), picture, answer, trigger_mode="always_last",
        api_name="classify", concurrency_id="one", show_progress="minimal",
    )  # fmt: skip
