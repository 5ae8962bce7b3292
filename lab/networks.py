"""What a network must have, the coursework's network, and how networks are built, saved and loaded."""

import json
from inspect import signature
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from lab.cli import UserError, explain
from lab.pictures import SIZE, Part, Pictures, to_float
from lab.runs import atomic_write, write_json

WEIGHTS, SETTINGS = "model.safetensors", "config.json"
ARCHITECTURES = ("convolutional", "residual", "informed")
CHANNELS = (3, 32, 64, 128, 256)  # of the coursework's network: the image, and after each convolution


class Autoencoder(nn.Module):
    """Images to `latent` numbers and back. Your own is a subclass in a file: `--network my_file.py:MyClass`.
    It has `encode`, `decode`, and a constructor that takes `latent` and keeps each of its options under the option's
    name. It may have a `loss`; `reconstruct`, where that is not just encode and decode; and what else is here."""

    architecture: str  # the name in config.json; of your own, its class and the hash of its file
    linear_path: tuple[str, ...] = ()  # names of the parameters that PCA sets: the best preset changes them slowly

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) images in [0, 1] to (N, latent)."""
        raise NotImplementedError("encode is missing")

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, latent) to (N, 3, 64, 64) images, in [0, 1] except for overshoots."""
        raise NotImplementedError("decode is missing")

    def reconstruct(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, 64, 64) images to their reconstructions and the (N, latent) that these were made from."""
        latents = self.encode(images)
        return self.decode(latents), latents

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.reconstruct(images)[0]

    def loss(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Means over (N, 3, 64, 64) images: "loss" is what training minimises. Your own adds "mse", for the figure."""
        return {"loss": nn.functional.mse_loss(self(images), images)}

    def start_at_pca(self, pca) -> None:
        """Set the network to a fitted sklearn PCA with `latent` components, if it can be; by default, nothing."""

    def settings(self) -> dict:
        """The constructor's options: what config.json holds."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}


class ConvAutoencoder(Autoencoder):
    """The coursework's: four convolutions with ReLU to 4x4x256, linearly to the latent, and their mirror image back."""

    architecture = "convolutional"

    def __init__(self, latent: int = 128, dropout: float = 0.2, initialization: str = "he"):
        super().__init__(latent)
        self.dropout, self.initialization = dropout, initialization
        side = SIZE // 2 ** (len(CHANNELS) - 1)
        features = CHANNELS[-1] * side**2
        down, up = [], []
        for before, after in zip(CHANNELS, CHANNELS[1:]):
            down += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
            back = nn.ConvTranspose2d(after, before, 3, stride=2, padding=1, output_padding=1)
            up = [back, nn.ReLU(inplace=True), *up]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(features, latent))
        self.decoder = nn.Sequential(
            nn.Linear(latent, features), nn.Unflatten(1, (CHANNELS[-1], side, side)), *up[:-1], nn.Sigmoid()
        )
        if initialization == "he":  # He et al. 2015: keeps the signal's size through layers of ReLU
            for layer in self.modules():
                if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    nn.init.zeros_(layer.bias)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return self.encoder(images)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.decoder(latents)

    def reconstruct(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From latents with dropout, in training."""
        latents = nn.functional.dropout(self.encode(images), self.dropout, self.training)
        return self.decode(latents), latents


@torch.no_grad()
def encode_all(model: Autoencoder, images: torch.Tensor) -> torch.Tensor:
    """(N, latent) on the CPU, from (N, 3, 64, 64) images, uint8 or in [0, 1]."""
    device = next(model.eval().parameters()).device
    return torch.cat([model.encode(to_float(batch.to(device))).float().cpu() for batch in images.split(256)])


@torch.no_grad()
def decode_all(model: Autoencoder, latents: torch.Tensor) -> torch.Tensor:
    """(N, 3, 64, 64) images in [0, 1] on the CPU, from (N, latent)."""
    device = next(model.eval().parameters()).device
    return torch.cat([model.decode(batch.to(device)).clamp(0, 1).cpu() for batch in latents.split(256)])


def find(name: str) -> type[Autoencoder]:
    """The class of a name in ARCHITECTURES, or of the user's `file.py:Class`. Raises UserError."""
    if name == ConvAutoencoder.architecture:
        return ConvAutoencoder
    from lab import best, pretrained

    return best.ARCHITECTURES.get(name) or pretrained.import_own(name)


def build(name: str, latent: int, **options) -> Autoencoder:
    """A new network, with those of the `options` that have a value and that its constructor names. Raises UserError."""
    network = find(name)
    known = {k: v for k, v in options.items() if v is not None and k in signature(network).parameters}
    return network(latent=latent, **known)


def from_description(description: dict, own: str | None = None) -> Autoencoder:
    """A network from what its config.json says. Raises UserError for one that is neither ours nor the user's `own`."""
    options = dict(description)
    architecture = options.pop("architecture")
    if architecture == "multi-task":
        from lab.classes import MultiTaskAutoencoder

        return MultiTaskAutoencoder(from_description(options["autoencoder"], own), options["classes"])
    if architecture in ARCHITECTURES:
        return find(architecture)(**options)
    if not own or own.rpartition(":")[2] != architecture.partition("@")[0]:
        raise UserError(f"this is the network {architecture!r:.60}; if it is yours, give it as --network")
    network = find(own)
    if architecture != network.architecture:
        print(f"{own} has changed since this network was trained")
    tuples = {k for k, p in signature(network).parameters.items() if isinstance(p.default, tuple)}  # JSON has lists
    return network(**{k: tuple(v) if k in tuples else v for k, v in options.items()})


def load(folder: Path | str, own: str | None = None) -> Autoencoder:
    """The trained network in a folder, in evaluation mode; float16 weights become float32.
    Reads only safetensors, never a pickle. `own` is the user's network, as `file.py:Class`: a config.json by itself
    runs no foreign code. Raises UserError for a missing, foreign or broken network."""
    weights, settings = Path(folder) / WEIGHTS, Path(folder) / SETTINGS
    if not weights.is_file() or not settings.is_file():
        raise UserError(f"{folder} holds no trained network; give the folder of a finished run, or --resume it")
    try:
        model = from_description(json.loads(settings.read_text(encoding="utf-8")), own)
        model.load_state_dict(load_file(weights))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = explain(error) or " ".join(str(error).split("\n")[:2])  # torch names the tensor in the second line
        raise UserError(f"the network in {folder} cannot be used ({reason})") from None
    return model.eval()


def save(model: Autoencoder, pictures: Pictures | Part, folder: Path) -> None:
    """The weights, the network's config.json, and the latents of all pictures."""
    write_json(folder / SETTINGS, {"architecture": model.architecture, **model.settings()})
    tensors = {k: v.clone(memory_format=torch.contiguous_format) for k, v in model.state_dict().items()}  # none shared
    for name, content in ((WEIGHTS, tensors), ("latents.safetensors", {"latents": encode_all(model, pictures.images)})):
        with atomic_write(folder / name) as path:
            save_file(content, path)
