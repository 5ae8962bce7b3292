"""Pictures in memory, each once; the parts of a split that are made of them; random generators by name."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Iterable

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

from lab.cli import UserError
from lab.names import normalise, twin_key, twin_keys

SIZE = 64  # pixels per side, as in the coursework

# What random generators are for. The strings decide which bits are drawn: another string changes every number.
SPLIT, FOLD, COPIES, ORDER, MIXTURE, SAMPLE = "split", "folds", "augmentation of", "order", "diet", "sample"
MIXTURE_SAMPLE, WEIGHTS, DROPOUT = "PCA", "weights", "dropout"


def seed_for(purpose: str, seed: int) -> int:
    """A seed of its own for each purpose, so that one more draw here changes nothing there."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:7], "big")


def generator(purpose: str, seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for(purpose, seed))


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 in 0..255 to float32 in [0, 1]; floats as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


@dataclass(frozen=True)
class Pictures:
    """The pictures of a source and of further styles, each once."""

    source: str  # where they come from
    names: list[str]  # normalised descriptions; skin-tone twins share one
    images: torch.Tensor  # (N, 3, SIZE, SIZE) uint8
    codes: list[str]  # code points, in which skin-tone twins differ; empty strings where the source does not say
    styles: list[str]  # the source that each comes from
    keyword: str = ""  # which all names contain
    described_by: str = ""  # what the names are taken from; empty for an emoji's own
    skipped: int = 0  # pictures that could not be decoded
    left_out: int = 0  # pictures whose names do not contain the keyword

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def digest(self) -> str:
        """Differs where a name or a pixel differs."""
        return hashlib.sha256("\n".join(self.names).encode() + self.images.numpy().tobytes()).hexdigest()

    @cached_property
    def keys(self) -> list[str]:
        """One key per emoji: equal for skin-tone twins, for like or mirrored pictures of the source, in all styles."""
        own = self.own
        of_name = dict(zip(map(twin_key, own.names), twin_keys(own.names, own.images)))
        return [of_name.get(twin_key(name), twin_key(name)) for name in self.names]

    @cached_property
    def look_alikes(self) -> list[str]:
        """Equal for like or mirrored pictures, whatever their names and styles."""
        return twin_keys([str(i) for i in range(len(self))], self.images)

    def related(self, chosen: Iterable[int]) -> set[int]:
        """The indices of all pictures that share the emoji or the look of one of the `chosen`: never split them."""
        chosen, related = list(chosen), set()
        for keys in (self.keys,) if self.own is self else (self.keys, self.look_alikes):
            shared = {keys[i] for i in chosen}
            related |= {i for i, key in enumerate(keys) if key in shared}
        return related

    @cached_property
    def own(self) -> "Pictures":
        """Those of the source alone, without further styles."""
        return self if set(self.styles) == {self.source} else self.take(self.of_style(self.source).tolist())

    def of_style(self, style: str | None) -> torch.Tensor:
        """(M,) int64, the indices of the pictures of a style."""
        return torch.tensor([i for i, own in enumerate(self.styles) if own == style], dtype=torch.int64)

    def take(self, indices: list[int]) -> "Pictures":
        """The pictures at these indices."""
        lists = {name: [getattr(self, name)[i] for i in indices] for name in ("names", "codes", "styles")}
        return replace(self, images=self.images[indices], **lists)

    def without(self, names: Iterable[str]) -> "Pictures":
        """The pictures that are none of these emoji, twins and look-alikes included. Raises UserError if unknown."""
        held_out = {twin_key(normalise(name)) for name in names}
        if unknown := held_out - {*map(twin_key, self.names)}:
            raise UserError(f"--hold-out {min(unknown)!r} is not among the {len(self)} emoji of {self.source}")
        left_out = self.related(i for i, name in enumerate(self.names) if twin_key(name) in held_out)
        return self.take([i for i in range(len(self)) if i not in left_out])

    def joined(self, others: list["Pictures"]) -> "Pictures":
        """These pictures, followed by those of further styles."""
        styles = [self, *others]
        lists = {name: sum((getattr(style, name) for style in styles), []) for name in ("names", "codes", "styles")}
        images, skipped = torch.cat([style.images for style in styles]), sum(style.skipped for style in styles)
        return replace(self, images=images, skipped=skipped, **lists)


@dataclass(frozen=True)
class Part(Dataset):
    """One part of a split: images, and the pictures that they are copies of."""

    images: torch.Tensor  # (M, 3, SIZE, SIZE) uint8
    emoji: torch.Tensor  # (M,) int64, index into the pictures

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[index], self.emoji[index]

    def examples(self, count: int = 5) -> torch.Tensor:
        """The first `count` different emoji, in the part's order: fixed, not chosen by their looks."""
        return torch.tensor(list(dict.fromkeys(self.emoji.tolist()))[:count])

    def batches(self, size: int, order: torch.Generator | None = None) -> DataLoader:
        """One pass in batches of (images, emoji), in random order if a generator is given."""
        sampler = SequentialSampler(self) if order is None else RandomSampler(self, generator=order)
        single = order is not None and 1 < size < len(self) and len(self) % size == 1  # batch normalisation needs two
        indices = [*BatchSampler(sampler, size, drop_last=single)]  # all drawn now: a checkpoint is between two passes
        return DataLoader(self, sampler=indices, batch_size=None)


@dataclass(frozen=True)
class Splits:
    """What a network is trained, validated and tested on."""

    pictures: Pictures
    train: Part  # of all styles but one that is held out
    val: Part  # of the source
    test: Part  # of the source
    other_styles: dict[str, Part] = field(default_factory=dict)  # further tests: of each other style
    others: Pictures | None = None  # pictures that are not faces, for the best preset's training

    def tests(self) -> dict[str, Part]:
        """The test sets by style, the source's first."""
        return {self.pictures.source: self.test} | self.other_styles

    def counts(self) -> dict[str, int]:
        """Sizes for the record, with the number of distinct names."""
        parts = (self.train, self.val, *self.tests().values())
        pictures, images = len(torch.cat([part.emoji for part in parts]).unique()), sum(map(len, parts))
        sizes = {"pictures": pictures, "copies": images - pictures, "images": images}
        sizes |= {"train": len(self.train), "val": len(self.val), "test": len(self.test)}
        return sizes | {"distinct_names": len(set(map(twin_key, self.pictures.names)))}

    def leaked(self) -> int:
        """Number of test images whose emoji, or a look-alike of it, is in the training set in any style."""
        seen = self.pictures.related(self.train.emoji.unique().tolist())
        return sum(i in seen for part in self.tests().values() for i in part.emoji.tolist())
