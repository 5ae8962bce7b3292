"""One composite: made at any strength and in any space, scored, and set beside the principal directions of the latents.

composite.py shows it; what `arithmetic` does to coordinates is done to pictures here.
"""

from dataclasses import dataclass

import torch

import data
from common import names
from common.errors import UserError
from lab import arithmetic
from lab.arithmetic import COUNTERPARTS, Space
from lab.composer import COMPOSER

STRENGTHS = [i / 4 for i in range(9)]  # of the strip, 0 to 2
STEPS = [-2, -1, 0, 1, 2]  # along a direction, in standard deviations; along the attribute, strengths
SHOWN = 5  # principal directions in the figure
COUNTS = (5, 10, 20, 50)  # of the first principal directions: how much of the attribute lies in them
PLACES = {"network": "composite", "pca": "pca_arithmetic", "pixels": "pixel_arithmetic"}  # spaces, and answers of them
NEGLIGIBLE = 1e-6  # of the largest singular value: below it a direction is rounding


@dataclass(frozen=True)
class Equation:
    """target + featured - baseline = truth, as indices into the originals."""

    target: int
    baseline: int
    featured: int
    truth: int | None  # None: no such picture is known
    known: list[tuple[int, int]]  # cats and their human counterparts, but for the truth

    def sources(self) -> list[int]:
        return [self.target, self.baseline, self.featured]


def taken(everything: data.Originals, option: str, query: str) -> int:
    """Index of the emoji meant by an option. Says what was taken where it is not what was written. Raises UserError."""
    i = names.find(everything.names, query, everything.codes)
    if names.normalise(query) != everything.names[i]:
        print(f"--{option} {query.strip()!r} is taken as {everything.names[i]!r}")
    return i


def known_truth(everything: data.Originals, truth: str, target: int, featured: int) -> int | None:
    """Index of the picture that the composite should be, if there is one."""
    if truth != "auto":
        return taken(everything, "truth", truth)
    all_names = everything.names
    cats = {human: cat for cat, human in COUNTERPARTS.items()}
    answer = cats.get(all_names[featured])
    return all_names.index(answer) if all_names[target] in COUNTERPARTS and answer in all_names else None


def equation(
    everything: data.Originals, target: int, baseline: int, featured: int, truth: int | None, method: str
) -> Equation:
    """The equation of these originals. Raises UserError for no attribute, or too few pairs for the method."""
    all_names = everything.names
    if baseline == featured:
        raise UserError(f"--baseline and --featured are both {all_names[featured]!r}: no attribute; give two emoji")
    known = [
        (all_names.index(cat), all_names.index(human))
        for cat, human in COUNTERPARTS.items()
        if {cat, human} <= set(all_names) and truth != all_names.index(cat)
    ]
    if method not in ("difference", "learned") and len(known) < 2:
        learns = f"--method {method} learns from cats with human counterparts"
        raise UserError(f"{learns}, of which {everything.source} has {len(known)}; use --method difference")
    return Equation(target, baseline, featured, truth, known)


def reduced(equation: Equation, everything: data.Originals) -> tuple[Equation, torch.Tensor]:
    """The equation with its pictures alone, counted anew, and these pictures: what the arithmetic looks at."""
    used = sorted({*equation.sources(), *(i for pair in equation.known for i in pair)})
    place = {original: row for row, original in enumerate(used)}
    known = [(place[cat], place[human]) for cat, human in equation.known]
    return Equation(*(place[i] for i in equation.sources()), None, known), everything.images[used]


def beside(method: str) -> str:
    """The method of the pixel and PCA arithmetic that a composite is set beside: what is learned needs no space."""
    return "difference" if method == "learned" else method


def space_of(method: str, network: Space, images: torch.Tensor) -> Space:
    """Where a method composes (N, 3, 64, 64) uint8 originals: in the network's space, or as pictures."""
    return arithmetic.pixel_space(images) if method == "learned" else network


def attribute_of(space: Space, equation: Equation, method: str) -> torch.Tensor:
    """(d,) what is added to the target at strength 1, in a space with one row per original: that of the method."""
    if method == "learned":
        target, baseline, featured = space.latents[equation.sources()].unflatten(1, (3, data.SIZE, data.SIZE))
        return (COMPOSER(target[None], baseline[None], featured[None])[0] - target).flatten()
    return arithmetic.ATTRIBUTES[method](space.latents, *equation.sources(), equation.known)


def compose(space: Space, equation: Equation, method: str, strengths: list[float]) -> torch.Tensor:
    """(S, 3, H, W) composites in [0, 1], one for each strength, from a space with one row per original."""
    target, attribute = space.latents[equation.target], attribute_of(space, equation, method)
    return space.decode(torch.stack([target + strength * attribute for strength in strengths]))


# ---------------------------------------------------------------- scores


def errors_to_all(answers: dict[str, torch.Tensor], everything: data.Originals) -> dict[str, torch.Tensor]:
    """(P,) MSE between each (3, H, W) answer and each picture of the source."""
    return dict(zip(answers, arithmetic.squared_errors(torch.stack(list(answers.values())), everything.images)))


def score(
    answers: dict[str, torch.Tensor], errors: dict[str, torch.Tensor], everything: data.Originals, equation: Equation
) -> dict[str, dict]:
    """Each answer's scores against the true picture, over all of it and in the region where it differs from the target.

    The rank is among all pictures of the source, 1 for the nearest, by the answers' errors to all of them.
    """
    truth, target = (data.to_float(everything.images[i]) for i in (equation.truth, equation.target))
    region = (truth - target).abs().amax(0) > arithmetic.VISIBLE_DIFFERENCE
    count = len(answers)
    ranks = arithmetic.ranks(list(errors.values()), [equation.truth] * count, [equation.sources()] * count)
    similarities = (arithmetic.similarity(answer, truth, region) for answer in answers.values())
    return {name: {**similarity, "rank_of_truth": rank} for name, similarity, rank in zip(answers, similarities, ranks)}


def table(scores: dict[str, dict], truth: str, count: int) -> str:
    """The scores, one line per answer; `count` pictures were ranked."""
    lines = [
        f"truth: {truth}; scores over the picture, and in the region where it differs from the target",
        f"{'':18} {'MSE':>7} {'SSIM':>7} {'MSE in':>7} {'SSIM in':>7} {f'rank of {count}':>13}",
    ]
    for name, row in scores.items():
        mse, ssim, mse_in, ssim_in, rank = row.values()
        lines.append(f"{name.replace('_', ' '):18} {mse:7.4f} {ssim:7.3f} {mse_in:7.4f} {ssim_in:7.3f} {rank:13}")
    return "\n".join(lines)


def errors_by_strength(
    spaces: dict[str, Space], equation: Equation, method: str, truth: torch.Tensor
) -> dict[str, list[float]]:
    """The strengths of the strip, and each space's MSE to the (3, H, W) true picture at each of them.

    The spaces come by the names of their answers; that of the composite counts as the network's.
    """
    methods = {answer: beside(method) for answer in spaces} | {"composite": method}
    strips = {place: compose(spaces[answer], equation, methods[answer], STRENGTHS) for place, answer in PLACES.items()}
    errors = {place: (strip - truth).square().mean((1, 2, 3)).tolist() for place, strip in strips.items()}
    return {"strengths": STRENGTHS, **errors}


def nearest(errors: torch.Tensor, equation: Equation) -> tuple[int, float]:
    """Index of the picture with the least of a composite's (P,) errors, its three sources left out, and that error."""
    others = errors.index_fill(0, torch.tensor(equation.sources()), torch.inf)
    return int(others.argmin()), others.min().clamp_min(0).item()


# ---------------------------------------------------------------- principal directions


@dataclass(frozen=True)
class Directions:
    """The principal directions of latents: orthogonal, the one of the largest variance first."""

    vectors: torch.Tensor  # (K, d), of length 1
    deviations: torch.Tensor  # (K,) standard deviation of the latents along each

    def variance(self) -> torch.Tensor:
        """(K,) part of the latents' variance that lies along each direction."""
        return self.deviations.square() / self.deviations.square().sum()

    def parts(self, attribute: torch.Tensor) -> torch.Tensor:
        """(K,) part of the attribute's squared norm that lies along each direction."""
        return (self.vectors @ attribute).square() / attribute.square().sum().clamp_min(torch.finfo().tiny)


def principal_directions(latents: torch.Tensor, attribute: torch.Tensor) -> Directions:
    """Those of (N, d) latents, each pointing the way of the attribute: a direction's sign means nothing by itself."""
    _, sizes, vectors = torch.linalg.svd(latents - latents.mean(0), full_matrices=False)
    kept = sizes > NEGLIGIBLE * sizes[0]
    sizes, vectors = sizes[kept], vectors[kept]
    ways = torch.where(vectors @ attribute < 0, -1.0, 1.0)
    return Directions(vectors * ways[:, None], sizes / (len(latents) - 1) ** 0.5)


def isolation(directions: Directions, attribute: torch.Tensor) -> dict:
    """Whether principal directions isolate the attribute: what the record says of them.

    One that did would hold nearly all of it; where the attribute spreads as the variance does, none isolates it.
    """
    variance, parts = directions.variance(), directions.parts(attribute)
    fullest = int(parts.argmax()) if len(parts) else None
    return {
        "explained_variance": variance[:SHOWN].tolist(),
        "attribute_in_direction": parts[:SHOWN].tolist(),
        "variance_within": {str(count): variance[:count].sum().item() for count in COUNTS},
        "attribute_within": {str(count): parts[:count].sum().item() for count in COUNTS},
        "fullest": None if fullest is None else {"direction": fullest + 1, "attribute": parts[fullest].item()},
    }


def walks(space: Space, start: torch.Tensor, directions: Directions, attribute: torch.Tensor) -> torch.Tensor:
    """(R, 5, 3, H, W) pictures: the latent `start` moved along the first directions and, last, the attribute."""
    ways = torch.cat([directions.vectors[:SHOWN] * directions.deviations[:SHOWN, None], attribute[None]])
    moved = start + torch.tensor(STEPS)[:, None] * ways[:, None]  # (R, 5, d)
    return space.decode(moved.flatten(0, 1)).unflatten(0, moved.shape[:2])
