"""The tab *Reconstruct*: a picture through 128 numbers and back, by three methods, and walks through the latent."""

import gradio
import torch

from lab import arithmetic, pretrained, training
from lab.cli import UserError
from lab.networks import decode_all, encode_all
from lab.pictures import to_float
from page import cache, choose, show

DIRECTIONS = 5  # sliders
FARTHEST = 3.0  # standard deviations of a slider, on either side
STEPS = 7  # pictures of an interpolation
NETWORKS = ("coursework", "best")


def reconstructed(picture: torch.Tensor) -> str:
    """A (3, 64, 64) uint8 picture beside what networks and PCA make of it, and its latents as strips, as HTML."""
    images, float_picture = picture[None], to_float(picture)
    cells, strips = [(picture, "picture")], []

    def add(label: str, made: torch.Tensor, latent: torch.Tensor) -> None:
        cells.append((made, f"{label}: MSE {(made - float_picture).square().mean():.4f}"))
        strips.append(show.strip(latent, f"{label}: {len(latent)} numbers"))

    missing = []
    for name in NETWORKS:
        try:
            model = cache.network(name)
        except UserError as error:
            missing.append(show.text(f"{pretrained.NETWORKS[name].title}: {error}"))
            continue
        latent = encode_all(model, images)
        add(pretrained.NETWORKS[name].title, decode_all(model, latent)[0], latent[0])
        if name == "coursework":
            pca = cache.pca()
            components = torch.from_numpy(pca.transform(training.flatten(images)))[0].float()
            add(f"PCA, {pca.n_components_} components", training.pca_reconstructions(pca, images)[0], components)
    return "".join([show.row(*cells), *missing, *strips])


def walked(picture: torch.Tensor, network: str, *deviations: float) -> str:
    """The picture moved so many standard deviations along each of the first principal directions, as HTML."""
    latent = encode_all(cache.network(network), picture[None])
    found = arithmetic.principal_directions(cache.latents(network), torch.zeros(latent.shape[1]))
    steps = torch.tensor(deviations) * found.deviations[:DIRECTIONS]
    moved = decode_all(cache.network(network), latent + steps @ found.vectors[:DIRECTIONS])[0]
    return show.row((decode_all(cache.network(network), latent)[0], "reconstruction"), "→", (moved, "moved"))


def interpolated(picture: torch.Tensor, other: str, network: str) -> str:
    """The way from the picture to another emoji in equal steps of the latent, as HTML. Raises UserError."""
    end = cache.pictures("twemoji").images[cache.find(other)]
    start, stop = encode_all(cache.network(network), torch.stack([picture, end]))
    parts = torch.linspace(0, 1, STEPS)
    made = decode_all(cache.network(network), torch.lerp(start, stop, parts[:, None]))
    return show.row(*((image, f"{part:.0%}") for image, part in zip(made, parts.tolist())), kind="small")


def tab(opened: gradio.Tab) -> None:
    """The tab's fields, and what happens when it is opened, where PCA is fitted the first time, or one changes."""
    picture = choose.field("grinning face", "reconstruct")
    answer = gradio.HTML(show.COMING, elem_id="reconstruction", min_height=150)
    network = gradio.Radio(
        [(pretrained.NETWORKS[name].title, name) for name in NETWORKS], value="coursework",
        label="network of what follows", elem_id="walker",
    )  # fmt: skip
    gradio.Markdown(
        "**Along the first principal directions** of its latents of Twemoji's faces, in standard deviations:"
    )
    with gradio.Row():
        sliders = [
            gradio.Slider(-FARTHEST, FARTHEST, 0.0, step=0.1, label=f"direction {k + 1}", min_width=150)
            for k in range(DIRECTIONS)
        ]
    moved = gradio.HTML(show.COMING, elem_id="moved", min_height=150)
    other = gradio.Textbox("crying face", label="on the way to another emoji", max_length=200, elem_id="other")
    between = gradio.HTML(show.COMING, elem_id="between", min_height=100)
    moves = [network.change, *(slider.change for slider in sliders)]
    for name, function, fields, place, events in (
        ("reconstruct", reconstructed, [picture], answer, []),
        ("walk", walked, [picture, network, *sliders], moved, moves),
        ("interpolate", interpolated, [picture, other, network], between, [network.change, other.submit, other.blur]),
    ):
        gradio.on(
            [opened.select, picture.change, *events], show.in_a_line(function), fields, place,
            trigger_mode="always_last", api_name=name, concurrency_id="one", show_progress="minimal",
        )  # fmt: skip
