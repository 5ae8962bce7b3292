"""Nine cats with human counterparts: 72 analogies with known answers, the spaces to compose them in, their scores.

The answers are among the training pictures (seen), or each is composed by networks and PCAs that never saw it
(held out): three folds of three cats. The drawn cats leave one cat out at a time.
"""

from dataclasses import dataclass
from typing import Callable, Iterable, Protocol

import numpy as np
import torch

import data
from common.errors import UserError
from lab import arithmetic, baselines, presets, records, trained, training
from lab.arithmetic import COUNTERPARTS, Space
from lab.options import BestRun, ReportRun, Run
from studies import drawn_cats

FOLDS = 3
CATS = list(COUNTERPARTS)


@dataclass(frozen=True)
class Method:
    """A row of the table."""

    name: str
    space: str
    attribute: str | None  # None is the answer that changes nothing


PIXELS = "pixel arithmetic"  # what every method is compared with
METHODS = [
    Method("unchanged target", "pixels", None),
    Method(PIXELS, "pixels", "difference"),
    Method("PCA arithmetic", "PCA", "difference"),
    Method("original's network", "report", "difference"),
    Method("original's network, mean difference", "report", "mean"),
    Method("original's network, isolated difference", "report", "isolated"),
    Method("original's network, ridge map", "report", "map"),
    Method("best preset", "best", "difference"),
    Method("best preset, mean difference", "best", "mean"),
    Method("drawn cats", "drawn", "difference"),
]
UNSEEDED = ("pixels", "drawn")  # spaces in which nothing is random: one composite, whatever the seed


class Options(Protocol):
    """What decides the networks: the fields of the script's Config."""

    epochs: int
    steps: int
    latent: int
    precision: str
    device: str


@dataclass(frozen=True)
class Analogies:
    """All cat_i + (human_j - human_i) = cat_j with i != j, as indices into the originals."""

    cats: list[int]
    humans: list[int]
    pairs: list[tuple[int, int]]  # (i, j), positions in the two lists

    def sources(self) -> list[tuple[int, int, int]]:
        """target, baseline and featured of each analogy."""
        return [(self.cats[i], self.humans[i], self.humans[j]) for i, j in self.pairs]

    def answers(self) -> list[int]:
        return [self.cats[j] for _, j in self.pairs]


def find_analogies(names: list[str]) -> Analogies:
    """The analogies among `names`. Raises UserError if a cat or its human counterpart is missing."""
    missing = sorted({*COUNTERPARTS, *COUNTERPARTS.values()} - set(names))
    if missing:
        raise UserError(f"the benchmark needs {len(missing)} emoji that this source has not: {', '.join(missing)}")
    cats, humans = ([names.index(name) for name in members] for members in (COUNTERPARTS, COUNTERPARTS.values()))
    return Analogies(cats, humans, [(i, j) for i in range(len(cats)) for j in range(len(cats)) if i != j])


def folds() -> list[list[int]]:
    """Positions of the cats that are held out together: every third."""
    return [list(range(start, len(CATS), FOLDS)) for start in range(FOLDS)]


# ---------------------------------------------------------------- spaces


def training_of(preset: str, config: Options, source: str, seed: int, hold_out: list[str], folder) -> Run:
    """The training of a preset's network in `folder`, with everything decided, so that it can be compared."""
    kind, options = {
        "report": (ReportRun, {"epochs": config.epochs}),
        "best": (BestRun, {"steps": config.steps, "precision": config.precision}),
    }[preset]
    run = kind(
        source=source, keyword=data.KEYWORD, seed=seed, hold_out=tuple(hold_out), latent=config.latent,
        device=config.device, out=folder, plots=folder, **options,
    )  # fmt: skip
    return presets.settled(run, training.choose_device(config.device))


def require_kept(run: Run, source: str) -> None:
    """Raise UserError unless the network in the run's folder is what the run would train now."""
    if other := records.differences(run.out, records.described(run, source)):
        there = f"{run.out} holds a network with other options"
        raise UserError(f"{there} ({other}); delete it, or give another --out")


def trained_spaces(config: Options, faces: data.Originals, seed: int, hold_out: list[str], device) -> dict[str, Space]:
    """The spaces of both presets' networks and of PCA, fitted without the emoji in `hold_out`, by the preset's name.

    The networks are kept in `config.out`. Raises UserError for one that is there, but is not what would be trained now.
    """
    spaces = {}
    for preset in ("report", "best"):
        name = f"{preset}-seed{seed}" + "".join(f"-without-{name.replace(' ', '_')}" for name in hold_out[:1])
        run = training_of(preset, config, faces.source, seed, hold_out, config.out / "networks" / name)
        model, trained_on = trained.network(run)
        splits = data.split(data.without(faces, trained_on.hold_out), trained_on)
        seen = {splits.originals.names[i] for i in splits.train.emoji}
        if seen & set(hold_out) or set(trained_on.hold_out) != set(hold_out):
            raise UserError(f"{run.out} was trained on emoji that should be held out; delete it and run again")
        require_kept(run, faces.source)
        spaces[preset] = arithmetic.network_space(model.to(device), faces.images, device)
    pca = baselines.fit_pca(splits.train.images, config.latent)
    return {**spaces, "PCA": arithmetic.pca_space(faces.images, pca)}


def drawn_space(faces: data.Originals, analogies: Analogies, hold_out: list[int], latent: int) -> Space:
    """A PCA in which humans count as cats by a map fitted without the cats at the positions `hold_out`."""
    known = [pair for k, pair in enumerate(zip(analogies.cats, analogies.humans)) if k not in hold_out]
    material = data.without(faces, [CATS[k] for k in hold_out])
    kept = (original for original, name in enumerate(faces.names) if name in material.names)
    place = {original: row for row, original in enumerate(kept)}
    fitted = drawn_cats.fit(material.images, [(place[cat], place[human]) for cat, human in known], latent)
    latents = fitted.encode(data.to_float(faces.images))
    latents[analogies.humans] = fitted.as_cats(latents[analogies.humans])
    return Space(latents, fitted.decode)


# ---------------------------------------------------------------- composites


def compose(space: Space, analogies: Analogies, attribute: str | None, only: list[int] | None = None) -> torch.Tensor:
    """(M, 3, H, W) composites of the analogies whose answer is among `only`, default all, in their order."""
    z, composites = space.latents, []
    for (i, j), (target, baseline, featured) in zip(analogies.pairs, analogies.sources()):
        if only is not None and j not in only:
            continue
        if attribute is None:
            composites.append(z[target])
            continue
        known = [pair for k, pair in enumerate(zip(analogies.cats, analogies.humans)) if k != j]
        composites.append(z[target] + arithmetic.ATTRIBUTES[attribute](z, target, baseline, featured, known))
    return space.decode(torch.stack(composites))


def composites_of(
    groups: list[list[int]], spaces_without: Callable[[list[int]], dict[str, Space]], analogies: Analogies
) -> dict[str, torch.Tensor]:
    """Each method's (72, 3, H, W) composites, for the methods whose space is among `spaces_without(group)`.

    The answers of each group come from spaces that were fitted without it.
    """
    result = {}
    for group in groups:
        rows = [row for row, (_, j) in enumerate(analogies.pairs) if j in group]
        spaces = spaces_without(group)
        for method in METHODS:
            if method.space in spaces:
                pictures = compose(spaces[method.space], analogies, method.attribute, group)
                shape = (len(analogies.pairs), *pictures.shape[1:])
                result.setdefault(method.name, torch.empty(shape))[rows] = pictures
    return result


def unseeded_composites(faces: data.Originals, analogies: Analogies, latent: int, held_out: bool):
    """The composites of the spaces in which nothing is random; every cat is held out on its own."""
    everyone = list(range(len(CATS)))

    def spaces(group: list[int]) -> dict[str, Space]:
        drawn = drawn_space(faces, analogies, group if held_out else [], latent)
        return {"pixels": arithmetic.pixel_space(faces.images), "drawn": drawn}

    return composites_of([[k] for k in everyone] if held_out else [everyone], spaces, analogies)


def seeded_composites(config: Options, faces: data.Originals, analogies: Analogies, seed: int, held_out: bool, device):
    """The composites of the networks, and of the PCA, of a seed."""

    def spaces(group: list[int]) -> dict[str, Space]:
        return trained_spaces(config, faces, seed, [CATS[k] for k in group] if held_out else [], device)

    return composites_of(folds() if held_out else [list(range(len(CATS)))], spaces, analogies)


# ---------------------------------------------------------------- scores


@dataclass(frozen=True)
class Pool:
    """The pictures that each composite is ranked against, and the analogies among them."""

    originals: data.Originals
    analogies: Analogies


Scores = dict[str, np.ndarray]  # (72,) each, of the analogies in their order


def score(pictures: torch.Tensor, pool: data.Originals, analogies: Analogies) -> Scores:
    """Of every composite: whether its answer is the nearest picture of `pool` (top1, 0 or 1), the reciprocal of the
    answer's rank (mrr) and the MSE to the answer (mse).
    """
    errors, answers = arithmetic.squared_errors(pictures, pool.images), analogies.answers()
    ranks = np.array(arithmetic.ranks(errors, answers, analogies.sources()))
    mse = errors[range(len(answers)), answers].double().numpy()
    return {"top1": (ranks == 1).astype(float), "mrr": 1 / ranks, "mse": mse}


def by_answer(values: np.ndarray, analogies: Analogies) -> np.ndarray:
    """(9,) means over the analogies with the same answer, of (72,) values."""
    answers = np.array([j for _, j in analogies.pairs])
    return np.array([values[answers == j].mean() for j in range(len(analogies.cats))])


def with_interval(each: np.ndarray) -> dict:
    """The nine answers' values, their mean and its 95% interval: eight analogies with the same answer count as one."""
    mean, half = baselines.mean_and_interval(each)
    return {"each": each.tolist(), "mean": mean, "interval": [mean - half, mean + half]}


def row(method: str, held_out: bool, pool: str, seeds: list[Scores], pixels: Scores, analogies: Analogies) -> dict:
    """A row of the record from a method's scores, one per seed, and from those of pixel arithmetic.

    There is no spread over the seeds where nothing is random. By answer, seeds and the eight sources are averaged.
    """
    top1 = [scores["top1"].mean() for scores in seeds]
    means = {name: np.mean([scores[name] for scores in seeds], axis=0) for name in pixels}
    answers = {name: by_answer(means[name], analogies) for name in pixels}
    return {
        "method": method,
        "held_out": held_out,
        "pool": pool,
        "top1_mean": float(np.mean(top1)),
        "top1_std": float(np.std(top1, ddof=1)) if len(top1) > 1 else None,
        "mrr_mean": float(means["mrr"].mean()),
        "mse_to_truth": float(means["mse"].mean()),
        "seeds": len(seeds),
        "by_answer": {name: with_interval(each) for name, each in answers.items()},
        "minus_pixels": {
            name: with_interval(each - by_answer(pixels[name], analogies)) for name, each in answers.items()
        },
    }


def rows(composites: Iterable[dict[str, torch.Tensor]], pools: dict[str, Pool], held_out: bool) -> list[dict]:
    """The rows of all methods in all pools, from dicts of their composites: a method has as many scores as dicts."""
    scores = {(method.name, pool): [] for method in METHODS for pool in pools}
    for by_method in composites:
        for method, pictures in by_method.items():
            for name, pool in pools.items():
                scores[method, name].append(score(pictures, pool.originals, pool.analogies))
    return [
        row(method, held_out, pool, seeds, scores[PIXELS, pool][0], pools[pool].analogies)
        for (method, pool), seeds in scores.items()
        if seeds
    ]
