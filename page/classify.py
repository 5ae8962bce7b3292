"""The tab *Happy or sad*: the classifier's answer with its confidence, and the new picture on the map of latents."""

import gradio
import torch

from lab.classes import CLASSES, class_probabilities
from lab.networks import decode_all, encode_all
from page import cache, show


def judged(picture: torch.Tensor) -> tuple[int, str]:
    """The class of a (3, 64, 64) picture by the network, and this in words, with its confidence."""
    probabilities = class_probabilities(cache.network("multitask"), picture[None])[0]
    answer = int(probabilities.argmax())
    return answer, f"{list(CLASSES)[answer]}, with a confidence of {probabilities[answer]:.0%}"


def classified(name: str, own: str | None) -> tuple:
    """The answer for a picture as HTML, and the map of latents with it. Raises UserError."""
    (picture, title), plane = show.picture(name, own), cache.plane("multitask")
    answer, words = judged(picture)
    latent = encode_all(plane.network, picture[None])[0]
    return show.row((picture, f"{words}\n{title}")), show.draw_map(plane, picture, latent, answer)


def decoded(event: gradio.SelectData) -> str:
    """What the network makes of the place on the map that was clicked, and calls it, as HTML."""
    plane = cache.plane("multitask")
    picture = decode_all(plane.network, show.clicked(plane, event))[0]
    return show.row((picture, f"decoded: {judged(picture)[1]}"))


def tab(opened) -> list:
    """The tab's fields, and what happens when it is `opened` or one changes. Returns them."""
    gradio.Markdown(
        "A network that learned to draw 23 faces and, from the same 128 numbers, to call them happy or sad. It knows "
        "nothing else: it calls every picture one of the two, even a pizza, often with confidence. Try to fool it."
    )
    with gradio.Row():
        name = show.emoji_field("emoji", "crying face", "face")
        own = show.own_picture("or your own picture", name)
    answer = gradio.HTML(show.WAIT, elem_id="classify")
    gradio.Markdown(
        "The 23 faces where their latents differ most, framed by class: orange is happy, blue is sad. Your picture is "
        "large. Click anywhere: the network draws and judges what would be there."
    )
    with gradio.Row():
        options = {"interactive": False, "buttons": [], "show_label": False, "min_width": 300}
        latent_map = gradio.Image(alt_text="the map of latents", elem_id="moods", scale=3, **options)
        place = gradio.HTML("<p>Click on the map.</p>", elem_id="mood", min_width=140)
    show.listen([opened, name.change, own.change], classified, [name, own], [answer, latent_map], "classify")
    latent_map.select(decoded, None, place, **show.QUEUED, **show.HIDDEN)
    return [name]
