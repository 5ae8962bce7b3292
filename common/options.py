"""The options by which data are chosen. Needs no torch, so that `--help` need not wait for it."""

from dataclasses import dataclass
from typing import Literal

from common.errors import at_least

KEYWORD = "face"  # of the pictures that are taken where no other keyword is given


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which emoji, and how they are copied and split."""

    source: str = "auto"  # auto, hub, twemoji, openmoji, noto, or the path of your own parquet file or image folder
    also: tuple[str, ...] = ()  # further sources to train on; what the first one holds out is held out in them too
    hold_out_style: str | None = None  # a source that is only tested on: an art style never seen in training
    keyword: str | None = None  # what names must contain, "" for all; None: face, or all if yours have no face
    skip_bad: bool = False  # leave pictures out that cannot be decoded, instead of stopping
    hold_out: tuple[str, ...] = ()  # names left out of all parts, so that no training ever sees them
    augment: Literal["report", "none"] = "report"  # report: flip, rotation, colour jitter; none: exact copies
    copies: int | Literal["none"] = 4  # augmented copies of each original; none: the originals alone
    split: Literal["report", "emoji"] = "report"  # report: copy, then split; emoji: split, then copy (unseen emoji)
    seed: int = 0  # from which every random generator is derived

    def __post_init__(self):
        at_least(0, seed=self.seed)
        if self.copies != "none":
            at_least(1, copies=self.copies)
