"""The original's augmentation, with torchvision: the fixed copies that a split is made of."""

import torch
from torchvision.transforms import v2

from common.threads import one_torch_thread

AUGMENT = v2.Compose(
    [
        v2.RandomHorizontalFlip(),
        # On the inverse, what a rotation brings in is 0 and so, without a seam, the ground: white corners.
        v2.RandomInvert(1),
        v2.RandomRotation(10, interpolation=v2.InterpolationMode.BILINEAR),  # degrees
        v2.RandomInvert(1),
        v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1),
    ]
)


def augment(images: torch.Tensor, seed: int) -> torch.Tensor:
    """The original's augmentation, drawn anew for each of the (N, 3, H, W) uint8 images."""
    with torch.random.fork_rng(devices=[]), one_torch_thread():  # torchvision draws from the global generator
        torch.manual_seed(seed)
        return torch.stack([AUGMENT(image) for image in images])
