"""What the page keeps in memory: pictures and networks, opened once and only read from then on."""

from functools import cache

import torch

import data
from lab import names, pretrained, sources, training
from lab.cli import UserError
from lab.networks import Autoencoder, encode_all
from lab.options import KEYWORD
from lab.pictures import Pictures
from lab.sources import Row

STYLES = sources.STYLES


@cache
def pictures(style: str) -> Pictures:
    """Every picture of a style. Raises UserError for a style whose package is not installed."""
    return data.load_pictures(style, keyword="")


@cache
def faces(style: str) -> list[int]:
    """The indices among `pictures` of a style's faces, without their skin-tone twins."""
    everything = pictures(style)
    named = [i for i, name in enumerate(everything.names) if KEYWORD in name]
    return [i for i in named if not names.tone(everything.codes[i])]


@cache
def network(name: str) -> Autoencoder:
    """A network of the repository. Raises UserError, with the commands that make it, if it is missing."""
    return pretrained.load(name)


@cache
def pca():
    """A PCA of what the coursework's network was trained on, with as many components as its latent has numbers."""
    options = pretrained.recorded_options(pretrained.FOLDER / "coursework")
    return training.fit_pca(data.split(data.load_styles(options), options).train.images, network("coursework").latent)


@cache
def latents(name: str) -> torch.Tensor:
    """(N, d), a network's latents of Twemoji's faces."""
    return encode_all(network(name), pictures("twemoji").images[faces("twemoji")])


def find(query: str, style: str = "twemoji") -> int:
    """The index among `pictures` of the emoji that is meant: by name, character or short name. Raises UserError."""
    if not (query or "").strip():
        raise UserError("no emoji is named; type one, its name or its :short_name:")
    everything = pictures(style)
    return names.find(everything.names, query, everything.codes)


def decode(encoded: bytes) -> torch.Tensor:
    """(3, 64, 64) uint8, a visitor's picture, decoded as those of --source are. Raises UserError."""
    return sources.decode(Row(None, "the picture", lambda: encoded))
