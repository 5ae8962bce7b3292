"""Who is trained on and who is tested: emoji, or images, dealt out 60/20/20."""

from collections import Counter
from typing import Sequence

import torch

from common.originals import Originals
from common.seeds import generator

SPLIT = (0.6, 0.2, 0.2)  # train, validation and test


def split_images(count: int, seed: int) -> tuple[torch.Tensor, ...]:
    """A random permutation of `count` items, cut 60/20/20."""
    order = torch.randperm(count, generator=generator("split", seed))
    train, val = (int(part * count) for part in SPLIT[:2])
    return order[:train], order[train : train + val], order[train + val :]


def split_by_emoji(keys: Sequence[str], seed: int) -> list[set[str]]:
    """The distinct keys in random order, dealt out 60/20/20.

    Keys with equally many pictures are dealt together: otherwise chance alone decides how many of
    the few sextets of skin-tone twins are tested on, and with them the size of the test set.
    """
    distinct, sizes = sorted(set(keys)), Counter(keys)
    shuffled = [distinct[i] for i in torch.randperm(len(distinct), generator=generator("split", seed))]
    shuffled.sort(key=sizes.get)
    return [{key for i, key in enumerate(shuffled) if i % 5 in places} for places in ((0, 2, 4), (1,), (3,))]


def divide(originals: Originals, seed: int) -> list[torch.Tensor]:
    """Indices of the originals in train, validation and test: by the emoji of the source, in all styles alike.

    Left out is a picture that is related to one in a part that is held out more than its own. Emoji that the source
    does not have are for training.
    """
    sets = split_by_emoji(originals.own.keys, seed)
    _, val, test = ({i for i, key in enumerate(originals.keys) if key in members} for members in sets)
    train = {*range(len(originals.keys))} - val - test
    parts = train - originals.related(val | test), val - originals.related(test), test
    return [torch.tensor(sorted(part), dtype=torch.int64) for part in parts]
