"""The best preset's training images: faces augmented anew at every step, other pictures among them, mixed.

The augmentation is the coursework's, for whole batches of float images: equal to torchvision's within rounding, every
image with its own draw, fast enough for every step. (`data.augment` makes a split's fixed copies, one at a time.)"""

import torch
from torch import nn

from lab.names import twin_key
from lab.pictures import Splits, to_float

COLOURS = ("brightness", "contrast", "saturation", "hue")
GREY = (0.2989, 0.587, 0.114)  # the weights of torchvision's rgb_to_grayscale, ITU-R 601


def uniform(images: torch.Tensor, low: float, high: float, generator: torch.Generator, *shape: int) -> torch.Tensor:
    """(N, *shape) uniform numbers, one row per image."""
    return (torch.rand(len(images), *shape, generator=generator) * (high - low) + low).to(images.device)


def warp(images: torch.Tensor, degrees, flipped, scale, shift) -> torch.Tensor:
    """Flip, rotate counter-clockwise, scale and shift, in this order, bilinearly, on white.
    `degrees`, `flipped` (0 or 1) and `scale` are (N,); `shift` is (N, 2), right and down, in half image sides."""
    angle, mirror = torch.deg2rad(degrees), 1 - 2 * flipped
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    x, y = shift.unbind(1)
    # affine_grid wants the way back: from a place in the result to its place in the picture
    right = torch.stack([mirror * cosine, -mirror * sine, mirror * (sine * y - cosine * x)], 1)
    down = torch.stack([sine, cosine, -sine * x - cosine * y], 1)
    grid = nn.functional.affine_grid(torch.stack([right, down], 1), images.shape, align_corners=False)
    # What lies outside is 0; on the inverse that is white.
    return 1 - nn.functional.grid_sample(1 - images, grid, align_corners=False)


def adjust(images: torch.Tensor, name: str, values: torch.Tensor) -> torch.Tensor:
    """Images after an operation of COLOURS, each with its own of the `values`, (N,): turns of the hue, or a factor of
    the pixels, of their distance from the image's mean grey (contrast), or of that from their own grey (saturation)."""
    if name == "hue":
        return hue(images, values)
    greys = (images * torch.tensor(GREY, device=images.device).view(1, 3, 1, 1)).sum(1, keepdim=True)
    ground = {"brightness": 0, "contrast": greys.mean((2, 3), keepdim=True), "saturation": greys}[name]
    return (ground + (images - ground) * values[:, None, None, None]).clamp(0, 1)


def hue(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Each image's hues shifted by its `turns`, (N,), with value and saturation as they are.
    The formula from HSV back to RGB is Smith's (1978) in the form without cases: channel n is
    v - (v - min) x clip(min(k, 4 - k), 0, 1) with k = (n + hue in sixths) mod 6, for n = 5, 3, 1."""
    value, channel = images.max(1)
    chroma = value - images.amin(1)
    red, green, blue = images.unbind(1)
    inverse = 1 / torch.where(chroma == 0, 1.0, chroma)
    cases = [(green - blue) * inverse, 2 + (blue - red) * inverse, 4 + (red - green) * inverse]
    sixths = torch.stack(cases).gather(0, channel[None])[0]
    start = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)
    k = (start + (sixths + 6 * turns.view(-1, 1, 1))[:, None]) % 6
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def augment(images: torch.Tensor, generator: torch.Generator, shift: float = 0.0) -> torch.Tensor:
    """The coursework's augmentation: flip, rotation of 10 degrees, colour jitter of 0.2, 0.2, 0.2 and 0.1.
    Beyond it shifts of up to `shift` of the side, and scales within 1 +- 2 x `shift`. The order of the colour
    operations is drawn per batch."""
    images = warp(
        images,
        degrees=uniform(images, -10, 10, generator),
        flipped=(uniform(images, 0, 1, generator) < 0.5).float(),
        scale=uniform(images, 1 - 2 * shift, 1 + 2 * shift, generator),
        shift=uniform(images, -2 * shift, 2 * shift, generator, 2),
    )
    for i in torch.randperm(4, generator=generator).tolist():
        low, high = (-0.1, 0.1) if COLOURS[i] == "hue" else (0.8, 1.2)
        images = adjust(images, COLOURS[i], uniform(images, low, high, generator))
    return images


def mix(images: torch.Tensor, generator: torch.Generator, probability: float) -> tuple[torch.Tensor, torch.Tensor]:
    """With `probability` an image is mixed with another of the batch, half MixUp, half CutMix. Says which: (N,) bool.
    Zhang et al. 2018 and Yun et al. 2019. An autoencoder needs no labels to mix: the mixture is its own target."""
    side = images.shape[-1]
    low = uniform(images, 0, side, generator, 2)
    high = low + uniform(images, side / 4, side, generator, 2)
    place = torch.arange(side, device=images.device)
    inside = (place >= low[..., None]) & (place < high[..., None])  # (N, 2, side): rows and columns of the box
    box = (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None].float()
    cut = uniform(images, 0, 1, generator, 1, 1, 1) < 0.5
    weight = torch.where(cut, box, uniform(images, 0, 1, generator, 1, 1, 1))
    mixed = uniform(images, 0, 1, generator) < probability
    others = images[torch.randperm(len(images), generator=generator).to(images.device)]
    return torch.lerp(images, others, weight * mixed[:, None, None, None]), mixed


class Mixture:
    """The training faces of a split and, with `options.other_pictures`, pictures that are not faces."""

    def __init__(self, splits: Splits, options, device: torch.device):
        """Raises LeakError if a tested emoji is among them, unless the split is the coursework's."""
        part, pictures = splits.train, splits.pictures
        # An exact copy of a picture that is there itself adds nothing: augmentation is fresh at every step.
        itself = (part.images == pictures.images[part.emoji]).flatten(1).all(1)
        kept = itself | ~torch.isin(part.emoji, part.emoji[itself])
        self.faces, self.emoji = part.images[kept].to(device), part.emoji[kept]
        self.others = splits.others.images.to(device) if splits.others else self.faces[:0]
        self.options = options
        if options.split == "unseen":
            names = [pictures.names[i] for i in self.emoji] + (splits.others.names if splits.others else [])
            refuse_leaks(names, torch.cat([self.faces, self.others]).cpu(), splits)

    def batch(self, size: int, generator: torch.Generator, harder: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """(size, 3, 64, 64) images in [0, 1] and, for each, the picture that it was made from.
        -1 stands for other and mixed pictures. If not `harder`, they are augmented like the coursework's copies."""
        shift, mixing = (self.options.shift, self.options.mixing) if harder else (0.0, 0.0)
        others = round(size * self.options.other_pictures) if len(self.others) else 0
        faces = torch.randint(len(self.faces), (size - others,), generator=generator)
        rest = torch.randint(max(len(self.others), 1), (others,), generator=generator)
        images = torch.cat([self.faces[faces.to(self.faces.device)], self.others[rest.to(self.others.device)]])
        images, mixed = mix(to_float(images), generator, mixing)
        emoji = torch.cat([self.emoji[faces], torch.full_like(rest, -1)]).to(mixed.device).masked_fill(mixed, -1)
        return augment(images, generator, shift) if self.options.augment == "coursework" else images, emoji

    def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """`count` images augmented like the coursework's copies: what PCA is fitted to, as start and baseline."""
        sizes = map(len, torch.arange(count).split(256))
        return torch.cat([self.batch(size, generator, harder=False)[0].cpu() for size in sizes])


class LeakError(Exception):
    """A tested emoji reached a training set: a fault of this project, never to be caught."""


def refuse_leaks(names: list[str], images: torch.Tensor, splits: Splits) -> None:
    """Raise LeakError if training has a validation or test emoji, in whatever style, skin-tone twins included.
    Compared are names and, as they are or mirrored, pictures; `images` are (N, 3, H, W) uint8, one per name."""
    pictures = splits.pictures
    tested = {i for part in (splits.val, *splits.tests().values()) for i in part.emoji.tolist()}
    held_out = {twin_key(pictures.names[i]) for i in tested}
    shown = pictures.images[[twin_key(name) in held_out for name in pictures.names]]
    seen = {picture.numpy().tobytes() for picture in (*shown, *shown.flip(3))}
    for name, image in zip(names, images):
        if twin_key(name) in held_out or image.numpy().tobytes() in seen:
            raise LeakError(f"held out, but in training: {name}")
