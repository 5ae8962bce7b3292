"""The map of a network's latents: its faces at their places, a picture among them, and what is drawn at a click."""

import functools

import gradio
import torch
from PIL import Image

from lab import arithmetic, classes, figures
from lab.networks import decode_all, encode_all
from page import cache, show

SIDE, THUMBNAIL = 560, 26  # pixels of the map and of a picture on it
SPAN = 6.0  # standard deviations that are as long as the map


class Plane:
    """The first principal directions of a network's latents of Twemoji's faces; for the classifier, of the faces it
    was trained on."""

    def __init__(self, network: str):
        twemoji = cache.pictures("twemoji")
        self.pictures, self.labels = twemoji.take(cache.faces("twemoji")), None
        if network == "multitask":
            self.pictures, self.labels = classes.classify(twemoji)
        self.network = cache.network(network)
        latents = encode_all(self.network, self.pictures.images)
        self.middle = latents.mean(0)
        found = arithmetic.principal_directions(latents, torch.zeros(latents.shape[1]))
        self.steps = found.vectors * found.deviations[:, None]  # (K, d): a standard deviation along each
        self.points = self.places(latents)

    def places(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, K): where (N, d) latents are along the directions, in standard deviations."""
        return (latents - self.middle) @ self.steps.T / self.steps.square().sum(1)


plane = functools.cache(Plane)  # by the network's name


def judged(picture: torch.Tensor) -> tuple[int, str]:
    """The class of a (3, 64, 64) picture by the classifier, and this in words, with its confidence."""
    probabilities = classes.class_probabilities(cache.network("multitask"), picture[None])[0]
    answer = int(probabilities.argmax())
    return answer, f"{list(classes.CLASSES)[answer]}, with a confidence of {probabilities[answer]:.0%}"


def drawn(name: str, own: str | None, network: str) -> Image.Image:
    """The map with a picture, larger, in its place: nothing else ever moves. Frames have the colours of classes."""
    known, picture = plane(network), show.picture(name, own)[0]
    new = known.places(encode_all(known.network, picture[None]))
    places = torch.cat([known.points, new])[:, :2] * torch.tensor([1, -1]) / SPAN + 0.5
    colours = ["#bbbbbb"] * len(known.points) + ["#2563eb"]
    if known.labels is not None:
        colours = [figures.CLASSES[label] for label in [*known.labels.tolist(), judged(picture)[0]]]
    sheet = Image.new("RGBA", (SIDE, SIDE))  # without a ground: the page's shows through
    for i, (place, image, colour) in enumerate(zip(places, [*known.pictures.images, picture], colours)):
        side, frame = (2 * THUMBNAIL, 4) if i == len(known.points) else (THUMBNAIL, 2)
        whole = side + 2 * frame
        tile = Image.new("RGB", (whole, whole), colour)
        tile.paste(show.to_pil(image).resize((side, side)), (frame, frame))
        corner = (place * SIDE - whole / 2).clamp(0, SIDE - whole)  # those farther out are at the edge
        sheet.paste(tile, tuple(corner.int().tolist()))
    return sheet


def decoded(network: str, event: gradio.SelectData) -> str:
    """What the network draws for the place that was clicked, and its class, as HTML."""
    known = plane(network)
    place = (torch.tensor(event.index) / SIDE - 0.5) * SPAN * torch.tensor([1, -1])
    picture = decode_all(known.network, (known.middle + place @ known.steps[:2])[None])[0]
    return show.row((picture, "decoded" if known.labels is None else f"decoded: {judged(picture)[1]}"))


def add(opened, name: gradio.Dropdown, own: gradio.Image, network, elem_id: str) -> None:
    """A map that is drawn when it is `opened`, and answers a click. `network` is a component that holds its name."""
    with gradio.Row():
        options = {"interactive": False, "buttons": [], "show_label": False, "scale": 3, "min_width": 300}
        sheet = gradio.Image(alt_text="the map of latents", elem_id=elem_id, elem_classes="map", **options)
        place = gradio.HTML("<p>Click on the map.</p>", elem_id=f"{elem_id}-place", min_width=140)
    show.listen(opened, drawn, [name, own, network], [sheet])
    sheet.select(decoded, [network], place, **show.QUEUED, **show.HIDDEN)
