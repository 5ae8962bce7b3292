"""Art styles with their analogies: cats, skin tones and genders."""

from dataclasses import dataclass
from functools import cached_property

import torch

import data
from lab import families
from lab.families import Analogies
from studies.art_styles import STYLES

FAMILIES = {"cats": families.cats, "skin tones": families.skin_tones, "genders": families.genders}


@dataclass(frozen=True, eq=False)  # compared and hashed as itself
class Style:
    """An art style's pictures, and its analogies of each family."""

    pictures: data.Originals
    analogies: dict[str, Analogies]

    @cached_property
    def faces(self) -> data.Originals:
        return data.matching(self.pictures, data.KEYWORD)

    def cats(self) -> tuple[torch.Tensor, list[tuple[int, int]]]:
        """The cats' images, and the place of the target and of the truth among them, for each analogy."""
        cats, analogies = families.cats(self.pictures)[0], self.analogies["cats"]
        places = {i: k for k, i in enumerate(cats.tolist())}
        return self.images(cats), [
            (places[i], places[j]) for i, j in zip(*map(torch.Tensor.tolist, (analogies.target, analogies.truth)))
        ]

    def images(self, chosen: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) in [0, 1]."""
        return data.to_float(self.pictures.images[chosen])


def opened(style: str, count: int) -> Style:
    """A style with all its cats, and `count` analogies of each other family. Raises UserError."""
    pictures = data.load_originals(style, keyword="")
    found = {}
    for family, table_of in FAMILIES.items():
        table, generator = table_of(pictures), data.generator(f"{family} of {style}", 0)
        drawn = families.every(table) if family == "cats" else families.draw(table, 2 * count, generator)
        found[family] = distinct(drawn, pictures).first(None if family == "cats" else count)
    return Style(pictures, found)


def distinct(analogies: Analogies, pictures: data.Originals) -> Analogies:
    """Those whose truth is drawn only once: no source, and no other emoji, has the same picture."""
    keys = [image.numpy().tobytes() for image in pictures.images]
    counts = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return analogies.where(torch.tensor([counts[keys[i]] == 1 for i in analogies.truth.tolist()]))


def opened_styles(count: int) -> dict[str, Style]:
    """The styles that may be shown, by name, with `count` analogies of each family but cats. Raises UserError."""
    return {style: opened(style, count) for style in STYLES}


def joined(styles: dict[str, Style]) -> data.Originals:
    """The pictures of all styles."""
    own, *others = (style.pictures for style in styles.values())
    return data.joined(own, others)
