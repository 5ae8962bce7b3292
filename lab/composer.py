"""Composites that look like emoji: a head keeps what it is, and gets the features of another face.

Two ways, by what baseline and featured differ in. If a change of colours explains it, as between skin tones, the target
gets that change. Otherwise the target's features give way to the featured face's, moved and scaled from head to head.
Two numbers are learned: how far eyes and mouth lie lower than on the face that they come from.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import nn

from lab import features
from lab.features import Faces

COLOURS = 0.9  # part of the difference that a change of colours explains, from which on it is one
PALETTE = 12  # levels of a channel, in which a picture's colours are told apart
NEAR_COLOUR = 0.04  # of the pixel range: standard deviation within which colours change alike
HALF_A_PIXEL = 0.5  # weight of leaving a colour as it is
SCALES = (0.4, 2.5)  # of features, at least and at most
AROUND = 1  # pixels around the baseline's features in which the target's are erased


def colour_change(baseline: np.ndarray, featured: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K,) pixels of each colour of a (3, H, W) picture, the (K, 3) colours, and the (K, 3) mean change to another."""
    cells = np.ravel_multi_index(np.rint(baseline * (PALETTE - 1)).astype(int), [PALETTE] * 3).ravel()
    _, cell, counts = np.unique(cells, return_inverse=True, return_counts=True)
    means = [
        np.stack([np.bincount(cell, channel.ravel()) / counts for channel in picture], 1)
        for picture in (baseline, featured)
    ]
    return counts, means[0], means[1] - means[0]


def recoloured(target: np.ndarray, change: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """A (3, H, W) picture whose colours change as near ones do; what has no near one stays."""
    counts, colours, changes = change
    pixels = target.reshape(3, -1).T
    away = ((pixels[:, None] - colours) ** 2).sum(2)
    weights = counts * np.exp(-away / (2 * NEAR_COLOUR**2))
    moved = pixels + weights @ changes / (weights.sum(1, keepdims=True) + HALF_A_PIXEL)
    return moved.T.reshape(target.shape).clip(0, 1)


@dataclass(frozen=True)
class Material:
    """What composers make composites of N analogies of."""

    target: Faces
    old: torch.Tensor  # (N, 2, 4, 64, 64) the baseline's eyes and mouth, where the featured face has others
    new: torch.Tensor  # the same of the featured face
    heads: np.ndarray  # (N, 3) of baseline and featured: middle and size, as in Faces
    recoloured: torch.Tensor  # (N, 3, 64, 64) the target with the colours changed
    explained: torch.Tensor  # (N,) part of the difference between baseline and featured that colours explain


def material(target: torch.Tensor, baseline: torch.Tensor, featured: torch.Tensor) -> Material:
    """All that depends on no learned number, of (N, 3, 64, 64) pictures in [0, 1] each."""
    faces = [features.taken_apart(pictures) for pictures in (target, baseline, featured)]
    old, new = features.changed_features(*faces[1:])
    heads = np.where(faces[1].heads[:, 2:] <= faces[2].heads[:, 2:], faces[1].heads, faces[2].heads)  # without tears
    changed, explained = [], []
    for one, other, another in zip(*(face.pictures for face in faces)):
        change = colour_change(other, another)
        changed.append(recoloured(one, change))
        left = np.square(recoloured(other, change) - another).mean()
        explained.append(1 - left / max(np.square(other - another).mean(), np.finfo(np.float32).tiny))
    return Material(faces[0], old, new, heads, torch.from_numpy(np.stack(changed)).float(), torch.tensor(explained))


def over(ground: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) pictures with (N, 4, H, W) parts on them: opacities, and colours times opacity."""
    return ground * (1 - part[:, :1]) + part[:, 1:]


@dataclass(frozen=True)
class Composer:
    """How features are placed."""

    eyes: float  # pixels by which eyes lie lower than from head to head, on a head as large as the baseline's
    mouth: float  # the same of the mouth

    def __call__(self, target: torch.Tensor, baseline: torch.Tensor, featured: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) pictures in [0, 1] to their composites."""
        return self.compose(material(target, baseline, featured))

    def placed(self, parts: torch.Tensor, given: Material) -> torch.Tensor:
        """(N, 2, 4, 64, 64) eyes and mouths, moved and scaled from the heads they come from to the target's."""
        there, here = (torch.from_numpy(heads).float() for heads in (given.heads, given.target.heads))
        scale = (here[:, 2] / there[:, 2]).clamp(*SCALES)
        side = parts.shape[-1]
        placed = []
        for part, down in zip(parts.unbind(1), (self.eyes, self.mouth)):
            row, column = ((here[:, k] - side / 2 - scale * (there[:, k] - side / 2)) for k in (0, 1))
            back = torch.zeros(len(parts), 2, 3)  # affine_grid counts in half sides, and wants the way back
            back[:, 0, 0] = back[:, 1, 1] = 1 / scale
            back[:, :, 2] = -2 / side * torch.stack([column, row + scale * down], 1) / scale[:, None]
            grid = nn.functional.affine_grid(back, part.shape, align_corners=False)
            placed.append(nn.functional.grid_sample(part, grid, align_corners=False))
        return torch.stack(placed, 1)

    def compose(self, given: Material) -> torch.Tensor:
        """(N, 3, 64, 64) composites in [0, 1]."""
        old, new = (self.placed(parts, given) for parts in (given.old, given.new))
        covered = (old[:, :, :1].amax(1) > 0.3).numpy()
        ground = features.erased(given.target, torch.from_numpy(features.grown(covered, AROUND)))
        composed = over(over(ground, new[:, 0]), new[:, 1]).clamp(0, 1)
        return torch.where((given.explained > COLOURS)[:, None, None, None], given.recoloured, composed)


# The numbers that are right most often on all known cats of three artists, by `analogies.py --benchmark styles`
COMPOSER = Composer(eyes=4.0, mouth=3.0)
COMPOSERS = [Composer(*numbers) for numbers in product((0.0, 2.0, 4.0, 6.0), (-1.0, 1.0, 3.0))]
