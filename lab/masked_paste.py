"""Composites without a network: the featured picture where it differs from the baseline, pasted into the target.

Four numbers say where and how large. They are fitted on analogies whose truth may be known.
"""

from dataclasses import dataclass
from itertools import product

import torch
from torch import nn

THRESHOLDS = (0.2, 0.35, 0.5)
GROWN = (0, 1, 3)
DOWN = (0, 2, 4, 6)
SCALES = (0.7, 0.85, 0.95, 1.0)


@dataclass(frozen=True)
class Paste:
    """How a difference is pasted."""

    threshold: float  # of the pixel range: where the two pictures differ by more, in a channel, they differ
    grown: int  # pixels by which that region is grown
    down: float  # pixels by which it is moved
    scale: float  # about the centre of the picture, before it is moved

    def __call__(self, target: torch.Tensor, baseline: torch.Tensor, featured: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) pictures in [0, 1] to their composites. Nothing is pasted from beyond the picture's edge."""
        differs = ((featured - baseline).abs().amax(1, keepdim=True) > self.threshold).float()
        region = nn.functional.max_pool2d(differs, 2 * self.grown + 1, stride=1, padding=self.grown)
        down = 2 * self.down / target.shape[2]  # affine_grid counts in half sides, and wants the way back
        back = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, -down]]) / self.scale
        grid = nn.functional.affine_grid(back.expand(len(target), 2, 3), target.shape, align_corners=False)
        region = nn.functional.grid_sample(region, grid, align_corners=False)
        pasted = nn.functional.grid_sample(featured, grid, padding_mode="border", align_corners=False)
        return torch.lerp(target, pasted, region)


PASTES = [Paste(*numbers) for numbers in product(THRESHOLDS, GROWN, DOWN, SCALES)]
