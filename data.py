"""Emoji in, splits out: the one place where pictures are gathered, augmented and split.

    python data.py                     # the table of the dataset and plots/contact_sheet.png
    python data.py --source twemoji    # the same, certainly offline
    python data.py --source openmoji --also twemoji  # other artists' emoji, as further training material

Every script takes its pictures from `load`, as uint8 tensors that stay in memory.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
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

from common import sources, splitting
from common.copies import augment
from common.errors import UserError
from common.names import normalise, twin_key
from common.originals import Originals, joined, matching, take, without  # noqa: F401
from common.pictures import FORMATS, SIZE, UNDECODABLE, open_picture, to_tensor
from common.seeds import generator, seed_for  # noqa: F401
from common.sources import Row

FEWEST_NAMES = 5  # below that a 60/20/20 split leaves a part empty


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
    train: Part  # of all styles but one that is held out
    val: Part  # of the source
    test: Part  # of the source
    elsewhere: dict[str, Part] = field(default_factory=dict)  # further tests: of each other style

    def tests(self) -> dict[str, Part]:
        """The test sets by style, the source's first."""
        return {self.originals.source: self.test} | self.elsewhere

    def counts(self) -> dict[str, int]:
        """Sizes as the report prints them, with the number of distinct names."""
        parts = (self.train, self.val, *self.tests().values())
        originals, images = len(torch.cat([part.emoji for part in parts]).unique()), sum(map(len, parts))
        sizes = {"originals": originals, "copies": images - originals, "images": images}
        sizes |= {"train": len(self.train), "val": len(self.val), "test": len(self.test)}
        sizes |= {"test_in_other_styles": sum(map(len, self.elsewhere.values()))} if self.elsewhere else {}
        return sizes | {"distinct_names": len(set(map(twin_key, self.originals.names)))}

    def leaked(self) -> int:
        """Number of test images whose emoji, or a twin or mirror image of it, is in the training set in any style."""
        seen = self.originals.related(self.train.emoji.unique().tolist())
        return sum(i in seen for part in self.tests().values() for i in part.emoji.tolist())


# ---------------------------------------------------------------- pictures


def memory() -> int:
    """Bytes of this machine's memory; 16 GB where it does not say."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**34


def decode(rows: Iterable[Row], source: str, keyword: str, skip_bad: bool) -> Originals:
    """Open the pictures whose normalised name contains the keyword.

    Raises UserError for a keyword without matches, a picture that cannot be decoded or more than the memory holds.
    """
    names, images, codes, skipped, left_out = [], [], [], 0, 0
    most = memory() // (2 * 3 * SIZE**2)  # each is in memory twice when they are stacked
    for text, label, read, code in rows:
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
        codes.append(code)
        if len(names) > most:
            raise UserError(f"{source} has more than the {most} pictures that the memory holds; choose by --keyword")
    if skipped and not names:
        raise UserError(f"none of the {skipped} pictures of {source} can be decoded; see why without --skip-bad")
    if not names:
        raise UserError(f"no emoji of {source} matches --keyword {keyword!r}; try another word, or '' for all")
    return Originals(source, names, torch.stack(images), codes, [source] * len(names), skipped, keyword, left_out)


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


def check(originals: Originals, config: DataConfig) -> None:
    """Raise UserError unless there are enough originals for a split, and enough memory for their copies."""
    distinct = len(set(originals.own.keys))
    if distinct < FEWEST_NAMES:
        found = f"only {distinct} distinct names match --keyword {originals.keyword!r}"
        raise UserError(f"{found}; a split needs {FEWEST_NAMES}")
    images = len(originals.names) * (1 if config.copies == "none" else 1 + config.copies)
    needed = images * 3 * SIZE**2 * 10  # bytes: twice as uint8, and twice as float32 for PCA
    if needed > memory():
        has = f"this machine has {memory() // 2**30}"
        raise UserError(f"--copies {config.copies} needs {needed // 2**30} GB, and {has}; give fewer")


def split(originals: Originals, config: DataConfig) -> Splits:
    """Copy and split the originals in the order that `config.split` says, those of every style. Raises UserError."""
    check(originals, config)
    styles = list(dict.fromkeys(originals.styles))
    cut = split_report if config.split == "report" else split_emoji
    parts = cut(originals, config, {style: originals.of_style(style) for style in styles})
    trained = [parts[style][0] for style in styles if style != config.hold_out_style]
    train = Part(torch.cat([part.images for part in trained]), torch.cat([part.emoji for part in trained]))
    _, val, test = parts[originals.source]
    return Splits(originals, train, val, test, {s: parts[s][2] for s in styles if s != originals.source})


def split_report(originals: Originals, config: DataConfig, members: dict[str, torch.Tensor]) -> dict[str, list[Part]]:
    """Copy, then split, each style for itself: its train, validation and test images."""
    parts = {}
    for style, indices in members.items():
        whole = expand(originals, indices, config, named_part("all", style, originals))
        parts[style] = [Part(*whole[chosen]) for chosen in splitting.split_images(len(whole), config.seed)]
    return parts


def split_emoji(originals: Originals, config: DataConfig, members: dict[str, torch.Tensor]) -> dict[str, list[Part]]:
    """Split, then copy: each style's train, validation and test images. No emoji crosses, in whatever style."""
    divided = splitting.divide(originals, config.seed)
    return {
        style: [
            expand(originals, part[torch.isin(part, indices)], config, named_part(name, style, originals))
            for part, name in zip(divided, ("train", "val", "test"))
        ]
        for style, indices in members.items()
    }


def named_part(part: str, style: str, originals: Originals) -> str:
    """What names the generator of a part's copies: those of the source are the same with and without other styles."""
    return part if style == originals.source else f"{part} of {style}"


def gather(config: DataConfig) -> Originals:
    """The originals of the source and of the other styles that the config asks for. Raises UserError."""
    own = load_originals(config.source, config.keyword, config.skip_bad)
    others = [*config.also, *([config.hold_out_style] if config.hold_out_style else [])]
    for style in others:
        if style in ("auto", own.source) or others.count(style) > 1:
            what = "is no style" if style == "auto" else "is named twice"
            raise UserError(f"{style} {what}; --source, --also and --hold-out-style are different sources")
    return joined(own, [load_originals(style, own.keyword, config.skip_bad) for style in others])


def asked_for(config: DataConfig) -> Originals:
    """The originals that the config asks for. Says what the keyword does to the user's own. Raises UserError."""
    originals = gather(config)
    if originals.source not in sources.SOURCES:
        kept = len(originals.own.names) + originals.skipped
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
    styles = Counter(splits.originals.styles)
    if len(styles) > 1:
        lines.append("styles          " + ", ".join(f"{count} of {style}" for style, count in styles.items()))
    leaked, test = splits.leaked(), sum(map(len, splits.tests().values()))
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
    credits = "; ".join(map(sources.credited, dict.fromkeys(splits.originals.styles)))
    title = f"{len(images):,} pictures{kept}. Source: {credits}"
    print("contact sheet  ", figures.contact_sheet(images, title, config.plots / "contact_sheet.png"))
    return splits.counts()


if __name__ == "__main__":
    command_line.run(main, Config)
