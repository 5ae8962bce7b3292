"""The best preset's networks: PCA on either side of the latent, and a convolutional residual that starts at zero.

Before the first step the reconstruction is PCA's, and training can only go on from there.
"""

import math

import torch
from torch import nn

from lab.networks import Autoencoder
from lab.pictures import SIZE

PATCH = 4  # pixels per side of the patches that become channels: all convolutions run at 16x16 and 8x8


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
    """(N, 3, 64, 64) images to (N, latent) and back, as PCA does, plus what convolutions add on both sides.

    `wide` channels at 8x8, `narrow` at 16x16, and `thin` channels between them and the latent.
    """

    architecture = "residual"
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
        deviation = deviation.clamp_min(1e-3 * deviation.max())  # of too few pictures some components are rounding
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

    architecture = "informed"
    pictures = 2

    def __init__(self, latent: int = 128, narrow: int = 32, wide: int = 64, thin: int = 32):
        super().__init__(latent, narrow, wide, thin)

    def encoder_input(self, images: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        # Errors are a few hundredths: doubled, they are still below the images' range.
        return torch.cat([images - 0.5, 2 * (images - self.expanded(latents))], 1)


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


ARCHITECTURES = {"residual": ResidualAutoencoder, "informed": InformedAutoencoder}
