"""Analogies with a right answer, as tables of emoji: cats and humans, skin tones.

In a table a row is what is drawn and a column is how: (cat, human) by expression, a person by skin tone. Any two rows
and two columns are an analogy: target + (featured - baseline) = truth, with target and truth in one row."""

from collections import Counter
from typing import NamedTuple

import torch

from lab.arithmetic import COUNTERPARTS
from lab.names import FITZPATRICK, tone
from lab.pictures import Pictures, generator

FAMILIES = ("cats", "skin tones")
MISSING = -1  # in a table: there is no such picture


class Analogies(NamedTuple):
    """N analogies as indices into pictures, (N,) each."""

    target: torch.Tensor
    baseline: torch.Tensor
    featured: torch.Tensor
    truth: torch.Tensor

    def where(self, kept: torch.Tensor) -> "Analogies":
        """Those that an (N,) mask, slice or index keeps."""
        return Analogies(*(part[kept] for part in self))


def table_of(cells: dict[tuple, int]) -> torch.Tensor:
    """(rows, columns) int64 from indices by (row, column), MISSING where there is none. Rows of one picture are out."""
    rows, columns = ({key: place for place, key in enumerate(dict.fromkeys(keys))} for keys in zip(*cells))
    table = torch.full((len(rows), len(columns)), MISSING)
    for (row, column), i in cells.items():
        table[rows[row], columns[column]] = i
    return table[(table != MISSING).sum(1) > 1]


def cats(pictures: Pictures) -> torch.Tensor:
    """(2, 9): the cats, and their human counterparts."""
    place = {name: i for i, name in reversed([*enumerate(pictures.names)])}
    return torch.tensor([(place.get(cat, MISSING), place.get(human, MISSING)) for cat, human in COUNTERPARTS.items()]).T


def skin_tones(pictures: Pictures) -> torch.Tensor:
    """(people, 6): without a tone, and with each of the five; for several people of one tone too."""
    cells = {}
    for i, code in enumerate(pictures.codes):
        tones = set(tone(code).split())
        if code and len(tones) < 2:
            person = "-".join(point for point in code.split("-") if int(point, 16) not in FITZPATRICK)
            cells[person, min(tones, default="0")] = i
    return table_of(cells)


def draw(table: torch.Tensor, count: int, random: torch.Generator, tries: int = 8) -> Analogies:
    """At most `count` analogies of a table, drawn with replacement. Those that need a missing picture are dropped."""
    rows, columns = table.shape
    size = (count * tries,)
    row, column = (torch.randint(high, size, generator=random) for high in (rows, columns))
    other_row = (row + torch.randint(1, max(rows, 2), size, generator=random)) % rows
    other_column = (column + torch.randint(1, max(columns, 2), size, generator=random)) % columns
    places = (row, column), (other_row, column), (other_row, other_column), (row, other_column)
    cells = torch.stack([table[place] for place in places])
    return Analogies(*cells[:, (cells != MISSING).all(0).nonzero().flatten()[:count]])


def every(table: torch.Tensor) -> Analogies:
    """All analogies from the second row of a table to the first: target and truth are in the first."""
    one, other = torch.cartesian_prod(*2 * [torch.arange(table.shape[1])]).T
    cells = torch.stack([table[0, one], table[1, one], table[1, other], table[0, other]])
    return Analogies(*cells[:, (one != other) & (cells != MISSING).all(0)])


def analogies_of(pictures: Pictures, family: str, count: int) -> Analogies:
    """All analogies of cats, or `count` of skin tones, where no other emoji looks the same as the truth."""
    random = generator(f"{family} of {pictures.source}", 0)
    found = every(cats(pictures)) if family == "cats" else draw(skin_tones(pictures), 2 * count, random)
    looks = [image.numpy().tobytes() for image in pictures.images]
    counts = Counter(looks)
    kept = found.where(torch.tensor([counts[looks[i]] == 1 for i in found.truth], dtype=torch.bool))
    return kept if family == "cats" else kept.where(slice(count))
