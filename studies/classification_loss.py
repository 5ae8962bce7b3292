"""Question 2e: what the classification loss does to reconstructions and latents, from pairs of networks with and
without it."""

from dataclasses import dataclass, replace

import numpy as np
import torch

import data
from common.splitting import SPLIT
from lab import baselines, classification
from lab.contract import encode_all

# the size of a test set to that of a training set: in the original's order, and in folds of the emoji
TEST_TO_TRAIN = {"report": SPLIT[2] / SPLIT[0], "emoji": 1 / (classification.FOLDS - 1)}


@dataclass(frozen=True)
class Pair:
    """What two networks of one seed leave: with the classification loss and without, else alike."""

    seen: torch.Tensor  # indices of the training emoji
    held_out: torch.Tensor  # of the test emoji
    test_mse: list[float]
    latents: list[torch.Tensor]  # (N, d) of all originals
    pca_mse: float


def train_pair(originals: data.Originals, labels: torch.Tensor, config, device: torch.device, record) -> Pair:
    """Train both on the images that `config` says: in the original's order, or on all folds of the emoji but one."""
    unseen = config.split == "emoji"
    splits = classification.fold_of_seed(originals, labels, config) if unseen else data.split(originals, config)
    errors, latents = [], []
    for weight in (config.classification_weight, 0.0):
        run = {"split": config.split, "seed": config.seed, "classification_weight": weight}
        weighted = replace(config, classification_weight=weight, compare=False)
        trained, test = classification.fit(splits, labels, weighted, device, record, run)
        errors.append(test["mse"])
        latents.append(encode_all(trained.model, originals.images, device))
    pca_mse = classification.baseline_errors(trained, splits, config)["pca_mse"]
    print(f"{config.split} order, seed {config.seed}: test MSE {errors[0]:.4f} with, {errors[1]:.4f} without; "
          f"PCA {pca_mse:.4f}")  # fmt: skip
    return Pair(splits.train.emoji.unique(), splits.test.emoji.unique(), errors, latents, pca_mse)


def compare(originals, labels, config, device, record) -> tuple[dict, Pair]:
    """Metrics of `config.seeds` pairs in the original's order and on unseen emoji, and the first pair of the latter.

    On unseen emoji a linear probe asks of each latent how well it parts the classes of the emoji held out.
    """
    seeds = range(config.seed, config.seed + config.seeds)
    metrics = {}
    for order, test_to_train in TEST_TO_TRAIN.items():
        configs = [replace(config, split=order, seed=seed) for seed in seeds]
        pairs = [train_pair(originals, labels, seeded, device, record) for seeded in configs]
        metrics[order] = paired("test_mse", [pair.test_mse for pair in pairs], test_to_train)
        metrics[order]["pca_mse"] = float(np.mean([pair.pca_mse for pair in pairs]))
    probes = [
        [classification.linear_probe(latents, labels, pair.seen, pair.held_out) for latents in pair.latents]
        for pair in pairs
    ]
    probe = paired("balanced_accuracy", probes, test_to_train)
    return {"seeds": config.seeds, "compare": metrics, "linear_probe": probe}, pairs[0]


def paired(quantity: str, pairs: list[list[float]], test_to_train: float) -> dict:
    """Means of a quantity with and without the classification loss, from a pair per seed, and their differences.

    The interval is corrected for the training emoji that the seeds share; also printed.
    """
    joint, alone = np.mean(pairs, axis=0).tolist()
    differences = [one - other for one, other in pairs]
    (mean, half), (_, plain_half) = (baselines.mean_and_interval(differences, part) for part in (test_to_train, 0.0))
    low, high = mean - half, mean + half
    print(f"{quantity.replace('_', ' ')}: {joint:.4f} with, {alone:.4f} without; "
          f"difference {mean:+.4f}, 95% interval {low:+.4f} to {high:+.4f}")  # fmt: skip
    return {
        f"{quantity}_with": joint,
        f"{quantity}_without": alone,
        "differences": differences,
        "difference_mean": mean,
        "difference_std": float(np.std(differences, ddof=1)),
        "difference_interval": [low, high],
        "difference_plain_interval": [mean - plain_half, mean + plain_half],
    }
