"""The original's augmentation for whole batches of float images: every image its own draw, in a few tensor operations.

`common.copies.augment` makes the fixed copies of a split with torchvision, one picture at a time. Here the same
operations, equal to torchvision's within rounding, run on (N, 3, H, W) float images in [0, 1], fast enough to draw anew
at every step.
"""

import torch
from torch import nn

GREY = (0.2989, 0.587, 0.114)  # the weights of torchvision's rgb_to_grayscale, ITU-R 601


def uniform(images: torch.Tensor, low: float, high: float, generator: torch.Generator, *shape: int) -> torch.Tensor:
    """(N, *shape) uniform numbers, one row per image."""
    return (torch.rand(len(images), *shape, generator=generator) * (high - low) + low).to(images.device)


def per_image(values: torch.Tensor) -> torch.Tensor:
    """(N,) to (N, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def warp(images: torch.Tensor, degrees, flipped, scale, shift) -> torch.Tensor:
    """Flip, rotate counter-clockwise, scale and shift, in this order, bilinearly, on a white ground.

    `degrees`, `flipped` (0 or 1) and `scale` are (N,); `shift` is (N, 2), right and down, in half image sides.
    """
    angle, mirror = torch.deg2rad(degrees), 1 - 2 * flipped
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    x, y = shift.unbind(1)
    # affine_grid wants the way back: from a place in the result to its place in the picture
    rows = [
        torch.stack([mirror * cosine, -mirror * sine, mirror * (sine * y - cosine * x)], 1),
        torch.stack([sine, cosine, -sine * x - cosine * y], 1),
    ]
    grid = nn.functional.affine_grid(torch.stack(rows, 1), images.shape, align_corners=False)
    # What lies outside is 0; on the inverse that is white.
    return 1 - nn.functional.grid_sample(1 - images, grid, align_corners=False)


def grey(images: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor(GREY, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def brightness(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Each image times its factor, (N,)."""
    return (images * per_image(factor)).clamp(0, 1)


def contrast(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Each image's distance from its mean grey times its factor, (N,)."""
    mean = grey(images).mean((2, 3), keepdim=True)
    return (mean + (images - mean) * per_image(factor)).clamp(0, 1)


def saturation(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Each pixel's distance from its grey times its image's factor, (N,)."""
    greys = grey(images)
    return (greys + (images - greys) * per_image(factor)).clamp(0, 1)


def hue(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Each image's hues shifted by its `turns`, (N,), with value and saturation as they are.

    The formula from HSV back to RGB is Smith's (1978) in the form without cases: channel n is
    v - (v - min) x clip(min(k, 4 - k), 0, 1) with k = (n + hue in sixths) mod 6, for n = 5, 3, 1.
    """
    value, channel = images.max(1)
    chroma = value - images.amin(1)
    red, green, blue = images.unbind(1)
    inverse = 1 / torch.where(chroma == 0, 1.0, chroma)
    sixths = torch.where(
        channel == 0,
        (green - blue) * inverse,
        torch.where(channel == 1, 2 + (blue - red) * inverse, 4 + (red - green) * inverse),
    )
    start = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)
    k = (start + (sixths + 6 * turns.view(-1, 1, 1))[:, None]) % 6
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def augment(images: torch.Tensor, generator: torch.Generator, move: float = 0.0, strength: float = 1.0) -> torch.Tensor:
    """The original's augmentation: flip, rotation of 10 degrees, jitter of 0.2/0.2/0.2/0.1, both times `strength`.

    Beyond it shifts of up to `move` of the side and scales within 1 +- 2 x `move`. The order of the operations is
    drawn per batch.
    """
    images = warp(
        images,
        degrees=uniform(images, -10 * strength, 10 * strength, generator),
        flipped=(uniform(images, 0, 1, generator) < 0.5).float(),
        scale=uniform(images, 1 - 2 * move, 1 + 2 * move, generator),
        shift=uniform(images, -2 * move, 2 * move, generator, 2),
    )
    for operation in torch.randperm(4, generator=generator).tolist():
        if operation == 3:
            images = hue(images, uniform(images, -0.1 * strength, 0.1 * strength, generator))
        else:
            images = (brightness, contrast, saturation)[operation](
                images, uniform(images, 1 - 0.2 * strength, 1 + 0.2 * strength, generator)
            )
    return images


def mix(images: torch.Tensor, generator: torch.Generator, probability: float) -> tuple[torch.Tensor, torch.Tensor]:
    """With `probability` an image is mixed with another of the batch, half MixUp, half CutMix. Says which: (N,) bool.

    Zhang et al. 2018 and Yun et al. 2019; an autoencoder needs no labels to mix, the mixture is its own target.
    """
    side = images.shape[-1]
    low = uniform(images, 0, side, generator, 2)
    high = low + uniform(images, side / 4, side, generator, 2)
    place = torch.arange(side, device=images.device)
    inside = (place >= low[..., None]) & (place < high[..., None])  # (N, 2, side): rows and columns of the box
    box = (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None].float()
    cut = uniform(images, 0, 1, generator) < 0.5
    weight = torch.where(per_image(cut), box, per_image(uniform(images, 0, 1, generator)))
    mixed = uniform(images, 0, 1, generator) < probability
    others = images[torch.randperm(len(images), generator=generator).to(images.device)]
    return torch.lerp(images, others, weight * per_image(mixed)), mixed
