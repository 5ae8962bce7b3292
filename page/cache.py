"""What the page keeps in memory: pictures, networks, and what is computed from them once."""

from functools import cache

import torch

import data
from lab import arithmetic, names, pretrained, training
from lab.arithmetic import Directions
from lab.cli import UserError
from lab.networks import Autoencoder, encode_all
from lab.options import KEYWORD
from lab.pictures import Pictures

NETWORKS = [(pretrained.NETWORKS[name].title, name) for name in ("coursework", "best")]  # to choose from


@cache
def pictures(style: str) -> Pictures:
    """Every picture of a style. Raises UserError for a style whose package is not installed."""
    return data.load_pictures(style, keyword="")


@cache
def faces(style: str) -> list[int]:
    """The indices among `pictures` of a style's faces, without their skin-tone twins."""
    drawn = pictures(style)
    return [i for i, name in enumerate(drawn.names) if KEYWORD in name and not names.tone(drawn.codes[i])]


def find(query: str | None, style: str = "twemoji") -> int:
    """The index among `pictures` of the emoji that is meant: by name, character or short name. Raises UserError."""
    if not (query or "").strip():
        raise UserError("no emoji is named; type one, its name or its :short_name:")
    return names.find(pictures(style).names, query, pictures(style).codes)


def picture(query: str | None) -> torch.Tensor:
    """(3, 64, 64) uint8, Twemoji's picture of the emoji that is meant. Raises UserError."""
    return pictures("twemoji").images[find(query)]


@cache
def network(name: str) -> Autoencoder:
    """A network of pretrained/. Raises UserError, with the commands that make it, if it is missing."""
    return pretrained.load(name)


@cache
def pca():
    """A PCA of the coursework's network's training images, with as many components as its latent has numbers."""
    options = pretrained.recorded_options(pretrained.folder_of("coursework"))
    return training.fit_pca(data.split(data.load_styles(options), options).train.images, network("coursework").latent)


@cache
def directions(name: str) -> Directions:
    """The principal directions of a network's latents of Twemoji's faces."""
    latents = encode_all(network(name), pictures("twemoji").images[faces("twemoji")])
    return arithmetic.principal_directions(latents, torch.zeros(latents.shape[1]))
