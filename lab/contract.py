"""What a network must have and may have. A network of your own is one file with a subclass of `Autoencoder`.

    python autoencoder.py --network my_network.py:MyNetwork

Must: a constructor that takes `latent` (others of its options must have defaults), `encode` and `decode`.
May:  `reconstruct`, where the way from images to reconstructions is not just encode and decode (dropout, clipping);
      `start_at_pca`, to begin where a PCA ends; `linear_path`, the parameters that are best changed slowly.
"""

from inspect import signature

import torch
from huggingface_hub import PyTorchModelHubMixin
from sklearn.decomposition import PCA
from torch import nn

CARD = "A model of the emoji autoencoder lab."  # by which a README.md is known to be ours
MODEL_CARD = f"""---
{{{{ card_data }}}}
---
{CARD} Load it with `lab.networks.load(folder)`, or from the Hub with `lab.networks.load("hub:owner/name")`.

Trained and tested on pictures of: {{{{ pictures | default("a source that is not named here", true) }}}}.
"""


class Autoencoder(nn.Module, PyTorchModelHubMixin, model_card_template=MODEL_CARD):
    """Images to `latent` numbers and back. `save_pretrained` and `push_to_hub` keep it as safetensors."""

    linear_path: tuple[str, ...] = ()  # names of parameters that start where they should be

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) images in [0, 1] to (N, latent)."""
        raise NotImplementedError

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, latent) to (N, 3, 64, 64) images in [0, 1], but for overshoots."""
        raise NotImplementedError

    def reconstruct(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, 64, 64) images to their reconstructions and the (N, latent) that these were made from."""
        latents = self.encode(images)
        return self.decode(latents), latents

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) images to their reconstructions."""
        return self.reconstruct(images)[0]

    def start_at_pca(self, pca: PCA) -> None:
        """Nothing, unless a network can begin as a PCA with as many components as the latent has numbers."""

    def settings(self) -> dict:
        """The constructor's options, each kept under its own name: what config.json holds."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def save_pretrained(self, folder, **options):
        """As the mixin's, with the `architecture` in config.json, by which `lab.networks.load` knows the class."""
        config = {"architecture": self.architecture, **self.settings()}
        return super().save_pretrained(folder, **options | {"config": config})  # push_to_hub gives one too

    @classmethod
    def from_pretrained(cls, *arguments, **options):
        """No way in: the mixin's reads pickles, and leaves at random what does not fit. Raises TypeError."""
        raise TypeError("from_pretrained is not strict; open a network with lab.networks.load(folder)")


@torch.no_grad()
def encode_all(model: Autoencoder, images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(N, latent) on the CPU, from (N, 3, 64, 64) uint8 images."""
    model.eval()
    return torch.cat([model.encode(batch.to(device).float() / 255).cpu() for batch in images.split(256)])


@torch.no_grad()
def decode_all(model: Autoencoder, latents: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(N, 3, 64, 64) images in [0, 1] on the CPU, from (N, latent)."""
    model.eval()
    return torch.cat([model.decode(batch.to(device)).clamp(0, 1).cpu() for batch in latents.split(256)])
