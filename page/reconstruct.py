"""The tab *Reconstruct*: a picture through 128 numbers and back, by three methods, and walks through the latent."""

import gradio
import torch

from lab import training
from lab.networks import decode_all, encode_all
from lab.pictures import to_float
from page import cache, latent_map, show

DIRECTIONS = 5  # sliders
FARTHEST = 3.0  # standard deviations of a slider, on either side
STEPS = 7  # pictures of an interpolation


def reconstructed(name: str, own: str | None) -> str:
    """A picture and what networks and PCA make of it, as HTML. Raises UserError."""
    picture, title = show.picture(name, own)
    images, exact, made = picture[None], to_float(picture), []
    for label, network in cache.NETWORKS:
        model = cache.network(network)
        made.append((label, decode_all(model, encode_all(model, images))[0]))
    pca = cache.pca()
    made.append((f"PCA, {pca.n_components_} components", training.pca_reconstructions(pca, images)[0]))
    cells = [(image, f"{label}\nMSE {(image - exact).square().mean():.4f}") for label, image in made]
    return show.row((picture, title), *cells)


def directions(network: str) -> list:
    """What the sliders are called, by the two faces farthest along each direction, and pictures of their two ends."""
    plane = latent_map.plane(network)
    reaches = FARTHEST * plane.steps[:DIRECTIONS]
    ends = decode_all(plane.network, torch.cat([plane.middle - reaches, plane.middle + reaches]))
    labels, pictures = [], []
    for k, points in enumerate(plane.points.T[:DIRECTIONS]):
        low, high = (plane.pictures.names[i] for i in (points.argmin(), points.argmax()))
        labels.append(gradio.update(label=f"{k + 1}: {low} to {high}"))
        pictures.append(show.row((ends[k], "−3"), (ends[k + DIRECTIONS], "+3"), kind="small"))
    return [*labels, *pictures]


def walked(name: str, own: str | None, network: str, *deviations: float) -> str:
    """The picture moved so many standard deviations along each of the first principal directions, as HTML."""
    plane = latent_map.plane(network)
    latent = encode_all(plane.network, show.picture(name, own)[0][None])
    step = torch.tensor(deviations).float() @ plane.steps[:DIRECTIONS]
    still, moved = decode_all(plane.network, torch.cat([latent, latent + step]))
    return show.row((still, "reconstruction"), "→", (moved, "moved"), kind="line")


def interpolated(name: str, own: str | None, other: str, percent: float, network: str) -> str:
    """The picture, another emoji and the picture so far between them in the latent; and equal steps, as HTML."""
    (first, title), (last, other) = show.picture(name, own), show.picture(other)
    start, stop = encode_all(cache.network(network), torch.stack([first, last]))
    parts = torch.tensor([percent / 100, *torch.linspace(0, 1, STEPS)])
    one, *images = decode_all(cache.network(network), torch.lerp(start, stop, parts[:, None]))
    steps = show.row(*((image, f"{part:.0%}") for image, part in zip(images, parts[1:].tolist())), kind="small")
    return show.row((first, title), "→", (one, f"{percent:g}% of the way"), "→", (last, other), kind="line") + steps


def tab(opened) -> list:
    """The tab's fields, and what happens when it is `opened`, where PCA is fitted, or one changes. Returns them."""
    gradio.Markdown(
        "An autoencoder squeezes a picture of 12,288 numbers into 128, and draws it again from these. The lower the "
        "error (MSE), the better. Compare the networks with PCA, which is linear; then try a pizza."
    )
    with gradio.Row():
        name = show.emoji_field("emoji", "grinning face", "emoji")
        own = show.own_picture("or your own picture", name)
    answer = gradio.HTML(show.WAIT, elem_id="reconstruction")
    network = gradio.Radio(cache.NETWORKS, value="coursework", label="network used below", elem_id="walker")
    gradio.Markdown(
        "### Walk\nThe five directions in which its latents of Twemoji's faces differ most, in standard deviations. "
        "Each is named by the faces at its ends, and shows what the network draws there."
    )
    sliders, ends = [], []
    with gradio.Row():
        for k in range(1, DIRECTIONS + 1):
            with gradio.Column(min_width=180):
                options = {"step": 0.1, "label": f"direction {k}", "elem_id": f"direction-{k}"}
                sliders.append(gradio.Slider(-FARTHEST, FARTHEST, 0.0, **options))
                ends.append(gradio.HTML())
    moved = gradio.HTML(show.WAIT, elem_id="moved")
    gradio.Markdown("### Interpolate\nFrom the picture to another emoji, on a straight line through the latent.")
    with gradio.Row():
        other = show.emoji_field("another emoji", "crying face", "other")
        percent = gradio.Slider(0, 100, 50, step=1, label="part of the way, in percent", elem_id="percent")
    between = gradio.HTML(show.WAIT, elem_id="between")
    gradio.Markdown(
        "### Map\nEach face at its place along the first two directions; your picture is large. Click anywhere: the "
        "network draws what would be there."
    )
    gradio.on([opened, network.change], directions, network, [*sliders, *ends], **show.QUEUED, **show.HIDDEN)
    show.listen(opened, reconstructed, [name, own], [answer], "reconstruct")
    show.listen(opened, walked, [name, own, network, *sliders], [moved], "walk")
    show.listen(opened, interpolated, [name, own, other, percent, network], [between], "interpolate")
    latent_map.add(opened, name, own, network, "map")
    return [name, network, *sliders, other, percent]
