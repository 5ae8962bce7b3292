"""The tab *Reconstruct*: a picture through 128 numbers and back, by three methods, and walks through the latent."""

import gradio
import torch

from lab import training
from lab.networks import decode_all, encode_all
from lab.pictures import to_float
from page import cache, show

DIRECTIONS = 5  # sliders
FARTHEST = 3.0  # standard deviations of a slider, on either side
STEPS = 7  # pictures of an interpolation


def reconstructed(picture: torch.Tensor) -> str:
    """A (3, 64, 64) uint8 picture beside what networks and PCA make of it, and its latents as strips, as HTML."""
    images, exact, made = picture[None], to_float(picture), []
    for title, name in cache.NETWORKS:
        latents = encode_all(cache.network(name), images)
        made.append((title, decode_all(cache.network(name), latents)[0], latents[0]))
    pca = cache.pca()
    components = torch.from_numpy(pca.transform(training.flatten(images)))[0]
    made.append((f"PCA, {len(components)} components", training.pca_reconstructions(pca, images)[0], components))
    cells = [(image, f"{label}: MSE {(image - exact).square().mean():.4f}") for label, image, _ in made]
    strips = [show.strip(latent, f"{label}: {len(latent)} numbers") for label, _, latent in made]
    return "".join([show.row((picture, "picture"), *cells), *strips])


def walked(picture: torch.Tensor, network: str, *deviations: float) -> str:
    """The picture moved so many standard deviations along each of the first principal directions, as HTML."""
    latent, directions = encode_all(cache.network(network), picture[None]), cache.directions(network)
    steps = torch.tensor(deviations) * directions.deviations[:DIRECTIONS]
    latents = torch.cat([latent, latent + steps @ directions.vectors[:DIRECTIONS]])
    still, moved = decode_all(cache.network(network), latents)
    return show.row((still, "reconstruction"), "→", (moved, "moved"))


def interpolated(picture: torch.Tensor, other: str, network: str) -> str:
    """The way from the picture to another emoji in equal steps of the latent, as HTML. Raises UserError."""
    start, stop = encode_all(cache.network(network), torch.stack([picture, cache.picture(other)]))
    parts = torch.linspace(0, 1, STEPS)
    images = decode_all(cache.network(network), torch.lerp(start, stop, parts[:, None]))
    return show.row(*((image, f"{part:.0%}") for image, part in zip(images, parts.tolist())))


def tab(opened: gradio.Tab) -> None:
    """The tab's fields, and what happens when it is opened, where PCA is fitted the first time, or one changes."""
    picture = show.picture_field("grinning face", "reconstruct")
    answer = gradio.HTML(show.WAIT, elem_id="reconstruction")
    network = gradio.Radio(cache.NETWORKS, value="coursework", label="network used below", elem_id="walker")
    gradio.Markdown("**Along the principal directions** of its latents of Twemoji's faces, in standard deviations:")
    with gradio.Row():
        numbers = range(1, DIRECTIONS + 1)
        sliders = [gradio.Slider(-FARTHEST, FARTHEST, 0.0, step=0.1, label=f"direction {k}") for k in numbers]
    moved = gradio.HTML(show.WAIT, elem_id="moved")
    other = gradio.Textbox("crying face", label="interpolate to another emoji", max_length=200, elem_id="other")
    between = gradio.HTML(show.WAIT, elem_id="between")
    shown = [opened.select, picture.change]
    moves = [*shown, network.change, *(slider.change for slider in sliders)]
    ways = [*shown, network.change, other.submit, other.blur]
    show.listen(shown, reconstructed, picture, answer, "reconstruct")
    show.listen(moves, walked, [picture, network, *sliders], moved, "walk")
    show.listen(ways, interpolated, [picture, other, network], between, "interpolate")
