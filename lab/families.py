"""Analogies with a right answer, as tables of emoji: cats and humans, skin tones, genders.

In a table a row is what is drawn and a column is how: (cat, human) by expression, a person by skin tone. Any two rows
and two columns are an analogy: target + (featured - baseline) = truth, with the target and the truth in one row.
"""

from dataclasses import dataclass

import torch

import data
from common import names
from lab.arithmetic import COUNTERPARTS

MISSING = -1  # in a table: there is no such picture
ROLES = {"1F468": "man", "1F469": "woman"}  # first code points: a man cook, a woman cook
SIGNS = {"2642": "man", "2640": "woman"}  # last code points: a man running, a woman running


@dataclass(frozen=True)
class Analogies:
    """Rows of indices into some originals, (N,) each."""

    target: torch.Tensor
    baseline: torch.Tensor
    featured: torch.Tensor
    truth: torch.Tensor

    def __len__(self) -> int:
        return len(self.truth)

    def where(self, kept: torch.Tensor) -> "Analogies":
        """Those at which the (N,) mask is true."""
        return Analogies(self.target[kept], self.baseline[kept], self.featured[kept], self.truth[kept])

    def first(self, count: int | None) -> "Analogies":
        """The first `count` of them, or all."""
        return self.where(torch.arange(len(self)) < (len(self) if count is None else count))

    def sources(self) -> list[tuple[int, int, int]]:
        """target, baseline and featured of each analogy."""
        return list(zip(self.target.tolist(), self.baseline.tolist(), self.featured.tolist()))


def table_of(cells: dict[tuple, int]) -> torch.Tensor:
    """(rows, columns) int64 from indices by (row, column), MISSING where there is none. Rows of one picture are out."""
    rows, columns = ({key: place for place, key in enumerate(dict.fromkeys(keys))} for keys in zip(*cells))
    table = torch.full((len(rows), len(columns)), MISSING)
    for (row, column), i in cells.items():
        table[rows[row], columns[column]] = i
    return table[(table != MISSING).sum(1) > 1]


def cats(originals: data.Originals) -> torch.Tensor:
    """(2, 9): the cats, and their human counterparts."""
    place = {name: i for i, name in reversed([*enumerate(originals.names)])}
    pairs = [(place.get(cat, MISSING), place.get(human, MISSING)) for cat, human in COUNTERPARTS.items()]
    return torch.tensor(pairs).T


def skin_tones(originals: data.Originals) -> torch.Tensor:
    """(people, 6): without a tone, and with each of the five; for several people of one tone too."""
    tones = [set(names.tone(code).split()) for code in originals.codes]
    cells = {
        (without_tone(code), min(tone, default="0")): i
        for i, (code, tone) in enumerate(zip(originals.codes, tones))
        if code and len(tone) < 2
    }
    return table_of(cells)


def without_tone(code: str) -> str:
    """A sequence of code points without its skin tones."""
    return "-".join(point for point in code.split("-") if int(point, 16) not in names.FITZPATRICK)


def genders(originals: data.Originals) -> torch.Tensor:
    """(roles and activities by skin tone, 2): men and women. A person without a gender is often drawn as one of them."""
    cells = {}
    for i, code in enumerate(originals.codes):
        first, *others = code.split("-")
        if first in ROLES and others:
            cells[("role", *others), ROLES[first]] = i
        elif others and others[-1] in SIGNS:
            cells[(first, *others[:-1]), SIGNS[others[-1]]] = i
    return table_of(cells)


def draw(table: torch.Tensor, count: int, generator: torch.Generator, tries: int = 8) -> Analogies:
    """At most `count` analogies of a table, drawn with replacement. Those that need a missing picture are dropped."""
    rows, columns = table.shape
    size = count * tries
    row = torch.randint(rows, (size,), generator=generator)
    column = torch.randint(columns, (size,), generator=generator)
    other_row = (row + torch.randint(1, max(rows, 2), (size,), generator=generator)) % rows
    other_column = (column + torch.randint(1, max(columns, 2), (size,), generator=generator)) % columns
    places = (row, column), (other_row, column), (other_row, other_column), (row, other_column)
    cells = torch.stack([table[place] for place in places])
    whole = (cells != MISSING).all(0).nonzero().flatten()[:count]
    return Analogies(*cells[:, whole])


def every(table: torch.Tensor, row: int = 0, other_row: int = 1) -> Analogies:
    """All analogies from one row of a table to another: target and truth are in `row`."""
    columns = table.shape[1]
    one, other = ((torch.arange(columns**2) // columns), torch.arange(columns**2) % columns)
    cells = torch.stack([table[row, one], table[other_row, one], table[other_row, other], table[row, other]])
    return Analogies(*cells[:, (one != other) & (cells != MISSING).all(0)])
