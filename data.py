"""Emoji in, splits out: the one place where pictures are gathered, augmented and split.

    python data.py                     # the table of the dataset and plots/contact_sheet.png
    python data.py --source twemoji    # the same, certainly offline

Every script takes its pictures from `load`, as uint8 tensors that stay in memory.
"""

import os
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Iterable

from common.options import KEYWORD, DataConfig


@dataclass(frozen=True, kw_only=True)
class Config(DataConfig):
    """Print the table of the dataset and save a contact sheet of its originals."""

    plots: Path = Path("plots")  # folder for the contact sheet


if __name__ == "__main__":
    from common import command_line

    command_line.answer(Config)  # --help and mistakes: before the imports that take seconds

import torch
from PIL import UnidentifiedImageError
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

from common import sources
from common.copies import augment
from common.errors import UserError
from common.names import normalise, twin_key, twin_keys
from common.pictures import FORMATS, SIZE, UNDECODABLE, open_picture, to_tensor
from common.seeds import generator, seed_for
from common.sources import Row

SPLIT = (0.6, 0.2, 0.2)  # train, validation and test
FEWEST_NAMES = 5  # below that a 60/20/20 split leaves a part empty


@dataclass(frozen=True)
class Originals:
    """The pictures of a source, each once."""

    source: str  # where they come from
    names: list[str]  # normalised descriptions; skin-tone twins share one
    images: torch.Tensor  # (N, 3, SIZE, SIZE) uint8
    skipped: int = 0  # pictures left out because they could not be decoded
    keyword: str = KEYWORD  # which all names contain
    left_out: int = 0  # pictures of the source whose names do not

    @cached_property
    def keys(self) -> list[str]:
        """Equal for emoji that must not be on both sides of a split: twins by name, and like or mirrored pictures."""
        return twin_keys(self.names, self.images)


@dataclass(frozen=True)
class Part(Dataset):
    """One part of a split: images and the originals they were made from."""

    images: torch.Tensor  # (M, 3, SIZE, SIZE) uint8
    emoji: torch.Tensor  # (M,) int64, index into the originals

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[index], self.emoji[index]


@dataclass(frozen=True)
class Splits:
    originals: Originals
    train: Part
    val: Part
    test: Part

    def counts(self) -> dict[str, int]:
        """Sizes as the report prints them, with the number of distinct names."""
        sizes = {"train": len(self.train), "val": len(self.val), "test": len(self.test)}
        originals, images = len(self.originals.names), sum(sizes.values())
        sizes = {"originals": originals, "copies": images - originals, "images": images} | sizes
        return sizes | {"distinct_names": len(set(map(twin_key, self.originals.names)))}

    def leaked(self) -> int:
        """Number of test images whose emoji, or a twin or mirror image of it, is in the training set."""
        keys = self.originals.keys
        seen = {keys[i] for i in self.train.emoji.tolist()}
        return sum(keys[i] in seen for i in self.test.emoji.tolist())


# ---------------------------------------------------------------- pictures


def memory() -> int:
    """Bytes of this machine's memory; 16 GB where it does not say."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**34


def decode(rows: Iterable[Row], source: str, keyword: str, skip_bad: bool) -> Originals:
    """Open the pictures whose normalised name contains the keyword.

    Raises UserError for a keyword without matches, a picture that cannot be decoded or more than the memory holds.
    """
    names, images, skipped, left_out = [], [], 0, 0
    most = memory() // (2 * 3 * SIZE**2)  # each is in memory twice when they are stacked
    for text, label, read in rows:
        name = normalise(text)
        if normalise(keyword) not in name:
            left_out += 1
            continue
        try:
            images.append(to_tensor(open_picture(read())))
        except UNDECODABLE as error:
            if not skip_bad:
                reason = f"it is none of {', '.join(FORMATS)}" if isinstance(error, UnidentifiedImageError) else error
                remedy = "mend it, or leave it out with --skip-bad"
                raise UserError(f"{label} cannot be decoded ({reason}); {remedy}") from None
            skipped += 1
            continue
        names.append(name)
        if len(names) > most:
            raise UserError(f"{source} has more than the {most} pictures that the memory holds; choose by --keyword")
    if skipped and not names:
        raise UserError(f"none of the {skipped} pictures of {source} can be decoded; see why without --skip-bad")
    if not names:
        raise UserError(f"no emoji of {source} matches --keyword {keyword!r}; try another word, or '' for all")
    return Originals(source, names, torch.stack(images), skipped, keyword, left_out)


def load_originals(source: str = "twemoji", keyword: str | None = None, skip_bad: bool = False) -> Originals:
    """Every picture of `source` whose description contains `keyword`, once. Raises UserError.

    Without a keyword it is KEYWORD, but for the user's own pictures, if it is in none of their descriptions: then all.
    """
    if keyword and not normalise(keyword):
        raise UserError(f"--keyword {keyword!r} has no letter that counts in a name; try another word, or '' for all")
    name, rows = sources.rows_of(source)
    if keyword is None:
        fits_none = name not in sources.SOURCES and not any(KEYWORD in normalise(text) for text, *_ in rows)
        keyword = "" if fits_none else KEYWORD
    return decode(rows, name, keyword, skip_bad)


# ---------------------------------------------------------------- copies and splits


def expand(originals: Originals, indices: torch.Tensor, config: DataConfig, part: str) -> Part:
    """The originals at `indices`, followed by `config.copies` copies of each."""
    copied = indices.repeat(0 if config.copies == "none" else config.copies)
    copies = originals.images[copied]
    if config.augment == "report" and len(copied):
        copies = augment(copies, seed_for(f"augmentation of {part}", config.seed))
    return Part(torch.cat([originals.images[indices], copies]), torch.cat([indices, copied]))


def split_images(count: int, seed: int) -> tuple[torch.Tensor, ...]:
    """A random permutation of `count` items, cut 60/20/20."""
    order = torch.randperm(count, generator=generator("split", seed))
    train, val = (int(part * count) for part in SPLIT[:2])
    return order[:train], order[train : train + val], order[train + val :]


def split_by_emoji(keys: list[str], seed: int) -> list[set[str]]:
    """The distinct keys in random order, dealt out 60/20/20.

    Keys with equally many pictures are dealt together: otherwise chance alone decides how many of
    the few sextets of skin-tone twins are tested on, and with them the size of the test set.
    """
    distinct, sizes = sorted(set(keys)), Counter(keys)
    shuffled = [distinct[i] for i in torch.randperm(len(distinct), generator=generator("split", seed))]
    shuffled.sort(key=sizes.get)
    return [{key for i, key in enumerate(shuffled) if i % 5 in places} for places in ((0, 2, 4), (1,), (3,))]


def check(originals: Originals, config: DataConfig) -> None:
    """Raise UserError unless there are enough originals for a split, and enough memory for their copies."""
    distinct = len(set(originals.keys))
    if distinct < FEWEST_NAMES:
        found = f"only {distinct} distinct names match --keyword {originals.keyword!r}"
        raise UserError(f"{found}; a split needs {FEWEST_NAMES}")
    images = len(originals.names) * (1 if config.copies == "none" else 1 + config.copies)
    needed = images * 3 * SIZE**2 * 10  # bytes: twice as uint8, and twice as float32 for PCA
    if needed > memory():
        has = f"this machine has {memory() // 2**30}"
        raise UserError(f"--copies {config.copies} needs {needed // 2**30} GB, and {has}; give fewer")


def split(originals: Originals, config: DataConfig) -> Splits:
    """Copy and split the originals in the order that `config.split` says. Raises UserError."""
    check(originals, config)
    keys = originals.keys
    if config.split == "report":
        whole = expand(originals, torch.arange(len(keys)), config, "all")
        parts = [Part(*whole[indices]) for indices in split_images(len(whole), config.seed)]
    else:
        sets = split_by_emoji(keys, config.seed)
        members = [torch.tensor([i for i, key in enumerate(keys) if key in part]) for part in sets]
        parts = [expand(originals, indices, config, part) for indices, part in zip(members, ("train", "val", "test"))]
    return Splits(originals, *parts)


def take(originals: Originals, kept: list[int]) -> Originals:
    """The originals at the indices `kept`."""
    return replace(originals, names=[originals.names[i] for i in kept], images=originals.images[kept])


def matching(originals: Originals, keyword: str) -> Originals:
    """The originals whose names contain the keyword."""
    kept = [i for i, name in enumerate(originals.names) if normalise(keyword) in name]
    return replace(take(originals, kept), keyword=keyword)


def without(originals: Originals, names: Iterable[str]) -> Originals:
    """The originals that are not `names`, nor twins or mirror images of them. Raises UserError for an unknown name."""
    held_out = {twin_key(normalise(name)) for name in names}
    members = {name: [i for i, other in enumerate(originals.names) if twin_key(other) == name] for name in held_out}
    for name, indices in members.items():
        if not indices:
            emoji = f"the {len(originals.names)} emoji of {originals.source}"
            raise UserError(f"--hold-out {name!r} is not among {emoji}; check its spelling")
    left_out = {originals.keys[i] for indices in members.values() for i in indices}
    return take(originals, [i for i, key in enumerate(originals.keys) if key not in left_out])


def asked_for(config: DataConfig) -> Originals:
    """The originals that the config asks for. Says what the keyword does to the user's own. Raises UserError."""
    originals = load_originals(config.source, config.keyword, config.skip_bad)
    if originals.source not in sources.SOURCES:
        kept = len(originals.names) + originals.skipped
        if originals.left_out:
            of_all = f"{kept} of {kept + originals.left_out} pictures"
            print(f'keyword {originals.keyword!r} keeps {of_all}; --keyword "" takes all')
        elif config.keyword is None and not originals.keyword:
            print(f"no description has the keyword {KEYWORD!r}: all {kept} pictures are taken")
    return without(originals, config.hold_out)


def load(config: DataConfig) -> Splits:
    """Originals, copies and splits as the config says. Raises UserError."""
    return split(asked_for(config), config)


def batches(part: Part, batch_size: int, order: torch.Generator | None = None) -> DataLoader:
    """Batches of (images, emoji); in random order if a generator is given. A batch is one index operation."""
    sampler = SequentialSampler(part) if order is None else RandomSampler(part, generator=order)
    size = min(batch_size, max(len(part), 1))
    return DataLoader(part, sampler=BatchSampler(sampler, size, drop_last=False), batch_size=None)


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 in 0..255 to float32 in [0, 1]."""
    return images.float() / 255


def describe(splits: Splits) -> str:
    """The table of the dataset, one line per count."""
    lines = [f"source          {splits.originals.source}"]
    lines += [f"{name.replace('_', ' '):15} {count}" for name, count in splits.counts().items()]
    if splits.originals.skipped:
        lines.append(f"skipped         {splits.originals.skipped} pictures that cannot be decoded")
    leaked, test = splits.leaked(), len(splits.test)
    them = "have their emoji, or its twin or mirror image, in training"
    lines.append(f"leaked          {leaked} of {test} test images {them}")
    return "\n".join(lines)


def examples(part: Part, count: int = 5) -> torch.Tensor:
    """The first `count` different emoji of `part`, in its order: fixed, not chosen by their looks."""
    return torch.tensor(list(dict.fromkeys(part.emoji.tolist()))[:count])


def main(config: Config) -> dict[str, int]:
    from common import figures, files  # only this command draws

    files.writable(config.plots)
    splits = load(config)
    print(describe(splits))
    images, keyword = splits.originals.images, splits.originals.keyword
    kept = f' whose name contains "{keyword}"' if keyword else ""
    title = f"{len(images):,} pictures{kept}. Source: {sources.credited(splits.originals.source)}"
    print("contact sheet  ", figures.contact_sheet(images, title, config.plots / "contact_sheet.png"))
    return splits.counts()


if __name__ == "__main__":
    command_line.run(main, Config)
