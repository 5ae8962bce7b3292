"""The pictures of a source in memory, each once, and choosing among them."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Iterable

import torch

from common.errors import UserError
from common.names import normalise, twin_key, twin_keys
from common.options import KEYWORD

LISTS = ("names", "codes", "styles")  # what an original has beside its image


@dataclass(frozen=True)
class Originals:
    """The pictures of a source, each once."""

    source: str  # where they come from
    names: list[str]  # normalised descriptions; skin-tone twins share one
    images: torch.Tensor  # (N, 3, SIZE, SIZE) uint8
    codes: list[str]  # code points, by which skin-tone twins differ; empty strings where the source does not say
    styles: list[str]  # the source that each comes from: this one, or a further style
    skipped: int = 0  # pictures left out because they could not be decoded
    keyword: str = KEYWORD  # which all names contain
    left_out: int = 0  # pictures of the source whose names do not

    @cached_property
    def keys(self) -> list[str]:
        """Equal for emoji that are one to a network: twins by name, and those whose pictures in the source are alike.

        Alike are mirrored pictures too. An emoji has one key in all styles.
        """
        own = self.own
        of_name = dict(zip(map(twin_key, own.names), twin_keys(own.names, own.images)))
        return [of_name.get(twin_key(name), twin_key(name)) for name in self.names]

    @cached_property
    def likenesses(self) -> list[str]:
        """Equal for like or mirrored pictures, whatever their names and styles."""
        return twin_keys([str(i) for i in range(len(self.names))], self.images)

    def related(self, chosen: Iterable[int]) -> set[int]:
        """Those that must not be on the other side of a split than the `chosen`: with the key or the likeness of one."""
        chosen, related = list(chosen), set()
        for keys in (self.keys,) if self.own is self else (self.keys, self.likenesses):
            held = {keys[i] for i in chosen}
            related |= {i for i, key in enumerate(keys) if key in held}
        return related

    @cached_property
    def own(self) -> "Originals":
        """Those of the source alone, without further styles."""
        return self if set(self.styles) == {self.source} else take(self, self.of_style(self.source).tolist())

    def of_style(self, style: str) -> torch.Tensor:
        """(M,) int64, the indices of the pictures of a style."""
        return torch.tensor([i for i, own in enumerate(self.styles) if own == style], dtype=torch.int64)

    def counterpart(self, i: int, style: str) -> int | None:
        """The index of the same emoji as the i-th, skin tone included, in a style that may lack it."""
        same = (
            j for j in self.of_style(style).tolist() if (self.names[j], self.codes[j]) == (self.names[i], self.codes[i])
        )
        return next(same, None)


def take(originals: Originals, kept: list[int]) -> Originals:
    """The originals at the indices `kept`."""
    lists = {name: [getattr(originals, name)[i] for i in kept] for name in LISTS}
    return replace(originals, images=originals.images[kept], **lists)


def matching(originals: Originals, keyword: str) -> Originals:
    """The originals whose names contain the keyword."""
    kept = [i for i, name in enumerate(originals.names) if normalise(keyword) in name]
    return replace(take(originals, kept), keyword=keyword)


def without(originals: Originals, names: Iterable[str]) -> Originals:
    """The originals that are not `names`, nor twins or mirror images of them. Raises UserError for an unknown name."""
    held_out = {twin_key(normalise(name)) for name in names}
    members = {name: [i for i, other in enumerate(originals.names) if twin_key(other) == name] for name in held_out}
    for name, indices in members.items():
        if not indices:
            emoji = f"the {len(originals.names)} emoji of {originals.source}"
            raise UserError(f"--hold-out {name!r} is not among {emoji}; check its spelling")
    left_out = originals.related(i for indices in members.values() for i in indices)
    return take(originals, [i for i in range(len(originals.names)) if i not in left_out])


def joined(own: Originals, others: list[Originals]) -> Originals:
    """The originals of a source, followed by those of further styles."""
    styles = [own, *others]
    lists = {name: sum((getattr(style, name) for style in styles), []) for name in LISTS}
    skipped = sum(style.skipped for style in styles)
    return replace(own, images=torch.cat([style.images for style in styles]), skipped=skipped, **lists)
