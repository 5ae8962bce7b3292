"""The best preset's network and training: PCA on either side, and a convolutional residual that starts at zero.

Before the first step the reconstruction is PCA's, and training can only go on from there. Nothing here is run by itself:
`python autoencoder.py --preset best`.
"""

import math
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, Sequence

import torch
from huggingface_hub import PyTorchModelHubMixin
from sklearn.decomposition import PCA
from torch import nn
from tqdm import tqdm

import augmentation
import data
from checkpoint import Checkpoint
from cli import UserError
from training import Losses

PATCH = 4  # pixels per side of the patches that become channels: all convolutions run at 16x16 and 8x8
PCA_IMAGES = 2048  # augmented images to which the PCA at the start is fitted

# Chosen on validation emoji.
BATCH_SIZE = 32
MUON_LEARNING_RATE = 0.015  # of the convolutions
LINEAR_LEARNING_RATE = 2e-4  # of the PCA's matrices: they start where they should be
BIAS_LEARNING_RATE = 1e-3

REPORTS = 30  # lines of the record, as many as the report has epochs


@dataclass(frozen=True)
class Recipe:
    """What is done to the training images beyond the report's augmentation."""

    others: float  # part of a batch that is no faces
    move: float  # shift, in sides, and half the scale
    mixed: float  # probability of MixUp or CutMix


RECIPES = {  # by split, each chosen on its own validation images
    "emoji": Recipe(others=0.25, move=0.015, mixed=0.7),
    "report": Recipe(others=0.0, move=0.0, mixed=0.0),  # the tested emoji are in training: nothing new is to come
}


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


class ResidualAutoencoder(nn.Module, PyTorchModelHubMixin):
    """(N, 3, 64, 64) images to (N, latent) and back, as PCA does, plus what convolutions add on both sides.

    `wide` channels at 8x8, `narrow` at 16x16, and a neck of `thin` channels between them and the latent.
    """

    def __init__(self, latent: int = 128, narrow: int = 32, wide: int = 96, thin: int = 32):
        super().__init__()
        self.latent = latent
        pixels, pieces, places = 3 * data.SIZE**2, 3 * PATCH**2, (data.SIZE // PATCH // 2) ** 2
        self.mean = nn.Parameter(torch.zeros(pixels))
        self.project = nn.Parameter(torch.zeros(latent, pixels))  # whitened PCA: the latents start with variance 1
        self.expand = nn.Parameter(torch.zeros(pixels, latent))
        self.down = nn.Sequential(
            nn.PixelUnshuffle(PATCH), nn.Conv2d(pieces, narrow, 3, padding=1), ResidualBlock(narrow), nn.SiLU(),
            nn.Conv2d(narrow, wide, 2, stride=2), ResidualBlock(wide), ResidualBlock(wide),
            nn.Conv2d(wide, thin, 1), nn.SiLU(), nn.Flatten(), nn.Linear(thin * places, latent),
        )  # fmt: skip
        self.up = nn.Sequential(
            nn.Linear(latent, thin * places), nn.Unflatten(1, (thin, int(places**0.5), int(places**0.5))),
            nn.Conv2d(thin, wide, 1), ResidualBlock(wide), ResidualBlock(wide), nn.SiLU(),
            nn.Conv2d(wide, 4 * narrow, 1), nn.PixelShuffle(2),
        )  # fmt: skip
        self.look = nn.Sequential(nn.PixelUnshuffle(PATCH), nn.Conv2d(pieces, narrow, 3, padding=1))
        self.out = nn.Sequential(ResidualBlock(narrow), nn.SiLU(), nn.Conv2d(narrow, pieces, 3, padding=1), nn.PixelShuffle(PATCH))
        for last in (self.down[-1], self.out[-2]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @torch.no_grad()
    def start_at_pca(self, pca: PCA) -> None:
        """Set the linear path to a fitted PCA with as many components as the latent has numbers."""
        components, deviation = torch.from_numpy(pca.components_), torch.from_numpy(pca.explained_variance_).sqrt()[:, None]
        self.mean.copy_(torch.from_numpy(pca.mean_))
        self.project.copy_(components / deviation)
        self.expand.copy_((components * deviation).T)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) images in [0, 1] to (N, latent)."""
        return nn.functional.linear(images.flatten(1) - self.mean, self.project) + self.down(images - 0.5)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, latent) to (N, 3, 64, 64) images, in [0, 1] but for overshoots at edges."""
        linear = nn.functional.linear(latents, self.expand, self.mean).unflatten(1, (3, data.SIZE, data.SIZE))
        return linear + self.out(self.up(latents) + self.look(linear - 0.5))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) images to their reconstructions."""
        return self.finished(self.decode(self.encode(images)))

    def finished(self, reconstructions: torch.Tensor) -> torch.Tensor:
        """Clipped to [0, 1] in evaluation, where no gradient needs what overshoots."""
        return reconstructions if self.training else reconstructions.clamp(0, 1)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Roughly the nearest orthogonal matrix, by five Newton-Schulz rounds with Jordan's coefficients (2024).

    In float32: in bfloat16, as torch.optim.Muon does it, this diverges on a processor.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / (wide.norm() + 1e-7)
    gram, identity = wide @ wide.T, torch.eye(len(wide), device=wide.device)
    product = identity
    for _ in range(5):  # all on the small Gram matrix
        step = 3.4445 * identity - 4.775 * gram + 2.0315 * gram @ gram
        product, gram = step @ product, step @ gram @ step
    wide = product @ wide
    return wide.T if tall else wide


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalized, for the weights of convolutions and linear layers. Jordan et al. 2024."""

    def __init__(self, parameters, lr: float, momentum: float = 0.95, weight_decay: float = 0.2):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(average, group["momentum"]).flatten(1)
                size = group["lr"] * max(1, update.shape[0] / update.shape[1]) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(orthogonal(update).reshape(parameter.shape), alpha=-size)


class Diet:
    """Where training images come from: freshly augmented faces and, with `others`, other pictures among them."""

    def __init__(self, faces: data.Part, others: torch.Tensor, recipe: Recipe, device: torch.device):
        """`others` is (N, 3, 64, 64) uint8 and may be empty."""
        self.faces, self.emoji, self.others, self.recipe = faces.images.to(device), faces.emoji, others.to(device), recipe
        self.share = (recipe.others or RECIPES["emoji"].others) if len(others) else 0.0

    def batch(self, size: int, generator: torch.Generator, harder: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """(size, 3, 64, 64) images in [0, 1] and, for each, the original it was made from: -1 for other pictures and mixtures.

        If not `harder`, they are augmented just as the report's copies.
        """
        move, mixed = (self.recipe.move, self.recipe.mixed) if harder else (0.0, 0.0)
        others = round(size * self.share)
        faces = torch.randint(len(self.faces), (size - others,), generator=generator)
        rest = torch.randint(max(len(self.others), 1), (others,), generator=generator)
        images = torch.cat([self.faces[faces.to(self.faces.device)], self.others[rest.to(self.others.device)]])
        images, of_two = augmentation.mix(data.to_float(images), generator, mixed)
        emoji = torch.cat([self.emoji[faces], torch.full_like(rest, -1)]).to(of_two.device).masked_fill(of_two, -1)
        return augmentation.augment(images, generator, move), emoji

    def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """`count` images augmented as the report's copies: the material of PCA, at the start and as the baseline."""
        images = torch.empty(count, *self.faces.shape[1:], device=self.faces.device)
        for part in images.split(256):
            part.copy_(self.batch(len(part), generator, harder=False)[0])
        return images


@lru_cache(maxsize=1)
def all_pictures(source: str, skip_bad: bool) -> data.Originals:
    """Every picture of `source`, kept in memory: the folds of Part 2 ask for them again and again."""
    return data.load_originals(source, keyword="", skip_bad=skip_bad)


def diet(splits: data.Splits, config, device: torch.device) -> Diet:
    """The training faces of `splits` and, as `config.train_on` says, the pictures of the source that are no faces.

    Raises LeakError if, with the emoji split, a name of the validation or test set is among them.
    """
    part, originals = splits.train, splits.originals
    # A copy of a picture that is there itself adds nothing: augmentation is fresh at every step.
    itself = (part.images == originals.images[part.emoji]).flatten(1).all(1)
    kept = itself | ~torch.isin(part.emoji, part.emoji[itself])
    names = [originals.names[i] for i in part.emoji[kept]]
    others = torch.empty(0, *originals.images.shape[1:], dtype=torch.uint8)
    recipe = RECIPES[config.split]
    if config.train_on == "all" or (config.train_on == "auto" and recipe.others):
        everything = all_pictures(originals.source, config.skip_bad)
        faces = {*map(data.twin_key, originals.names), *(data.twin_key(data.normalise(name)) for name in config.hold_out)}
        banned = {key for name, key in zip(everything.names, everything.keys) if data.twin_key(name) in faces}
        rest = data.take(everything, [i for i, key in enumerate(everything.keys) if key not in banned])
        others, names = rest.images, names + rest.names
    if config.split == "emoji":
        refuse_leaks(names, torch.cat([part.images[kept], others]), splits)
    return Diet(data.Part(part.images[kept], part.emoji[kept]), others, recipe, device)


class LeakError(Exception):
    """A held-out name reached a training set: a fault of this project, never to be caught."""


def refuse_leaks(names: list[str], images: torch.Tensor, splits: data.Splits) -> None:
    """Raise LeakError if training has a name of the validation or test set, skin-tone twins included, or a picture of
    it, as it is or mirrored. `images` are (N, 3, H, W) uint8, one per name.
    """
    tested = sorted({i for part in (splits.val, splits.test) for i in part.emoji.tolist()})
    held_out = {data.twin_key(splits.originals.names[i]) for i in tested}
    pictures = splits.originals.images[tested]
    seen = {picture.numpy().tobytes() for picture in (*pictures, *pictures.flip(3))}
    for name, image in zip(names, images):
        if data.twin_key(name) in held_out or image.numpy().tobytes() in seen:
            raise LeakError(f"held out, but in training: {name}")


def one_cycle(done: float, warm_up: float = 0.1) -> float:
    """The learning rate at `done` of the budget, in [0, 1], as a part of its peak: up linearly, down along a cosine."""
    if done < warm_up:
        return (done + 1e-3) / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (done - warm_up) / (1 - warm_up))


def fit(
    model: ResidualAutoencoder, diet: Diet, losses: Losses, config, device: torch.device, report: Callable[[int, dict[str, float]], None],
    checkpoint: Checkpoint | None = None, generators: Sequence[torch.Generator] = (),
) -> int:  # fmt: skip
    """Train for `config.steps` steps, or, if given, for `config.seconds`, or go on with it; returns the steps.

    `report(step, losses)` is called REPORTS times along the way, with the mean losses since the last call. `generators` are those
    that `losses` draw from.
    """
    generator = data.generator("diet", config.seed)
    linear = [model.mean, model.project, model.expand]
    others = [parameter for name, parameter in model.named_parameters() if name not in ("mean", "project", "expand")]
    optimizers = [
        Muon([parameter for parameter in others if parameter.dim() > 1], MUON_LEARNING_RATE),
        torch.optim.AdamW(
            [
                {"params": linear, "lr": LINEAR_LEARNING_RATE},
                {"params": [parameter for parameter in others if parameter.dim() == 1], "lr": BIAS_LEARNING_RATE},
            ],
            betas=(0.9, 0.99),
            weight_decay=0.0,
            fused=device.type != "mps",
        ),
    ]
    at = {"step": 0, "reports": 0, "rows": [], "done": 0.0, "seconds": 0.0}
    if checkpoint:
        at = checkpoint.restore(model, optimizers, [generator, *generators], at)
    step, reports, rows, done, spent = at.values()
    started = time.monotonic() - spent
    # after restore, which replaces the groups
    peaks = [(group, group["lr"]) for optimizer in optimizers for group in optimizer.param_groups]
    with tqdm(total=1.0, initial=done, leave=False, disable=None, bar_format="{percentage:3.0f}% |{bar}| {elapsed}<{remaining}") as progress:
        while done < 1:
            for group, peak in peaks:
                group["lr"] = peak * one_cycle(done)
            images, emoji = diet.batch(BATCH_SIZE, generator)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "mps"):
                values = losses(model, images, emoji)
            values["loss"].backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            step += 1
            rows.append({name: value.item() for name, value in values.items()})
            if not math.isfinite(rows[-1]["loss"]):
                raise UserError(f"the loss became {rows[-1]['loss']} at step {step}; try another --seed")
            done = (time.monotonic() - started) / config.seconds if config.seconds else step / config.steps
            progress.update(min(done, 1) - progress.n)
            if done * REPORTS >= reports + 1:
                report(step, {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]})
                reports, rows = int(done * REPORTS), []
            if checkpoint:
                at = {"step": step, "reports": reports, "rows": rows, "done": done, "seconds": time.monotonic() - started}
                checkpoint.save(at, finished=done >= 1)
    return step


def refined_loss(model: nn.Module, images: torch.Tensor, emoji: torch.Tensor, steps: int) -> dict[str, torch.Tensor]:
    """The MSE with refined latents."""
    latents = torch.cat([refine(model, part, steps) for part in images.split(64)])  # all at once need more memory
    reconstructions = model.decode(latents).clamp(0, 1)
    return {"loss": nn.functional.mse_loss(reconstructions, images)}


def refine(model: nn.Module, images: torch.Tensor, steps: int, learning_rate: float = 0.05) -> torch.Tensor:
    """(N, latent): the encoder's latents, improved by Adam against the images they are to reconstruct, decoder fixed."""
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
