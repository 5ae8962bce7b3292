"""Latent arithmetic: spaces to do it in, ways to find an attribute, analogies with known answers, and scores."""

from dataclasses import dataclass
from typing import Callable, Sequence

import torch

from lab import names
from lab.cli import UserError
from lab.networks import Autoencoder, decode_all, encode_all
from lab.pictures import SIZE, Pictures, to_float

# The cats and their human counterparts, so that cat_i + (human_j - human_i) has a right answer: cat_j.
COUNTERPARTS = {
    "grinning cat face with smiling eyes": "grinning face with smiling eyes",
    "cat face with tears of joy": "face with tears of joy",
    "smiling cat face with open mouth": "smiling face with open mouth",
    "smiling cat face with heart shaped eyes": "smiling face with heart shaped eyes",
    "cat face with wry smile": "smirking face",
    "kissing cat face with closed eyes": "kissing face with closed eyes",
    "pouting cat face": "pouting face",
    "crying cat face": "crying face",
    "weary cat face": "weary face",
}
TIE_MSE = 1e-6  # an MSE no further from the truth's than this counts as tied: above the rounding of float32
VISIBLE_DIFFERENCE = 0.1  # of the pixel range [0, 1]: where target and truth differ by more, one sees it
SHOWN = 5  # principal directions in the figure
STEPS = [-2, -1, 0, 1, 2]  # along a direction, in standard deviations; along the attribute, strengths
COUNTS = (5, 10, 20, 50)  # of the first principal directions: how much of the attribute lies in them
Pairs = Sequence[tuple[int, int]]  # (cat, human) counterparts that may be used: never the answer's
NEGLIGIBLE = 1e-6  # of the largest singular value: below it a direction is rounding


@dataclass(frozen=True)
class Space:
    """Where the arithmetic happens: coordinates of pictures, and the way back to pictures."""

    latents: torch.Tensor  # (N, d) float32, one row per picture
    decode: Callable[[torch.Tensor], torch.Tensor]  # (M, d) to (M, 3, H, W) in [0, 1]


def pixel_space(images: torch.Tensor) -> Space:
    """No compression at all: the latents are the pixels of (N, 3, H, W) images."""
    return Space(to_float(images).flatten(1), lambda latents: latents.clamp(0, 1).unflatten(1, images.shape[1:]))


def pca_space(images: torch.Tensor, pca) -> Space:
    """The components of a fitted PCA."""

    def decode(latents: torch.Tensor) -> torch.Tensor:
        pixels = torch.from_numpy(pca.inverse_transform(latents.numpy())).float()
        return pixels.clamp(0, 1).unflatten(1, images.shape[1:])

    return Space(torch.from_numpy(pca.transform(to_float(images).flatten(1).numpy())).float(), decode)


def network_space(model: Autoencoder, images: torch.Tensor) -> Space:
    """The latents of a trained network, one per (N, 3, 64, 64) image."""
    return Space(encode_all(model, images), lambda latents: decode_all(model, latents))


def difference(z: torch.Tensor, target: int, baseline: int, featured: int, known: Pairs) -> torch.Tensor:
    """The coursework's: what featured has and baseline does not."""
    return z[featured] - z[baseline]


def mean_difference(z: torch.Tensor, target: int, baseline: int, featured: int, known: Pairs) -> torch.Tensor:
    """From target to featured turned into a cat by the mean difference of the known pairs."""
    cats, humans = map(list, zip(*known))
    return z[featured] + (z[cats] - z[humans]).mean(0) - z[target]


def isolated_difference(z: torch.Tensor, target: int, baseline: int, featured: int, known: Pairs) -> torch.Tensor:
    """The difference without its part along other attributes: the first three principal directions of theirs."""
    others = z[[human for _, human in known if human not in (baseline, featured)]] - z[baseline]
    directions = torch.linalg.svd(others, full_matrices=False).Vh[:3]
    attribute = z[featured] - z[baseline]
    return attribute - directions.T @ (directions @ attribute)


def transplanted(z: torch.Tensor, target: int, baseline: int, featured: int, known: Pairs) -> torch.Tensor:
    """From target to the transplant of featured's features; `z` are pixels."""
    from lab.transplant import transplant

    pictures = z[[target, baseline, featured]].unflatten(1, (3, SIZE, SIZE))
    return (transplant(*pictures[:, None])[0] - pictures[0]).flatten()


ATTRIBUTES = {
    "difference": difference,
    "mean": mean_difference,
    "isolated": isolated_difference,
    "transplant": transplanted,
}
FORMULAS = {  # of the attributes, in words
    "difference": "featured − baseline",
    "mean": "featured + mean of (cat − its human) over known pairs − target",
    "isolated": "featured − baseline, without its part along other faces' differences",
    "transplant": "(target with the features that featured has and baseline does not) − target",
}


@dataclass(frozen=True)
class Equation:
    """target + featured - baseline = truth, as indices into pictures."""

    target: int
    baseline: int
    featured: int
    truth: int | None  # None: no such picture is known
    known: list[tuple[int, int]]  # cats and their human counterparts, except the truth

    def sources(self) -> list[int]:
        return [self.target, self.baseline, self.featured]


def resolve_emoji(pictures: Pictures, option: str, query: str) -> int:
    """Index of the emoji that an option means. Prints its name if that differs. Raises UserError."""
    i = names.find(pictures.names, query, pictures.codes)
    if names.normalise(query) != pictures.names[i]:
        print(f"--{option} {query.strip()!r} is {pictures.names[i]!r}")
    return i


def known_truth(pictures: Pictures, target: int, featured: int) -> int | None:
    """Index of the picture that the composite should be: a cat's, for nine cats and faces."""
    cats = {human: cat for cat, human in COUNTERPARTS.items()}
    answer = cats.get(pictures.names[featured])
    return pictures.names.index(answer) if pictures.names[target] in COUNTERPARTS and answer in pictures.names else None


def equation(pictures: Pictures, target: int, baseline: int, featured: int, truth: int | None, method: str) -> Equation:
    """The equation of these pictures. Raises UserError for no attribute, or too few pairs for the method."""
    place = {name: i for i, name in reversed([*enumerate(pictures.names)])}  # of the first with this name
    if baseline == featured:
        raise UserError(f"--baseline and --featured are both {pictures.names[featured]!r}: no attribute; give two")
    known = [(place[cat], place[human]) for cat, human in COUNTERPARTS.items() if {cat, human} <= {*place}]
    known = [(cat, human) for cat, human in known if cat != truth]
    if method in ("mean", "isolated") and len(known) < 2:
        learns = f"--method {method} learns from cats with human counterparts"
        raise UserError(f"{learns}, of which {pictures.source} has {len(known)}; use --method difference")
    return Equation(target, baseline, featured, truth, known)


def subset(equation: Equation, pictures: Pictures) -> tuple[Equation, torch.Tensor]:
    """The equation counted among the images that it needs, and these (N, 3, 64, 64) images."""
    used = sorted({*equation.sources(), *(i for pair in equation.known for i in pair)})
    place = {picture: row for row, picture in enumerate(used)}
    known = [(place[cat], place[human]) for cat, human in equation.known]
    return Equation(*(place[i] for i in equation.sources()), None, known), pictures.images[used]


def attribute_of(space: Space, equation: Equation, method: str) -> torch.Tensor:
    """(d,) what is added to the target at strength 1, in a space with one row per picture of the equation."""
    return ATTRIBUTES[method](space.latents, *equation.sources(), equation.known)


def compose(space: Space, equation: Equation, method: str, strengths: Sequence[float] = (1.0,)) -> torch.Tensor:
    """(S, 3, H, W) composites in [0, 1], one for each strength. A transplant needs a pixel space."""
    target, attribute = space.latents[equation.target], attribute_of(space, equation, method)
    return space.decode(torch.stack([target + strength * attribute for strength in strengths]))


def squared_errors(pictures: torch.Tensor, pool: torch.Tensor) -> torch.Tensor:
    """(M, P) MSE between (M, 3, H, W) pictures in [0, 1] and a (P, 3, H, W) uint8 pool."""
    flat, columns = pictures.flatten(1), []
    for part in pool.split(64):  # 3 MB of floats, which stay in the cache: six times as fast as 512
        other = to_float(part).flatten(1)
        columns.append(flat.square().sum(1, True) - 2 * flat @ other.T + other.square().sum(1))
    return torch.cat(columns, 1) / flat.shape[1]


def ranks(errors: torch.Tensor, truth: Sequence[int], left_out: Sequence[Sequence[int]]) -> list[int]:
    """Rank of each row's truth by its error, 1 the nearest; the sources are left out, ties count against us."""
    result = []
    for row, answer, sources in zip(errors, truth, left_out):
        before = row <= row[answer] + TIE_MSE
        before[[*sources, answer]] = False
        result.append(1 + int(before.sum()))
    return result


def nearest(errors: torch.Tensor, equation: Equation) -> tuple[int, float]:
    """Index of the picture with the least of a composite's (P,) errors, its sources left out, and that error."""
    others = errors.index_fill(0, torch.tensor(equation.sources()), torch.inf)
    return int(others.argmin()), others.min().clamp_min(0).item()


def similarity(picture: torch.Tensor, truth: torch.Tensor, region: torch.Tensor) -> dict[str, float]:
    """MSE and SSIM of a (3, H, W) picture to the truth, over all of it and within the (H, W) mask `region`."""
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim  # takes 1.5 s to import

    overall, local = ssim(picture[None], truth[None], data_range=1.0, return_full_image=True)
    squared = (picture - truth).square()
    scores = {"mse_to_truth": squared.mean().item(), "ssim_to_truth": overall.item()}
    within = {"mse": squared[:, region], "ssim": local[0][:, region]}
    return scores | {f"{name}_in_region": values.mean().item() for name, values in within.items()}


def score(answers: dict[str, torch.Tensor], errors: torch.Tensor, pictures: Pictures, equation: Equation) -> dict:
    """Each (3, H, W) answer's similarity to the true picture, and where it differs from the target; and its rank.
    The rank is among all pictures, 1 for the nearest, by the answers' (A, P) errors to all of them."""
    truth, target = (to_float(pictures.images[i]) for i in (equation.truth, equation.target))
    region = (truth - target).abs().amax(0) > VISIBLE_DIFFERENCE
    scores = {name: similarity(answer, truth, region) for name, answer in answers.items()}
    places = ranks(errors, [equation.truth] * len(answers), [equation.sources()] * len(answers))
    return {name: scores[name] | {"rank_of_truth": rank} for name, rank in zip(answers, places)}


@dataclass(frozen=True)
class Directions:
    """The principal directions of latents: orthogonal, the one of the largest variance first."""

    vectors: torch.Tensor  # (K, d), of length 1
    deviations: torch.Tensor  # (K,) standard deviation of the latents along each

    def variance(self) -> torch.Tensor:
        """(K,) share of the latents' variance that lies along each direction."""
        return self.deviations.square() / self.deviations.square().sum()

    def parts(self, attribute: torch.Tensor) -> torch.Tensor:
        """(K,) share of the attribute's squared norm that lies along each direction."""
        return (self.vectors @ attribute).square() / attribute.square().sum().clamp_min(torch.finfo().tiny)


def principal_directions(latents: torch.Tensor, attribute: torch.Tensor) -> Directions:
    """Those of (N, d) latents, each pointing the way of the attribute: a direction's sign means nothing by itself."""
    _, sizes, vectors = torch.linalg.svd(latents - latents.mean(0), full_matrices=False)
    kept = sizes > NEGLIGIBLE * sizes[0]
    sizes, vectors = sizes[kept], vectors[kept]
    ways = torch.where(vectors @ attribute < 0, -1.0, 1.0)
    return Directions(vectors * ways[:, None], sizes / (len(latents) - 1) ** 0.5)


def isolation(directions: Directions, attribute: torch.Tensor) -> dict:
    """Whether principal directions isolate the attribute, for the record.
    One that did would hold nearly all of it; if the attribute spreads like the variance, none does."""
    variance, parts = directions.variance(), directions.parts(attribute)
    fullest = {"direction": int(parts.argmax()) + 1, "attribute": parts.max().item()} if len(parts) else None
    return {
        "variance_within": {str(count): variance[:count].sum().item() for count in COUNTS},
        "attribute_within": {str(count): parts[:count].sum().item() for count in COUNTS},
        "fullest": fullest,
    }


def walks(space: Space, start: torch.Tensor, directions: Directions, attribute: torch.Tensor) -> torch.Tensor:
    """(R, 5, 3, H, W) pictures: the latent `start` moved along the first directions and, last, the attribute."""
    ways = torch.cat([directions.vectors[:SHOWN] * directions.deviations[:SHOWN, None], attribute[None]])
    moved = start + torch.tensor(STEPS)[:, None] * ways[:, None]  # (R, 5, d)
    return space.decode(moved.flatten(0, 1)).unflatten(0, moved.shape[:2])
