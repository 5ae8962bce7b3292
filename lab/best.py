"""The best preset: PCA on either side of the latent plus a convolutional residual that starts at zero, so that training
only goes on from PCA; Muon; bfloat16 where the processor computes in it; refined latents. And adversarial examples."""

import math
import time
import timeit
from functools import lru_cache, partial

import torch
from torch import nn

from lab.cli import UserError
from lab.networks import Autoencoder
from lab.options import RunOptions, TrainingOptions
from lab.pictures import SIZE
from lab.runs import read_run

LINEAR_RATE, BIAS_RATE = 2e-4, 1e-3  # learning rates of the linear path and of biases
EPSILON = 8 / 255  # of the adversarial examples: how far a pixel is moved
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
    `wide` channels at 8x8, `narrow` at 16x16, and `thin` channels between them and the latent."""

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
        if len(components) < self.latent:
            found = f"--latent is {self.latent}, but PCA of so few images has {len(components)} components"
            raise UserError(f"{found}; give a smaller --latent, or more images")
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
    That error depends on the whole image. Convolutions see a part of it at a time and could not know it otherwise."""

    architecture = "informed"
    pictures = 2

    def __init__(self, latent: int = 128, narrow: int = 32, wide: int = 64, thin: int = 32):
        super().__init__(latent, narrow, wide, thin)

    def encoder_input(self, images: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        # Errors are a few hundredths: doubled, they are still below the images' range.
        return torch.cat([images - 0.5, 2 * (images - self.expanded(latents))], 1)


@torch.enable_grad()
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


@lru_cache(maxsize=1)
def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32: measured in one thread, in little time.
    What it says of itself would not do: `ONEDNN_MAX_CPU_ISA=AVX2` makes a new one behave like an old one."""
    threads, seconds = torch.get_num_threads(), []
    torch.set_num_threads(1)
    for kind in (torch.float32, torch.bfloat16):
        product = partial(torch.matmul, *2 * [torch.ones(384, 384, dtype=kind)])
        seconds.append(min(timeit.repeat(product, timer=time.thread_time, repeat=8, number=1)))
    torch.set_num_threads(threads)
    return seconds[1] < seconds[0]  # about half of it, or else more than twice, however busy the machine is


def resolve_precision(options: RunOptions) -> str:
    """What `auto` is on this device; for a run that is resumed, what its record says. Warns of slow bfloat16."""
    there = (read_run(options.out) if options.resume else None) or {"config": {}}
    device = torch.device(options.device)
    on_cuda = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    here = "bfloat16" if on_cuda or (device.type == "cpu" and cpu_has_bfloat16()) else "float32"
    chosen = there["config"].get("precision", here) if options.precision == "auto" else options.precision
    if chosen != here and chosen == "bfloat16":
        print("this machine only emulates bfloat16: expect ten times the time of float32")
    return chosen


def newton_schulz(matrix: torch.Tensor) -> torch.Tensor:
    """Roughly the nearest orthogonal matrix, by five Newton-Schulz rounds with Jordan's coefficients (2024).
    All rounds work on the small Gram matrix. This form needs float32: in bfloat16 it diverges, which the usual form
    on the whole matrix does not."""
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / (wide.norm() + 1e-7)
    gram, identity = wide @ wide.T, torch.eye(len(wide), device=wide.device)
    product = identity
    for _ in range(5):
        step = 3.4445 * identity - 4.775 * gram + 2.0315 * gram @ gram
        product, gram = step @ product, step @ gram @ step
    wide = product @ wide
    return wide.T if tall else wide


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalized, for the weights of convolutions and linear layers. Jordan et al. 2024.
    torch.optim.Muon refuses the weights of convolutions, and was about 30 times slower on a processor."""

    def __init__(self, parameters, lr: float, momentum: float = 0.95, weight_decay: float = 0.2):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the matrices are small: a second thread only waits
        for group in self.param_groups:
            for parameter in (each for each in group["params"] if each.grad is not None):
                average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(average, group["momentum"]).flatten(1)
                size = group["lr"] * max(1, update.shape[0] / update.shape[1]) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(newton_schulz(update).reshape(parameter.shape), alpha=-size)
        torch.set_num_threads(threads)


def one_cycle(done: float, warm_up: float = 0.1) -> float:
    """The best preset's learning rate at `done` of the budget, as a fraction of its peak: a line up, a cosine down."""
    if done < warm_up:
        return (done + 1e-3) / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (done - warm_up) / (1 - warm_up))


def optimizers(options: TrainingOptions, model: Autoencoder, fused: bool) -> list[torch.optim.Optimizer]:
    """Muon for matrices; AdamW for biases, and slowly for the linear path, which starts where it should be."""
    linear = [parameter for name, parameter in model.named_parameters() if name in model.linear_path]
    others = [parameter for name, parameter in model.named_parameters() if name not in model.linear_path]
    matrices, biases = ([p for p in others if (p.dim() > 1) == wide] for wide in (True, False))
    rates = ((linear, LINEAR_RATE), (biases, BIAS_RATE))
    groups = [{"params": parameters, "lr": rate} for parameters, rate in rates if parameters]
    muon = [Muon(matrices, options.learning_rate, weight_decay=options.weight_decay)] if matrices else []
    return muon + ([torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0, fused=fused)] if groups else [])


def adversarial_loss(model: nn.Module, images: torch.Tensor, emoji: torch.Tensor) -> dict[str, torch.Tensor]:
    """The MSE to the true images, where half of the inputs are adversarial.
    Every pixel is moved by EPSILON to where the MSE rises: the fast gradient sign method, Goodfellow et al. 2015."""
    attacked = images[::2].clone().requires_grad_()
    slope = torch.autograd.grad(nn.functional.mse_loss(model(attacked), images[::2]), attacked)[0]
    inputs = images.clone()
    inputs[::2] = (images[::2] + EPSILON * slope.sign()).clamp(0, 1)
    return {"loss": nn.functional.mse_loss(model(inputs), images)}


def refined_loss(model: Autoencoder, images: torch.Tensor, emoji: torch.Tensor, steps: int) -> dict[str, torch.Tensor]:
    """The MSE with latents that are refined by so many steps."""
    latents = torch.cat([refine(model, part, steps) for part in images.split(64)])  # in parts, to save memory
    return {"loss": nn.functional.mse_loss(model.decode(latents).clamp(0, 1), images)}
