"""The networks: what each must have, the four there are, and how they are built, saved and loaded.

A network of your own is one file with a subclass of `Autoencoder`: `python autoencoder.py --network mine.py:Mine`.
"""

import importlib.util
import json
import math
import sys
from inspect import signature
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from lab.cli import UserError
from lab.pictures import SIZE, Pictures, to_float
from lab.runs import atomic_write, write_json

WEIGHTS, SETTINGS = "model.safetensors", "config.json"
CHANNELS = (3, 32, 64, 128, 256)  # of the coursework's network: the image, and after each convolution
PATCH = 4  # pixels per side of the patches that the residual network takes as channels


class Autoencoder(nn.Module):
    """Images to `latent` numbers and back.

    A subclass has a constructor that takes `latent` and keeps each of its options under the option's name, `encode` and
    `decode`. It may have `reconstruct`, where that is not just encode and decode; `start_at_pca`; and `linear_path`.
    """

    linear_path: tuple[str, ...] = ()  # names of the parameters that PCA sets: the best preset changes them slowly

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) images in [0, 1] to (N, latent)."""
        raise NotImplementedError

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, latent) to (N, 3, 64, 64) images, in [0, 1] except for overshoots."""
        raise NotImplementedError

    def reconstruct(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, 64, 64) images to their reconstructions and the (N, latent) that these were made from."""
        latents = self.encode(images)
        return self.decode(latents), latents

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) images to their reconstructions."""
        return self.reconstruct(images)[0]

    def start_at_pca(self, pca) -> None:
        """Set the network to a fitted sklearn PCA with `latent` components, if it can be; by default, nothing."""

    def settings(self) -> dict:
        """The constructor's options: what config.json holds."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}


class ConvAutoencoder(Autoencoder):
    """The coursework's: four convolutions with ReLU to 4x4x256, linearly to the latent, and their mirror image back."""

    def __init__(self, latent: int = 128, dropout: float = 0.2, initialization: str = "he"):
        super().__init__(latent)
        self.initialization = initialization
        side = SIZE // 2 ** (len(CHANNELS) - 1)
        features = CHANNELS[-1] * side**2
        down, up = [], []
        for before, after in zip(CHANNELS, CHANNELS[1:]):
            down += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
            back = nn.ConvTranspose2d(after, before, 3, stride=2, padding=1, output_padding=1)
            up = [back, nn.ReLU(inplace=True), *up]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(features, latent))
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.Sequential(
            nn.Linear(latent, features), nn.Unflatten(1, (CHANNELS[-1], side, side)), *up[:-1], nn.Sigmoid()
        )
        if initialization == "he":  # He et al. 2015: keeps the signal's size through layers of ReLU
            for layer in self.modules():
                if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    nn.init.zeros_(layer.bias)

    def settings(self) -> dict:
        return {"latent": self.latent, "dropout": self.dropout.p, "initialization": self.initialization}

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return self.encoder(images)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.decoder(latents)

    def reconstruct(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From latents with dropout, in training."""
        latents = self.dropout(self.encode(images))
        return self.decode(latents), latents


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))), the identity at the start."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        silu = nn.functional.silu
        return features + self.second(silu(self.first(silu(features))))


class ResidualAutoencoder(Autoencoder):
    """The best preset's: PCA on either side, plus convolutions that start at zero, so that it starts as that PCA.

    `wide` channels at 8x8, `narrow` at 16x16, and `thin` channels between them and the latent.
    """

    linear_path = ("mean", "project", "expand")
    pictures = 1  # that the convolutions of the encoder see

    def __init__(self, latent: int = 128, narrow: int = 32, wide: int = 96, thin: int = 32):
        super().__init__(latent)
        self.narrow, self.wide, self.thin = narrow, wide, thin
        pixels, pieces, side = 3 * SIZE**2, 3 * PATCH**2, SIZE // PATCH // 2
        places = side**2
        self.mean = nn.Parameter(torch.zeros(pixels))
        self.project = nn.Parameter(torch.zeros(latent, pixels))  # whitened PCA: the latents start with variance 1
        self.expand = nn.Parameter(torch.zeros(pixels, latent))
        self.down = nn.Sequential(
            nn.PixelUnshuffle(PATCH), nn.Conv2d(self.pictures * pieces, narrow, 3, padding=1),
            ResidualBlock(narrow), nn.SiLU(),
            nn.Conv2d(narrow, wide, 2, stride=2), ResidualBlock(wide), ResidualBlock(wide),
            nn.Conv2d(wide, thin, 1), nn.SiLU(), nn.Flatten(), nn.Linear(thin * places, latent),
        )  # fmt: skip
        self.up = nn.Sequential(
            nn.Linear(latent, thin * places), nn.Unflatten(1, (thin, side, side)),
            nn.Conv2d(thin, wide, 1), ResidualBlock(wide), ResidualBlock(wide), nn.SiLU(),
            nn.Conv2d(wide, 4 * narrow, 1), nn.PixelShuffle(2),
        )  # fmt: skip
        self.stem = nn.Sequential(nn.PixelUnshuffle(PATCH), nn.Conv2d(pieces, narrow, 3, padding=1))
        self.head = nn.Sequential(
            ResidualBlock(narrow), nn.SiLU(), nn.Conv2d(narrow, pieces, 3, padding=1), nn.PixelShuffle(PATCH)
        )
        for last in (self.down[-1], self.head[-2]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @torch.no_grad()
    def start_at_pca(self, pca) -> None:
        components = torch.from_numpy(pca.components_)
        deviation = torch.from_numpy(pca.explained_variance_).sqrt()[:, None]
        self.mean.copy_(torch.from_numpy(pca.mean_))
        self.project.copy_(components / deviation)
        self.expand.copy_((components * deviation).T)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        linear = nn.functional.linear(images.flatten(1) - self.mean, self.project)
        return linear + self.down(self.encoder_input(images, linear))

    def encoder_input(self, images: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """(N, 3 * pictures, 64, 64), what the encoder's convolutions see of images and of their linear latents."""
        return images - 0.5

    def expanded(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64), the linear path's reconstructions."""
        return nn.functional.linear(latents, self.expand, self.mean).unflatten(1, (3, SIZE, SIZE))

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        linear = self.expanded(latents)
        return linear + self.head(self.up(latents) + self.stem(linear - 0.5))

    def reconstruct(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Clipped to [0, 1] in evaluation, where overshoots need no gradient."""
        reconstructions, latents = super().reconstruct(images)
        return reconstructions if self.training else reconstructions.clamp(0, 1), latents


class InformedAutoencoder(ResidualAutoencoder):
    """For several styles: the same, narrower, whose encoder's convolutions also see the linear path's error.

    That error depends on the whole image. Convolutions see a part of it at a time and could not know it otherwise.
    """

    pictures = 2

    def __init__(self, latent: int = 128, narrow: int = 32, wide: int = 64, thin: int = 32):
        super().__init__(latent, narrow, wide, thin)

    def encoder_input(self, images: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        # Errors are a few hundredths: doubled, they are still below the images' range.
        return torch.cat([images - 0.5, 2 * (images - self.expanded(latents))], 1)


class MultiTaskAutoencoder(Autoencoder):
    """Part 2's: an autoencoder of any architecture with a linear classifier, (N, classes) logits, on its latent."""

    def __init__(self, autoencoder: Autoencoder, classes: int = 2):
        super().__init__(autoencoder.latent)
        self.autoencoder, self.classes = autoencoder, classes
        self.linear_path = tuple(f"autoencoder.{name}" for name in autoencoder.linear_path)
        self.classifier = nn.Linear(autoencoder.latent, classes)
        self.encode, self.decode = autoencoder.encode, autoencoder.decode
        self.reconstruct, self.start_at_pca = autoencoder.reconstruct, autoencoder.start_at_pca

    def settings(self) -> dict:
        return {"autoencoder": described(self.autoencoder), "classes": self.classes}


@torch.no_grad()
def encode_all(model: Autoencoder, images: torch.Tensor) -> torch.Tensor:
    """(N, latent) on the processor, from (N, 3, 64, 64) images, uint8 or in [0, 1]."""
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model.encode(to_float(batch.to(device))).cpu() for batch in images.split(256)])


@torch.no_grad()
def decode_all(model: Autoencoder, latents: torch.Tensor) -> torch.Tensor:
    """(N, 3, 64, 64) images in [0, 1] on the processor, from (N, latent)."""
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model.decode(batch.to(device)).clamp(0, 1).cpu() for batch in latents.split(256)])


@torch.no_grad()
def class_probabilities(model: MultiTaskAutoencoder, images: torch.Tensor) -> torch.Tensor:
    """(N, classes) on the processor, from (N, 3, 64, 64) images."""
    latents = encode_all(model, images).to(model.classifier.weight.device)
    return model.classifier(latents).softmax(1).cpu()


def refine(model: Autoencoder, images: torch.Tensor, steps: int, learning_rate: float = 0.05) -> torch.Tensor:
    """(N, latent): the encoder's latents, improved by Adam against the images they stand for, decoder fixed."""
    with torch.no_grad():
        latents = model.encode(images)
    latents.requires_grad_()
    optimizer = torch.optim.Adam([latents], learning_rate, betas=(0.9, 0.95))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        error = (model.decode(latents) - images).square().sum()
        latents.grad = torch.autograd.grad(error, latents)[0]
        optimizer.step()
    return latents.detach()


# ---------------------------------------------------------------- by name, and in files

ARCHITECTURES = {"convolutional": ConvAutoencoder, "residual": ResidualAutoencoder, "informed": InformedAutoencoder}
MULTI_TASK = "multi-task"


def find(name: str) -> type[Autoencoder]:
    """The class of a name in ARCHITECTURES, or of the user's `file.py:Class`. Raises UserError."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    file, _, class_name = name.rpartition(":")
    if not file.endswith(".py") or not Path(file).is_file():
        choices = f"{', '.join(ARCHITECTURES)}, or my_file.py:MyClass"
        raise UserError(f"--network {name} is unknown, or its file is not there; it takes {choices}")
    specification = importlib.util.spec_from_file_location(Path(file).stem, file)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # where dataclasses look for it
    try:
        specification.loader.exec_module(module)
    except (SyntaxError, ImportError) as error:
        raise UserError(f"--network {name}: {file} cannot be imported ({error})") from None
    network = getattr(module, class_name, None)
    if not (isinstance(network, type) and issubclass(network, Autoencoder)):
        raise UserError(f"--network {name}: {file} has no class {class_name} that is a lab.networks.Autoencoder")
    network.own_name = name
    return network


def build(name: str, latent: int, **options) -> Autoencoder:
    """A new network. It gets those of the `options` that its constructor names. Raises UserError."""
    network = find(name)
    return network(latent=latent, **{k: v for k, v in options.items() if k in signature(network).parameters})


def described(model: Autoencoder) -> dict:
    """What config.json says of a network: its architecture and its options."""
    names = {network: name for name, network in ARCHITECTURES.items()} | {MultiTaskAutoencoder: MULTI_TASK}
    return {"architecture": names.get(type(model)) or model.own_name, **model.settings()}


def from_description(description: dict, own: str | None = None) -> Autoencoder:
    """A network from what its config.json says. Raises ValueError for one that is neither ours nor the user's `own`."""
    options = dict(description)
    architecture = options.pop("architecture")
    if architecture == MULTI_TASK:
        return MultiTaskAutoencoder(from_description(options["autoencoder"], own), options["classes"])
    if architecture not in (*ARCHITECTURES, own):
        raise ValueError(f"its config.json names the network {architecture!r:.60}; if it is yours, give --network")
    return find(architecture)(**options)


def load(folder: Path | str, own: str | None = None) -> Autoencoder:
    """The trained network in a folder, in evaluation mode; float16 weights become float32.

    Reads safetensors alone, never a pickle. `own` is the user's network, as `file.py:Class`: a config.json alone makes
    no foreign code run. Raises UserError for a missing, foreign or broken network.
    """
    weights, settings = Path(folder) / WEIGHTS, Path(folder) / SETTINGS
    if not weights.is_file() or not settings.is_file():
        raise UserError(f"{folder} holds no trained network; train one with `python autoencoder.py --out {folder}`")
    try:
        model = from_description(json.loads(settings.read_text(encoding="utf-8")), own)
        model.load_state_dict(load_file(weights))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split("\n")[:2])  # torch names the tensor in the second line
        raise UserError(f"the network in {folder} cannot be used ({reason}); train it again") from None
    if not all(tensor.isfinite().all() for tensor in model.parameters()):
        raise UserError(f"the network in {folder} has weights that are not finite; train it again")
    return model.eval()


def save(model: Autoencoder, pictures: Pictures, folder: Path) -> None:
    """The weights, the network's config.json, and the latents of all pictures."""
    write_json(folder / SETTINGS, described(model))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    for name, content in ((WEIGHTS, tensors), ("latents.safetensors", {"latents": encode_all(model, pictures.images)})):
        with atomic_write(folder / name) as path:
            save_file(content, path)
