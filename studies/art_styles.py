"""What other artists' pictures do for the best preset: unseen emoji of each style in training, and of one never seen.

No times are compared here, so the runs go side by side, one thread each.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from common.sources import SOURCES
from studies.processes import BEST, EMOJI, Bench

STYLES = tuple(name for name, source in SOURCES.items() if name != "hub" and source.licence)  # whose art may be shown
ERRORS = ("test_mse", "refined_mse", "pca_mse")


def require() -> None:
    """Raise UserError if a style's package is missing, before an hour is spent. Renders drawings, once for all runs."""
    for style in STYLES:
        SOURCES[style].rows()


def measure(bench: Bench, seeds: int, steps: int | None, workers: int) -> dict:
    """Errors on unseen emoji, after `steps` or as many as the preset takes.

    By style, a list over the split seeds, with all styles in training; and of seed 0 in each style where that one is in
    no training. PCA is fitted on the pictures that the network saw.
    """
    print("art styles, unseen emoji")
    budget = () if steps is None else ("--steps", str(steps))
    _, *others = STYLES  # a run is of the first one, if it does not say otherwise
    runs = {f"styles-{seed}": ("--also", *others, "--seed", str(seed)) for seed in range(seeds)}
    for style in STYLES:
        source, *also = (other for other in STYLES if other != style)
        runs[f"without-{style}"] = ("--source", source, "--also", *also, "--hold-out-style", style)
    side_by_side = replace(bench, environment={**bench.environment, "OMP_NUM_THREADS": "1"})
    with ThreadPoolExecutor(workers) as pool:
        made = pool.map(lambda run: side_by_side.ours(run[0], *EMOJI, *BEST, *budget, *run[1]), runs.items())
        found = {name: metrics["styles"] for name, metrics in zip(runs, made)}
    seen = [found[f"styles-{seed}"] for seed in range(seeds)]
    return {
        "in_training": {s: {name: [run[s][name] for run in seen] for name in ERRORS} for s in STYLES},
        "never_seen": {s: {name: found[f"without-{s}"][s][name] for name in ERRORS} for s in STYLES},
    }


def lines(styles: dict) -> list[str]:
    """A line for each style: the network's error as a part of PCA's, by the encoder alone and refined."""
    texts = []
    for style, errors in styles["in_training"].items():
        parts = [
            f"{name} {', '.join(f'{ours / pca:.2f}' for ours, pca in zip(errors[metric], errors['pca_mse']))} of PCA's"
            for name, metric in (("encoder alone", "test_mse"), ("refined", "refined_mse"))
        ]
        texts.append(f"{style}, in training: {'; '.join(parts)}")
    for style, e in styles["never_seen"].items():
        alone, refined = e["test_mse"] / e["pca_mse"], e["refined_mse"] / e["pca_mse"]
        texts.append(f"{style}, never seen: encoder alone {alone:.2f}, refined {refined:.2f} of PCA's")
    return texts
