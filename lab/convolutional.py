"""The original's network: four strided convolutions, a latent, and their mirror image."""

from typing import Literal

import torch
from torch import nn

from common.pictures import SIZE
from lab.contract import Autoencoder

CHANNELS = (3, 32, 64, 128, 256)  # of the image and after each convolution, which halves the side


class ConvAutoencoder(Autoencoder):
    """64x64x3 to 4x4x256 by convolutions with ReLU, then linearly to the latent; transposed convolutions back."""

    architecture = "convolutional"

    def __init__(
        self, latent: int = 128, dropout: float = 0.2, initialization: Literal["he", "pytorch"] = "he"
    ):  # fmt: skip
        super().__init__(latent)
        self.initialization = initialization
        side = SIZE // 2 ** (len(CHANNELS) - 1)
        features = CHANNELS[-1] * side**2
        down, up = [], []
        for wide, narrow in zip(CHANNELS, CHANNELS[1:]):
            down += [nn.Conv2d(wide, narrow, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
            back = nn.ConvTranspose2d(narrow, wide, 3, stride=2, padding=1, output_padding=1)
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
        """Of latents with dropout, in training."""
        latents = self.dropout(self.encode(images))
        return self.decode(latents), latents
