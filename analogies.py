"""The composites as a benchmark: cat_i + (human_j - human_i) should be cat_j, for nine cats with a human twin.

    python analogies.py                        # all methods, three seeds; trains the networks it lacks, once

Each composite is ranked against every other picture by MSE, its three sources left out, ties counted against it.
Once with the answers among the training pictures and once, honestly, with them held out: three folds of three cats,
each composed by networks (and PCAs) that never saw them. The drawn twins leave one cat out at a time.
Writes runs/analogies/ and plots/analogies_*.png. The 24 networks take about 20 minutes on 2 cores, once; then about a minute.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import torch

import arithmetic
import autoencoder
import baselines
import cli
import composite
import data
import figures
import records
import training
import twins
from arithmetic import TWINS, Space
from cli import UserError

FOLDS = 3

# rows of the table: (name, space, attribute); None is the answer that changes nothing
METHODS = [
    ("unchanged target", "pixels", None),
    ("pixel arithmetic", "pixels", "difference"),
    ("PCA arithmetic", "PCA", "difference"),
    ("report's network", "report", "difference"),
    ("report's network, mean difference", "report", "mean"),
    ("report's network, isolated difference", "report", "isolated"),
    ("report's network, ridge map", "report", "map"),
    ("best preset", "best", "difference"),
    ("best preset, mean difference", "best", "mean"),
    ("drawn twins", "drawn", "difference"),
]
SHOWN = {False: "report's network", True: "drawn twins"}  # the method of the sheet, for answers seen and held out


@dataclass(frozen=True, kw_only=True)
class Config:
    """Score latent arithmetic on 72 cat analogies with known answers."""

    source: str = "auto"  # auto, hub, twemoji, or the path of your own parquet file or image folder
    seeds: int = 3  # networks of each kind, from seed 0 upwards
    epochs: int = 30  # of the report's network, as in Part 1
    steps: int = 600  # of the best preset: a third of Part 1's
    latent: int = 128  # numbers of the latent, and components of PCA
    device: str = "auto"  # auto takes CUDA, MPS or the processor; cpu, cuda or mps decide
    out: Path = Path("runs/analogies")  # folder of the record and of the trained networks
    plots: Path = Path("plots")  # folder of the figures
    overwrite: bool = False  # replace the record in --out, whatever it is of; trained networks stay

    def __post_init__(self):
        cli.at_least(1, latent=self.latent, epochs=self.epochs, steps=self.steps)
        cli.at_most(autoencoder.LARGEST_LATENT, latent=self.latent)
        cli.at_least(2, seeds=self.seeds)


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
    """The analogies among `names`. Raises UserError if a cat or its human twin is missing."""
    missing = sorted({*TWINS, *TWINS.values()} - set(names))
    if missing:
        raise UserError(f"the benchmark needs {len(missing)} emoji that this source has not: {', '.join(missing)}")
    cats, humans = [names.index(name) for name in TWINS], [names.index(name) for name in TWINS.values()]
    return Analogies(cats, humans, [(i, j) for i in range(len(cats)) for j in range(len(cats)) if i != j])


def folds() -> list[list[int]]:
    """Positions of the cats that are held out together: every third."""
    return [list(range(start, len(TWINS), FOLDS)) for start in range(FOLDS)]


def compose(space: Space, analogies: Analogies, attribute: str | None, only: list[int] | None = None) -> torch.Tensor:
    """(M, 3, H, W) composites of the analogies whose answer is among `only`, default all, in their order."""
    z, composites = space.latents, []
    for (i, j), (target, baseline, featured) in zip(analogies.pairs, analogies.sources()):
        if only is not None and j not in only:
            continue
        if attribute is None:
            composites.append(z[target])
            continue
        known = [(cat, human) for k, (cat, human) in enumerate(zip(analogies.cats, analogies.humans)) if k != j]
        composites.append(z[target] + arithmetic.ATTRIBUTES[attribute](z, target, baseline, featured, known))
    return space.decode(torch.stack(composites))


def trained_spaces(config: Config, faces: data.Originals, seed: int, hold_out: list[str], device) -> dict[str, Space]:
    """The spaces of both presets' networks and of PCA, all fitted without the emoji in `hold_out`."""
    spaces = {"pixels": arithmetic.pixel_space(faces.images)}
    for preset in ("report", "best"):
        name = f"{preset}-seed{seed}" + "".join(f"-without-{name.replace(' ', '_')}" for name in hold_out[:1])
        folder = config.out / "networks" / name
        part1 = autoencoder.Config(
            source=faces.source, preset=preset, seed=seed, hold_out=tuple(hold_out), epochs=config.epochs, steps=config.steps,
            refine_steps=0, latent=config.latent, device=config.device, out=folder, plots=folder, resume=records.unfinished(folder),
        )  # fmt: skip
        if not (folder / "metrics.json").exists():
            print(f"training {folder}")
            autoencoder.main(part1)
        model, trained_on = composite.trained(folder, faces.source, config.latent)
        splits = data.split(data.without(faces, trained_on.hold_out), trained_on)
        seen = {splits.originals.names[i] for i in splits.train.emoji}
        if seen & set(hold_out) or set(trained_on.hold_out) != set(hold_out):
            raise UserError(f"{folder} was trained on emoji that should be held out; delete it and run again")
        if other := records.differences(folder, records.described(part1, faces.source)):
            raise UserError(f"{folder} holds a network with other options ({other}); delete it, or give another --out")
        spaces[preset] = composite.network_space(model.to(device), faces.images, device)
    return {**spaces, "PCA": arithmetic.pca_space(faces.images, baselines.fit_pca(splits.train.images, config.latent))}


def drawn_space(faces: data.Originals, analogies: Analogies, hold_out: list[int], latent: int) -> Space:
    """A PCA in which humans count as cats by a map fitted without the cats at the positions `hold_out`."""
    known = [(analogies.cats[k], analogies.humans[k]) for k in range(len(analogies.cats)) if k not in hold_out]
    names = list(TWINS)
    training = data.without(faces, [names[k] for k in hold_out])
    place = {original: row for row, original in enumerate(i for i, name in enumerate(faces.names) if name in training.names)}
    fitted = twins.fit(training.images, [(place[cat], place[human]) for cat, human in known], latent)
    latents = fitted.encode(data.to_float(faces.images))
    latents[analogies.humans] = fitted.as_cats(latents[analogies.humans])
    return Space(latents, fitted.decode)


def composites_of(groups: list[list[int]], spaces_without: Callable, analogies: Analogies) -> dict[str, torch.Tensor]:
    """Each method's (72, 3, H, W) composites, for the methods whose space is among `spaces_without(group)`.

    The answers of each group come from spaces that were fitted without it.
    """
    result = {}
    for group in groups:
        rows = [row for row, (_, j) in enumerate(analogies.pairs) if j in group]
        spaces = spaces_without(group)
        for name, space, attribute in METHODS:
            if space in spaces:
                pictures = compose(spaces[space], analogies, attribute, group)
                result.setdefault(name, torch.empty(len(analogies.pairs), *pictures.shape[1:]))[rows] = pictures
    return result


def score(pictures: torch.Tensor, pool: data.Originals, analogies: Analogies) -> tuple[list[int], float]:
    """The rank of every answer in `pool`, and the mean MSE to the answers."""
    errors = arithmetic.squared_errors(pictures, pool.images)
    answers = analogies.answers()
    return arithmetic.ranks(errors, answers, analogies.sources()), errors[range(len(answers)), answers].mean().item()


def benchmark(config: Config, pools: dict[str, data.Originals], analogies: dict[str, Analogies], device) -> dict:
    """Score every method, print the table and draw the sheets. Returns the metrics."""
    faces, everything = pools.values()
    rows, sheets = [], {}
    cats, everyone = list(TWINS), list(range(len(TWINS)))
    for held_out in (False, True):
        scores = {(name, pool): [] for name, _, _ in METHODS for pool in pools}

        def drawn(group: list[int]) -> dict[str, Space]:
            return {"drawn": drawn_space(faces, analogies["faces"], group if held_out else [], config.latent)}

        def trained(group: list[int]) -> dict[str, Space]:
            return trained_spaces(config, faces, seed, [cats[k] for k in group] if held_out else [], device)

        # Nothing is random in the drawn twins: they are the same for every seed.
        unseeded = composites_of([[k] for k in everyone] if held_out else [everyone], drawn, analogies["faces"])
        for seed in range(config.seeds):
            seeded = composites_of(folds() if held_out else [everyone], trained, analogies["faces"])
            for name, pictures in {**seeded, **unseeded}.items():
                for pool, originals in pools.items():
                    scores[name, pool].append(score(pictures, originals, analogies[pool]))
                if name == SHOWN[held_out] and seed == 0:
                    sheets[held_out] = pictures, [rank == 1 for rank in scores[name, "faces"][0][0]]
        for (name, pool), seeds in scores.items():
            top1 = [np.mean(np.array(ranks) == 1) for ranks, _ in seeds]
            rows.append(
                {
                    "method": name,
                    "held_out": held_out,
                    "pool": pool,
                    "top1_mean": float(np.mean(top1)),
                    "top1_std": float(np.std(top1, ddof=1)),
                    "mrr_mean": float(np.mean([np.mean(1 / np.array(ranks)) for ranks, _ in seeds])),
                    "mse_to_truth": float(np.mean([mse for _, mse in seeds])),
                    "seeds": config.seeds,
                }
            )

    print(f"{len(analogies['faces'].pairs)} analogies, {config.seeds} seeds; top-1 and mean reciprocal rank among")
    print(f"{'':38} {'answers':9} {len(faces.names)} faces: top-1  MRR   {len(everything.names)} pictures: top-1  MRR   MSE")
    by_key = {(row["method"], row["held_out"], row["pool"]): row for row in rows}
    for name, _, _ in METHODS:
        for held_out in (False, True):
            face, whole = by_key[name, held_out, "faces"], by_key[name, held_out, "all"]
            print(
                f"{name:38} {'held out' if held_out else 'seen':9} "
                f"{face['top1_mean']:10.3f}±{face['top1_std']:.3f} {face['mrr_mean']:.3f} "
                f"{whole['top1_mean']:18.3f}±{whole['top1_std']:.3f} {whole['mrr_mean']:.3f} {face['mse_to_truth']:.4f}"
            )
    pictures_of_cats = data.to_float(faces.images[analogies["faces"].cats])
    for held_out, (pictures, right) in sheets.items():
        path = config.plots / f"analogies_{'held_out' if held_out else 'seen'}.png"
        print("figure", figures.analogy_sheet(pictures_of_cats, pictures, analogies["faces"].pairs, right, path))
    return {"source": everything.source, "analogies": len(analogies["faces"].pairs), "rows": rows}


def main(config: Config) -> dict:
    """Run and record the benchmark. Returns the metrics that go into metrics.json."""
    device = training.choose_device(config.device)
    everything = data.load_originals(config.source, keyword="")
    pools = {"faces": data.matching(everything, data.DataConfig().keyword), "all": everything}
    analogies = {pool: find_analogies(originals.names) for pool, originals in pools.items()}
    with records.recording(config, everything, device) as record:
        return record.finish(benchmark(config, pools, analogies, device))


if __name__ == "__main__":
    cli.run(main, Config)
