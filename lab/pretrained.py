"""The networks that come with the repository: which they are, what makes them, and the way to open one."""

from dataclasses import dataclass
from pathlib import Path

import data
from common.errors import UserError
from lab import networks, trained
from lab.contract import Autoencoder
from lab.options import PRETRAINED


@dataclass(frozen=True)
class Network:
    """A network in pretrained/, and the finished run that it is taken from."""

    title: str
    command: str  # that trains it
    run: Path  # where this leaves it
    unfit: str  # what it is not good for


NETWORKS = {
    "report": Network(
        "Original's network", "python autoencoder.py --source twemoji", Path("runs/autoencoder"),
        "It is blurred, and loses to a PCA with as many numbers in every reconstruction. It has seen copies of the "
        "pictures that it is tested on, so its test error says nothing about emoji it has not seen.",
    ),
    "best": Network(
        "Best preset",
        "python autoencoder.py --source twemoji --also openmoji noto --preset best --split emoji "
        "--out runs/best-styles --plots runs/best-styles",
        Path("runs/best-styles"),
        "It is for faces at 64x64 pixels on white. Composites by latent arithmetic are no better in its latent, which "
        "is nearly linear in the pixels. Photographs come out as smears.",
    ),
    "multitask": Network(
        "Happy or sad", "python multiTaskModel.py --source twemoji", Path("runs/multitask"),
        "It knows 18 happy and 5 sad emoji of one artist and nothing else: every picture gets one of two answers, "
        "often a sure and wrong one. It was tested on copies of what it was trained on. It says nothing about people.",
    ),
}  # fmt: skip


def load(name: str) -> tuple[Autoencoder, data.DataConfig]:
    """A network of NETWORKS and what it was trained on. Raises UserError, with what makes it if it is not there."""
    folder = PRETRAINED / name
    if not (folder / networks.WEIGHTS).is_file():
        made = f"`{NETWORKS[name].command}`, then `python publish.py {name}`"
        raise UserError(f"{folder} is not there yet; make it with {made}")
    return networks.load(folder), trained.data_config(folder)
