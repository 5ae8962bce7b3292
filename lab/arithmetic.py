"""Latent arithmetic and its scores: what composite.py shows for one triple and analogies.py measures over many."""

from dataclasses import dataclass
from typing import Callable, Sequence

import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

import data
from lab.contract import Autoencoder, decode_all, encode_all

# The cats and their human counterparts, so that cat_i + (human_j - human_i) has a right answer: cat_j.
COUNTERPARTS = {
    "grinning cat face with smiling eyes": "grinning face with smiling eyes",
    "cat face with tears of joy": "face with tears of joy",
    "smiling cat face with open mouth": "smiling face with open mouth",
    "smiling cat face with heart shaped eyes": "smiling face with heart shaped eyes",
    "cat face with wry smile": "smirking face",
    "kissing cat face with closed eyes": "kissing face with closed eyes",
    "pouting cat face": "pouting face",
    "crying cat face": "crying face",
    "weary cat face": "weary face",
}
TIE_MSE = 1e-7  # an MSE no further from the truth's than this counts as tied: above the rounding of float32
VISIBLE_DIFFERENCE = 0.1  # of the pixel range [0, 1]: where target and truth differ by more, they differ to the eye


@dataclass(frozen=True)
class Space:
    """Where the arithmetic happens: coordinates of the originals, and the way back to pictures."""

    latents: torch.Tensor  # (N, d) float32, one row per original
    decode: Callable[[torch.Tensor], torch.Tensor]  # (M, d) to (M, 3, H, W) in [0, 1]


def pixel_space(images: torch.Tensor) -> Space:
    """No compression at all: the latents are the pixels of (N, 3, H, W) uint8 images."""
    return Space(data.to_float(images).flatten(1), lambda latents: latents.clamp(0, 1).unflatten(1, images.shape[1:]))


def pca_space(images: torch.Tensor, pca: PCA) -> Space:
    """The components of a fitted PCA."""

    def decode(latents: torch.Tensor) -> torch.Tensor:
        pixels = torch.from_numpy(pca.inverse_transform(latents.numpy())).float()
        return pixels.clamp(0, 1).unflatten(1, images.shape[1:])

    return Space(torch.from_numpy(pca.transform(data.to_float(images).flatten(1).numpy())).float(), decode)


def network_space(model: Autoencoder, images: torch.Tensor, device: torch.device) -> Space:
    """The latents of a trained network on `device`, one per (N, 3, 64, 64) uint8 image."""
    return Space(encode_all(model, images, device), lambda latents: decode_all(model, latents, device))


# ---------------------------------------------------------------- the attribute, in four ways

Pairs = Sequence[tuple[int, int]]  # (cat, human) counterparts that may be looked at: never the answer's


def difference(z: torch.Tensor, target: int, baseline: int, featured: int, known: Pairs) -> torch.Tensor:
    """The original's: what featured has and baseline has not."""
    return z[featured] - z[baseline]


def mean_difference(z: torch.Tensor, target: int, baseline: int, featured: int, known: Pairs) -> torch.Tensor:
    """From target to featured made a cat by the mean difference of the known pairs."""
    cats, humans = map(list, zip(*known))
    return z[featured] + (z[cats] - z[humans]).mean(0) - z[target]


def isolated_difference(z: torch.Tensor, target: int, baseline: int, featured: int, known: Pairs) -> torch.Tensor:
    """The difference without its part along other attributes: the first three principal directions of theirs."""
    others = z[[human for _, human in known if human not in (baseline, featured)]] - z[baseline]
    directions = torch.linalg.svd(others, full_matrices=False).Vh[:3]
    attribute = z[featured] - z[baseline]
    return attribute - directions.T @ (directions @ attribute)


def mapped(z: torch.Tensor, target: int, baseline: int, featured: int, known: Pairs) -> torch.Tensor:
    """From target to where a ridge regression, fitted on the known pairs, sends the featured human."""
    cats, humans = map(list, zip(*known))
    scale = (z[humans] - z[humans].mean(0)).square().sum().item() / len(known)  # makes the penalty free of units
    regression = Ridge(alpha=scale).fit(z[humans].numpy(), z[cats].numpy())
    return torch.from_numpy(regression.predict(z[[featured]].numpy())[0]).float() - z[target]


ATTRIBUTES = {"difference": difference, "mean": mean_difference, "isolated": isolated_difference, "map": mapped}
FORMULAS = {  # of the attributes, in words; the learned one is not found by arithmetic, but by lab/composer.py
    "difference": "featured − baseline",
    "mean": "featured + mean of (cat − its human) over known pairs − target",
    "isolated": "featured − baseline, without its part along other faces' differences",
    "map": "(the cat that a regression on known pairs makes of featured) − target",
    "learned": "(target with the features that featured has and baseline has not) − target",
}


# ---------------------------------------------------------------- scores


def squared_errors(pictures: torch.Tensor, pool: torch.Tensor) -> torch.Tensor:
    """(M, P) MSE between (M, 3, H, W) pictures in [0, 1] and a (P, 3, H, W) uint8 pool."""
    flat = pictures.flatten(1)
    columns = []
    for part in pool.split(64):  # 3 MB of floats, which stay near the processor: six times as fast as 512
        other = data.to_float(part).flatten(1)
        columns.append(flat.square().sum(1, True) - 2 * flat @ other.T + other.square().sum(1))
    return torch.cat(columns, 1) / flat.shape[1]


def ranks(errors: torch.Tensor, truth: Sequence[int], left_out: Sequence[Sequence[int]]) -> list[int]:
    """Rank of each row's truth by its error, 1 the nearest; sources are left out, ties count against us."""
    result = []
    for row, answer, sources in zip(errors, truth, left_out):
        before = row <= row[answer] + TIE_MSE
        before[[*sources, answer]] = False
        result.append(1 + int(before.sum()))
    return result


def similarity(picture: torch.Tensor, truth: torch.Tensor, region: torch.Tensor) -> dict[str, float]:
    """MSE and SSIM of a (3, H, W) picture to the truth, over all of it and within the (H, W) mask `region`."""
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim  # takes 1.5 s to import

    overall, local = ssim(picture[None], truth[None], data_range=1.0, return_full_image=True)
    squared = (picture - truth).square()
    return {
        "mse_to_truth": squared.mean().item(),
        "ssim_to_truth": overall.item(),
        "mse_in_region": squared[:, region].mean().item(),
        "ssim_in_region": local[0][:, region].mean().item(),
    }
