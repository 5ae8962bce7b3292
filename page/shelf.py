"""What the page keeps in memory: pictures and networks, opened once and only read from then on."""

from functools import cache

import torch
from PIL import UnidentifiedImageError
from sklearn.decomposition import PCA

import data
from common import names, sources
from common.errors import UserError
from common.pictures import FORMATS
from lab import baselines, pretrained, trained
from lab.contract import Autoencoder, encode_all

CPU = torch.device("cpu")
STYLES = [source.name for source in sources.SOURCES.values() if source.licence]  # those that may be shown


@cache
def pictures(style: str) -> data.Originals:
    """Every picture of a style. Raises UserError for a style whose package is not installed."""
    return data.load_originals(style, keyword="")


@cache
def faces(style: str) -> list[int]:
    """The indices among `pictures` of a style's faces, without their skin-tone twins."""
    everything = pictures(style)
    named = [i for i, name in enumerate(everything.names) if data.KEYWORD in name]
    return [i for i in named if not names.tone(everything.codes[i])]


@cache
def network(name: str) -> Autoencoder:
    """A network of the repository. Raises UserError, with the commands that make it, if it is not there."""
    return pretrained.load(name)[0]


@cache
def pca() -> PCA:
    """A PCA of what the original's network was trained on, with as many components as its latent has numbers."""
    model, trained_on = pretrained.load("report")
    return baselines.fit_pca(trained.splits_of(model, trained_on).train.images, model.latent)


@cache
def latents(name: str) -> torch.Tensor:
    """(N, d), a network's latents of Twemoji's faces."""
    return encode_all(network(name), pictures("twemoji").images[faces("twemoji")], CPU)


def found(query: str, style: str = "twemoji") -> int:
    """The index among `pictures` of the emoji that is meant: by name, character or short name. Raises UserError."""
    if not (query or "").strip():
        raise UserError("no emoji is named; type one, its name or its :short_name:")
    everything = pictures(style)
    return names.find(everything.names, query, everything.codes)


def opened(encoded: bytes) -> torch.Tensor:
    """(3, 64, 64) uint8, a visitor's picture, opened as those of --source are. Raises UserError."""
    try:
        return data.to_tensor(data.open_picture(encoded))
    except data.UNDECODABLE as error:
        reason = "it is of another kind" if isinstance(error, UnidentifiedImageError) else error
        kinds = ", ".join(FORMATS)
        raise UserError(f"the picture cannot be opened ({reason}); give a whole one of {kinds}") from None
