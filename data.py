"""Emoji in, splits out: pictures are filtered, copied, augmented and split here.

python data.py                             # counts, plots/contact_sheet.png
python data.py --source hub                # the coursework's own dataset"""

import sys
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Iterator, Sequence

sys.path.insert(0, str(Path(__file__).parent))  # `python -I` leaves it out
from lab import cli, sources  # before torch: lab sets the environment

import torch
from threadpoolctl import threadpool_limits

from lab.cli import UserError
from lab.names import normalise, twin_key
from lab.options import KEYWORD, DataOptions
from lab.pictures import COPIES, FOLD, SPLIT, Part, Pictures, Splits, generator, seed_for
from lab.sources import SOURCES

FEWEST = 5  # pictures, or different emoji: below that a 60/20/20 split leaves a part empty
FOLDS = 5
PARTS = (0.6, 0.2, 0.2)  # train, validation and test


@dataclass(frozen=True, kw_only=True)
class Config(DataOptions):
    """Print the counts of the dataset and save a contact sheet of its pictures."""

    plots: Path = Path("plots")  # folder of the contact sheet


def load_pictures(source: str = "twemoji", keyword: str | None = None, skip_bad: bool = False) -> Pictures:
    """Every picture of `source` whose description contains `keyword`, once. Raises UserError.
    The default keyword is KEYWORD; for the user's own pictures, if no description has it, all of them."""
    rows = list(sources.rows_of(source))
    if keyword is None:
        keyword = KEYWORD if source in SOURCES or any(KEYWORD in normalise(row.text) for row in rows) else ""
    named = [row for row in rows if normalise(keyword) in normalise(row.text)]
    decoded = [(row, image) for row in named if (image := sources.decode(row, skip_bad)) is not None]
    if not decoded:
        raise UserError(f"{source} has no picture for --keyword {keyword!r}; try another word, or '' for all")
    kept, images = zip(*decoded)
    names, codes, by = [normalise(row.text) for row in kept], [row.code for row in kept], kept[0].described_by
    counts = {"skipped": len(named) - len(kept), "left_out": len(rows) - len(named)}
    return Pictures(source, names, torch.stack(images), codes, [source] * len(kept), keyword, by, **counts)


def load_styles(options: DataOptions) -> Pictures:
    """The pictures of the source and of the further styles, without those held out. Raises UserError."""
    styles = [*options.also, *filter(None, [options.hold_out_style])]
    if options.source in styles or len(set(styles)) < len(styles):
        raise UserError("--source, --also and --hold-out-style name the same style twice; name each once")
    pictures = load_pictures(options.source, options.keyword, options.skip_bad)
    if styles:
        pictures = pictures.joined([load_pictures(style, pictures.keyword, options.skip_bad) for style in styles])
    return pictures.without(options.hold_out) if options.hold_out else pictures


@lru_cache(maxsize=1)
def all_pictures(source: str, also: tuple[str, ...], skip_bad: bool) -> Pictures:
    """Every picture of the training styles. Cached: the folds of Part 2 ask for them again and again."""
    return load_styles(DataOptions(source=source, also=also, keyword="", skip_bad=skip_bad))


def other_pictures(pictures: Pictures, options: DataOptions) -> Pictures:
    """The training styles' pictures that are not faces, nor twins or look-alikes of faces.
    A face in one style counts as one in all; so does a held-out emoji."""
    everything = all_pictures(pictures.source, options.also, options.skip_bad)
    faces = {*map(twin_key, pictures.names), *(twin_key(normalise(name)) for name in options.hold_out)}
    banned = everything.related(i for i, name in enumerate(everything.names) if twin_key(name) in faces)
    return everything.take([i for i in range(len(everything)) if i not in banned])


def augment(images: torch.Tensor, seed: int) -> torch.Tensor:
    """The coursework's augmentation, drawn anew for each of the (N, 3, H, W) uint8 images."""
    from torchvision.transforms import v2  # takes a second to import

    transform = v2.Compose([
        v2.RandomHorizontalFlip(),
        v2.RandomInvert(1),  # the corners that a rotation brings in are 0: so they become white, without a seam
        v2.RandomRotation(10, interpolation=v2.InterpolationMode.BILINEAR),  # degrees
        v2.RandomInvert(1),
        v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1),
    ])  # fmt: skip
    # For pictures this small a second thread only waits; torchvision draws from the global generator.
    with threadpool_limits(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.stack([transform(image) for image in images])


def expand(pictures: Pictures, indices: torch.Tensor, options: DataOptions, part: str, style: str = "") -> Part:
    """The pictures at `indices`, followed by `options.copies` copies of each, augmented as the options say.
    `part` names the random draws: those of the source are the same with and without other styles."""
    part = part if style in ("", pictures.source) else f"{part} of {Path(style).name}"
    copied = indices.repeat(0 if options.copies == "none" else options.copies)
    copies = pictures.images[copied]
    if options.augment == "coursework" and len(copied):
        copies = augment(copies, seed_for(f"{COPIES} {part}", options.seed))
    return Part(torch.cat([pictures.images[indices], copies]), torch.cat([indices, copied]))


def split_names(keys: Sequence[str], seed: int) -> list[set[str]]:
    """The distinct keys in random order, dealt out 60/20/20. Keys with equally many pictures are dealt together: else
    chance alone decides how many of the few sextets of skin-tone twins are tested on, and so the size of the test."""
    distinct, sizes = sorted(set(keys)), Counter(keys)
    shuffled = [distinct[i] for i in torch.randperm(len(distinct), generator=generator(SPLIT, seed))]
    shuffled.sort(key=sizes.get)
    return [{key for i, key in enumerate(shuffled) if i % 5 in places} for places in ((0, 2, 4), (1,), (3,))]


def parts_by_style(pictures: Pictures, parts: dict[str, set[int]], options: DataOptions, fold: str = "") -> dict:
    """Each style's images of each part: the part's pictures, which are given by index, and their copies."""
    result = {}
    for style in dict.fromkeys(pictures.styles):
        own = {*pictures.of_style(style).tolist()}
        chosen = {name: torch.tensor(sorted(members & own), dtype=torch.int64) for name, members in parts.items()}
        result[style] = [expand(pictures, i, options, fold + name, style) for name, i in chosen.items()]
    return result


def split_unseen(pictures: Pictures, options: DataOptions) -> dict[str, list[Part]]:
    """Split the emoji, then copy: each style's train, validation and test images.
    This is where the unseen split is guaranteed: a picture that is related to one in a later part is dropped. Emoji
    that the source does not have are for training."""
    _, *held_out = split_names(pictures.own.keys, options.seed)
    val, test = ({i for i, key in enumerate(pictures.keys) if key in keys} for keys in held_out)
    train = {*range(len(pictures))} - val - test - pictures.related(val | test)
    return parts_by_style(pictures, {"train": train, "val": val - pictures.related(test), "test": test}, options)


def split_coursework(pictures: Pictures, options: DataOptions) -> dict[str, list[Part]]:
    """Copy, then split the images: each style's train, validation and test images. Copies are in all parts."""
    parts = {}
    for style in dict.fromkeys(pictures.styles):
        images = expand(pictures, pictures.of_style(style), options, "all", style)
        order = torch.randperm(len(images), generator=generator(SPLIT, options.seed))
        train, val = (int(part * len(images)) for part in PARTS[:2])
        parts[style] = [Part(*images[chosen]) for chosen in order.tensor_split((train, train + val))]
    return parts


def assemble(pictures: Pictures, parts: dict[str, list[Part]], options: DataOptions) -> Splits:
    """Splits of each style's train, validation and test images. A style that is held out is only tested."""
    trained = [parts[style][0] for style in parts if style != options.hold_out_style]
    train = Part(torch.cat([part.images for part in trained]), torch.cat([part.emoji for part in trained]))
    tests = {style: test for style, (*_, test) in parts.items() if len(test)}
    others = other_pictures(pictures, options) if getattr(options, "other_pictures", 0) else None
    return Splits(pictures, train, parts[pictures.source][1], tests.pop(pictures.source), tests, others)


def split(pictures: Pictures, options: DataOptions) -> Splits:
    """Copy and split the pictures of every style as the options say. Raises UserError."""
    own, unseen = pictures.own, options.split == "unseen"
    emoji = len(set(own.keys)) if unseen else len(own)
    if emoji < FEWEST:
        found = f"--keyword {own.keyword!r} finds {len(own)} pictures in {own.source}" + f", {emoji} different" * unseen
        raise UserError(f"{found}; --split {options.split} needs {FEWEST}; --keyword '' takes all")
    return assemble(pictures, (split_unseen if unseen else split_coursework)(pictures, options), options)


def folds(pictures: Pictures, labels: torch.Tensor, options: DataOptions, count: int = FOLDS) -> Iterator[Splits]:
    """Stratified folds over emoji: each, with all its copies in all styles, is in the test set of exactly one.
    Nothing is chosen by these folds, so there is no validation set. Raises UserError."""
    from sklearn.model_selection import StratifiedKFold

    class_of_key = dict(zip(pictures.keys, labels.tolist()))
    distinct = sorted(class_of_key)
    divider = StratifiedKFold(count, shuffle=True, random_state=seed_for(FOLD, options.seed) % 2**32)
    tests = [{distinct[i] for i in test} for _, test in divider.split(distinct, [*map(class_of_key.get, distinct)])]
    if any(keys.isdisjoint(pictures.own.keys) for keys in tests):  # before anything is trained
        raise UserError(f"a fold has no emoji of {pictures.source}, which has too few; leave the other styles out")
    for k, keys in enumerate(tests):
        tested = {i for i, key in enumerate(pictures.keys) if key in keys}
        parts = {"train": {*range(len(pictures))} - pictures.related(tested), "val": set(), "test": tested}
        yield assemble(pictures, parts_by_style(pictures, parts, options, f"fold {k} "), options)


def load(options: DataOptions) -> Splits:
    """Pictures, copies and splits as the options say. Prints which and how many. Raises UserError."""
    splits = split(load_styles(options), options)
    print(describe(splits))
    return splits


def describe(splits: Splits) -> str:
    """Which pictures there are, how many are in which part, and how many test images training has seen."""
    pictures = splits.pictures
    styles = ", ".join(f"{count} of {style}" for style, count in Counter(pictures.styles).items())
    hints = [f"their names contain {pictures.keyword!r}"] if pictures.keyword else []
    hints += ["--source hub takes the coursework's own"] if pictures.source == "twemoji" else []
    if pictures.described_by:  # the user's own
        hints += [f"described by {pictures.described_by}; {pictures.left_out} others left out, --keyword '' takes all"]
    hints += [f"{pictures.skipped} cannot be decoded"] if pictures.skipped else []
    hints += [f"{style} is not tested: it has no tested emoji" for style in {*pictures.styles} - {*splits.tests()}]
    counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in splits.counts().items())
    leaked = f"leaked: {splits.leaked()} test images show an emoji of the training set"
    return "\n".join(["; ".join([f"pictures: {styles}", *hints]), counts, leaked])


def main(config: Config) -> dict[str, int]:
    """Print the counts and draw the contact sheet. Returns the counts."""
    from lab import figures  # only this command draws

    splits = load(config)
    pictures = splits.pictures
    kept = f' whose name contains "{pictures.keyword}"' if pictures.keyword else ""
    credits = "; ".join(map(sources.credit, dict.fromkeys(pictures.styles)))
    title = f"{len(pictures):,} pictures{kept}. Source: {credits}"
    print("figure", figures.contact_sheet(pictures.images, title, config.plots / "contact_sheet.png"))
    return splits.counts()


if __name__ == "__main__":
    cli.run(main, Config)
