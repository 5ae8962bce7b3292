"""The tab *Happy or sad*: the classifier's answer with its confidence, and the new picture on the map of latents."""

import gradio

from page import latent_map, show


def classified(name: str, own: str | None) -> str:
    """A picture and what the classifier calls it, as HTML. Raises UserError."""
    picture, title = show.picture(name, own)
    return show.row((picture, f"{latent_map.judged(picture)[1]}\n{title}"))


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
        "The 23 faces, placed by their latents and framed by class: orange is happy, blue is sad. Your picture is "
        "large. Click anywhere: the network draws and judges what would be there."
    )
    show.listen(opened, classified, [name, own], [answer], "classify")
    latent_map.add(opened, name, own, gradio.State("multitask"), "moods")
    return [name]
