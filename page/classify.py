"""The tab *Happy or sad*: the classifier's answer with its confidence, and the new picture on the map of latents."""

import gradio
import torch

from lab.classes import CLASSES, class_probabilities
from lab.networks import decode_all, encode_all
from page import cache, show

NETWORK = "multitask"


def judged(picture: torch.Tensor) -> tuple[int, str]:
    """The class of a (3, 64, 64) picture by the network, and this in words, with its confidence."""
    probabilities = class_probabilities(cache.network(NETWORK), picture[None])[0]
    answer = int(probabilities.argmax())
    return answer, f"{list(CLASSES)[answer]}, with a confidence of {probabilities[answer]:.0%}"


def classified(asked) -> tuple:
    """The answer for a picture, an emoji's name or (3, 64, 64) uint8, as HTML, and the map of latents with it."""
    picture = cache.picture(asked)
    answer, words = judged(picture)
    latent = encode_all(cache.network(NETWORK), picture[None])[0]
    return show.row((picture, words)), show.latent_map(NETWORK).draw(picture, latent, answer)


def decoded(event: gradio.SelectData) -> str:
    """What the network makes of the place on the map that was clicked, and what it calls that, as HTML."""
    picture = decode_all(cache.network(NETWORK), show.latent_map(NETWORK).latent(event))[0]
    return show.row((picture, f"decoded: {judged(picture)[1]}"))


def tab(opened: gradio.Tab) -> None:
    """The tab's fields, and what happens when it is opened or one changes."""
    gradio.Markdown(
        "A network that was trained to draw 23 faces and, from the same 128 numbers, to call them happy or sad. It knows "
        "nothing else: it calls every picture one of the two, even a pizza, often with confidence. Try to fool it."
    )
    with gradio.Row():
        picture = show.EmojiField("emoji", "crying face", "face")
        picture.add_own("or your own picture")
    answer = gradio.HTML(show.WAIT, elem_id="classify")
    gradio.Markdown(
        "The 23 faces in the plane where their latents differ most, framed by class: orange is happy, blue is sad. Your "
        "picture is large. Click anywhere: the network draws and judges what would be there."
    )
    with gradio.Row():
        options = {"interactive": False, "buttons": [], "show_label": False, "elem_id": "moods", "min_width": 300}
        latent_map = gradio.Image(alt_text="the map of latents", **options)
        place = gradio.HTML("<p>Click on the map.</p>", elem_id="mood", min_width=140)
    show.keep([picture])
    events = [opened.select, *(part.change for part in picture.inputs)]
    show.listen(events, classified, [picture], [answer, latent_map], "classify")
    latent_map.select(decoded, None, place, **show.QUEUED, **show.HIDDEN)
