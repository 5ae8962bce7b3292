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


def reconstructed(asked) -> str:
    """A picture, an emoji's name or (3, 64, 64) uint8, beside what networks and PCA make of it, as HTML.
    Its latents are shown as strips."""
    picture = cache.picture(asked)
    images, exact, made = picture[None], to_float(picture), []
    for title, name in cache.NETWORKS:
        latents = encode_all(cache.network(name), images)
        made.append((title, decode_all(cache.network(name), latents)[0], latents[0]))
    pca = cache.pca()
    components = torch.from_numpy(pca.transform(training.flatten(images)))[0]
    made.append((f"PCA, {len(components)} components", training.pca_reconstructions(pca, images)[0], components))
    cells = [(image, f"{label}\nMSE {(image - exact).square().mean():.4f}") for label, image, _ in made]
    strips = [show.strip(latent, f"{label}: {len(latent)} numbers") for label, _, latent in made]
    return "".join([show.row((picture, name_of(asked)), *cells), *strips])


def name_of(asked) -> str:
    return asked if isinstance(asked, str) else "your picture"


def directions(network: str) -> list:
    """What the sliders are called, by the two faces farthest along each direction, and pictures of their two ends."""
    known = cache.latents(network)
    vectors = known.directions.vectors[:DIRECTIONS]
    reaches = FARTHEST * known.directions.deviations[:DIRECTIONS, None] * vectors
    ends = decode_all(cache.network(network), torch.cat([known.middle - reaches, known.middle + reaches]))
    places = (encode_all(cache.network(network), known.pictures.images) - known.middle) @ vectors.T  # (N, DIRECTIONS)
    labels, pictures = [], []
    for k, (low, high) in enumerate(zip(places.argmin(0).tolist(), places.argmax(0).tolist())):
        names = [known.pictures.names[i] for i in (low, high)]
        labels.append(gradio.update(label=f"{k + 1}: from {names[0]} to {names[1]}"))
        pictures.append(show.row((ends[k], "−3"), (ends[DIRECTIONS + k], "+3"), kind="small"))
    return [*labels, *pictures]


def walked(asked, network: str, *deviations: float) -> str:
    """The picture moved so many standard deviations along each of the first principal directions, as HTML."""
    latent, directions = (
        encode_all(cache.network(network), cache.picture(asked)[None]),
        cache.latents(network).directions,
    )
    steps = torch.tensor(deviations) * directions.deviations[:DIRECTIONS]
    latents = torch.cat([latent, latent + steps @ directions.vectors[:DIRECTIONS]])
    still, moved = decode_all(cache.network(network), latents)
    return show.row((still, "reconstruction"), "→", (moved, "moved"), kind="line")


def interpolated(asked, other: str, part: float, network: str) -> str:
    """The picture, another emoji, and what lies between them in the latent: at `part` of the way in percent, and in
    equal steps. As HTML. Raises UserError."""
    ends = torch.stack([cache.picture(asked), cache.picture(other)])
    start, stop = encode_all(cache.network(network), ends)
    parts = torch.tensor([part / 100, *torch.linspace(0, 1, STEPS)])
    one, *images = decode_all(cache.network(network), torch.lerp(start, stop, parts[:, None]))
    stills = show.row(*((image, f"{each:.0%}") for image, each in zip(images, parts[1:].tolist())), kind="small")
    return (
        show.row((ends[0], name_of(asked)), "→", (one, f"{part:g}% of the way"), "→", (ends[1], other), kind="line")
        + stills
    )


def mapped(asked, network: str):
    """The map of the network's latents of Twemoji's faces, with the picture on it."""
    picture = cache.picture(asked)
    return show.latent_map(network).draw(picture, encode_all(cache.network(network), picture[None])[0])


def decoded(network: str, event: gradio.SelectData) -> str:
    """What the network makes of the place on the map that was clicked, as HTML."""
    return show.row((decode_all(cache.network(network), show.latent_map(network).latent(event))[0], "decoded"))


def tab(opened: gradio.Tab) -> None:
    """The tab's fields, and what happens when it is opened, where PCA is fitted the first time, or one changes."""
    gradio.Markdown(
        "An autoencoder squeezes a picture of 12,288 numbers into 128, and draws it again from these. Less error (MSE) "
        "is better. Compare the networks with PCA, which is linear; then try a picture that is no face."
    )
    with gradio.Row():
        picture = show.EmojiField("emoji", "grinning face", "emoji")
        picture.add_own("or your own picture")
    answer = gradio.HTML(show.WAIT, elem_id="reconstruction")
    network = gradio.Radio(cache.NETWORKS, value="coursework", label="network used below", elem_id="walker")
    gradio.Markdown(
        "### Walk\nThe five directions along which its latents of Twemoji's faces differ most, in standard deviations. "
        "Each is called by the faces at its ends, and shows what the network draws there."
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
        other = show.EmojiField("another emoji", "crying face", "other")
        part = gradio.Slider(0, 100, 50, step=1, label="part of the way, in percent", elem_id="part", min_width=240)
    between = gradio.HTML(show.WAIT, elem_id="between")
    gradio.Markdown(
        "### Map\nEach face at its place in the plane of the first two directions; your picture is large. "
        "Click anywhere: the network draws what would be there."
    )
    with gradio.Row():
        options = {
            "interactive": False,
            "buttons": [],
            "show_label": False,
            "elem_id": "map",
            "scale": 3,
            "min_width": 300,
        }
        latent_map = gradio.Image(alt_text="a map of the latents of Twemoji's faces", **options)
        place = gradio.HTML("<p>Click on the map.</p>", elem_id="place", min_width=140)
    show.keep([picture, network, *sliders, other, part])
    shown = [opened.select, *(part.change for part in picture.inputs)]
    gradio.on([opened.select, network.change], directions, network, [*sliders, *ends], **show.QUEUED, **show.HIDDEN)
    show.listen(shown, reconstructed, [picture], [answer], "reconstruct")
    show.listen([*shown, network.change], mapped, [picture, network], [latent_map])
    moves = [*shown, network.change, *(slider.change for slider in sliders)]
    show.listen(moves, walked, [picture, network, *sliders], [moved], "walk")
    ways = [*shown, network.change, other.name.change, part.change]
    show.listen(ways, interpolated, [picture, other, part, network], [between], "interpolate")
    latent_map.select(decoded, network, place, **show.QUEUED, **show.HIDDEN)
