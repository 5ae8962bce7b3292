"""The best preset's training images: freshly augmented faces, other pictures among them, mixed with one another.

Before a mixture is used, the leak guard looks at all that is in it.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Iterator

import torch

import data
from lab import augmentation


@dataclass(frozen=True)
class Recipe:
    """What is done to the training images beyond the original's augmentation."""

    other_pictures: float  # part of a batch that is no faces
    shift: float  # at most so far, in sides; twice as much in scale
    mixing: float  # probability of MixUp or CutMix


class Mixture:
    """Faces and, with `other_pictures`, pictures that are none; every draw is augmented anew."""

    def __init__(self, faces: data.Part, others: torch.Tensor, recipe: Recipe, device: torch.device):
        """`others` is (N, 3, 64, 64) uint8 and may be empty."""
        self.faces, self.emoji, self.others = faces.images.to(device), faces.emoji, others.to(device)
        self.recipe = recipe
        self.other_pictures = recipe.other_pictures if len(others) else 0.0

    def batch(self, size: int, generator: torch.Generator, harder: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """(size, 3, 64, 64) images in [0, 1] and, for each, the original it was made from.

        -1 stands for other pictures and mixed ones. If not `harder`, they are augmented just as the original's copies.
        """
        shift, mixing = (self.recipe.shift, self.recipe.mixing) if harder else (0.0, 0.0)
        others = round(size * self.other_pictures)
        faces = torch.randint(len(self.faces), (size - others,), generator=generator)
        rest = torch.randint(max(len(self.others), 1), (others,), generator=generator)
        images = torch.cat([self.faces[faces.to(self.faces.device)], self.others[rest.to(self.others.device)]])
        images, of_two = augmentation.mix(data.to_float(images), generator, mixing)
        emoji = torch.cat([self.emoji[faces], torch.full_like(rest, -1)]).to(of_two.device).masked_fill(of_two, -1)
        return augmentation.augment(images, generator, shift), emoji

    def batches(self, size: int, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches without end."""
        while True:
            yield self.batch(size, generator)

    def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """`count` images augmented as the original's copies: what PCA is fitted to, as start and baseline."""
        images = torch.empty(count, *self.faces.shape[1:], device=self.faces.device)
        for part in images.split(256):
            part.copy_(self.batch(len(part), generator, harder=False)[0])
        return images


@lru_cache(maxsize=1)
def all_pictures(source: str, also: tuple[str, ...], skip_bad: bool) -> data.Originals:
    """Every picture of the training styles, kept in memory: the folds of Part 2 ask for them again and again."""
    return data.gather(data.DataConfig(source=source, also=also, keyword="", skip_bad=skip_bad))


def other_pictures(splits: data.Splits, config) -> data.Originals:
    """The pictures of the training styles that are no faces, nor twins or mirror images of one or of what is held out.

    A face in one style is one in all.
    """
    everything = all_pictures(splits.originals.source, config.also, config.skip_bad)
    faces = {*map(data.twin_key, splits.originals.names)}
    faces |= {data.twin_key(data.normalise(name)) for name in config.hold_out}
    banned = everything.related(i for i, name in enumerate(everything.names) if data.twin_key(name) in faces)
    return data.take(everything, [i for i in range(len(everything.names)) if i not in banned])


def mixture(splits: data.Splits, config, device: torch.device) -> Mixture:
    """The training faces of `splits` and, if `config.train_on` is "all", the other pictures of the source.

    Raises LeakError if, with the emoji split, a name of the validation or test set is among them.
    """
    part, originals = splits.train, splits.originals
    # A copy of a picture that is there itself adds nothing: augmentation is fresh at every step.
    itself = (part.images == originals.images[part.emoji]).flatten(1).all(1)
    kept = itself | ~torch.isin(part.emoji, part.emoji[itself])
    names = [originals.names[i] for i in part.emoji[kept]]
    others = torch.empty(0, *originals.images.shape[1:], dtype=torch.uint8)
    if config.train_on == "all":
        rest = other_pictures(splits, config)
        others, names = rest.images, names + rest.names
    if config.split == "emoji":
        refuse_leaks(names, torch.cat([part.images[kept], others]), splits)
    recipe = Recipe(config.other_pictures, config.shift, config.mixing)
    return Mixture(data.Part(part.images[kept], part.emoji[kept]), others, recipe, device)


class LeakError(Exception):
    """A held-out name reached a training set: a fault of this project, never to be caught."""


def refuse_leaks(names: list[str], images: torch.Tensor, splits: data.Splits) -> None:
    """Raise LeakError if training has a name of a validation or test set, in whatever style, skin-tone twins included,
    or a picture of it, as it is or mirrored. `images` are (N, 3, H, W) uint8, one per name.
    """
    originals = splits.originals
    tested = {originals.names[i] for part in (splits.val, *splits.tests().values()) for i in part.emoji.tolist()}
    held_out = {*map(data.twin_key, tested)}
    pictures = originals.images[[data.twin_key(name) in held_out for name in originals.names]]
    seen = {picture.numpy().tobytes() for picture in (*pictures, *pictures.flip(3))}
    for name, image in zip(names, images):
        if data.twin_key(name) in held_out or image.numpy().tobytes() in seen:
            raise LeakError(f"held out, but in training: {name}")
