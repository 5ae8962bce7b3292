"""Happy or sad: which emoji belong to a class, folds that test each of them once, and what a few of them can show."""

from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import data
from common.errors import UserError
from common.threads import one_blas_thread
from lab import baselines, presets, training
from lab.multitask import MultiTaskLoss

CLASSES = {  # as in the original: an emoji belongs to the class of which its description contains a phrase
    "happy": ("happy face", "grinning face", "smiling face"),
    "sad": ("sad face", "crying face", "frowning face"),
}
FOLDS = 5
PRIOR = 0.5  # of a recall: Jeffreys' Beta(1/2, 1/2)


class Copying(Protocol):
    """The options by which folds are made and their images copied."""

    copies: int | str
    augment: str
    seed: int
    hold_out_style: str | None


def class_of(name: str) -> int | None:
    """0 for happy, 1 for sad, None for neither. Raises UserError for a name that is both."""
    found = [k for k, phrases in enumerate(CLASSES.values()) if any(phrase in name for phrase in phrases)]
    if len(found) > 1:
        raise UserError(f"{name!r} matches both classes, {' and '.join(CLASSES)}; rename it or narrow --keyword")
    return found[0] if found else None


def classify(originals: data.Originals) -> tuple[data.Originals, torch.Tensor]:
    """The originals that belong to a class, and their (N,) int64 labels. Raises UserError for an empty class."""
    labels = [class_of(name) for name in originals.names]
    kept = [i for i, label in enumerate(labels) if label is not None]
    chosen = data.take(originals, kept)
    labels = torch.tensor([labels[i] for i in kept], dtype=torch.int64)
    require_members(chosen, labels, 1)
    return chosen, labels


def require_members(originals: data.Originals, labels: torch.Tensor, fewest: int) -> None:
    """Raise UserError for a class with fewer than `fewest` different emoji; twins and like pictures are one."""
    class_of_key = dict(zip(originals.keys, labels.tolist()))
    for k, (class_name, phrases) in enumerate(CLASSES.items()):
        names = [key for key, label in class_of_key.items() if label == k]
        if len(names) < fewest:
            found = ", ".join(sorted(names)) or "none"
            looked_for = f"it looks for {' / '.join(phrases)}"
            raise UserError(f"class {class_name} has {len(names)} emoji ({found}) and needs {fewest}; {looked_for}")


def fold_count(originals: data.Originals, labels: torch.Tensor) -> int:
    """FOLDS, or as many as the smallest class has different emoji."""
    class_of_key = dict(zip(originals.keys, labels.tolist()))
    return min(FOLDS, *(list(class_of_key.values()).count(k) for k in range(len(CLASSES))))


def folds(originals: data.Originals, labels: torch.Tensor, config: Copying, count: int = FOLDS) -> list[data.Splits]:
    """Stratified folds over names: every emoji, with all its copies in all styles, is in the test set of exactly one.

    A style that `config` holds out is tested in every fold and trained on in none.
    """
    keys = originals.keys
    class_of_key = dict(zip(keys, labels.tolist()))
    distinct = sorted(class_of_key)
    divider = StratifiedKFold(count, shuffle=True, random_state=data.seed_for("folds", config.seed) % 2**32)
    result = []
    for k, (_, test) in enumerate(divider.split(distinct, [class_of_key[key] for key in distinct])):
        tested = {i for i, key in enumerate(keys) if key in {distinct[j] for j in test}}
        held_out = originals.related(tested) | {*originals.of_style(config.hold_out_style).tolist()}

        def part(name: str, chosen: set[int], style: str = originals.source) -> data.Part:
            label = data.named_part(f"fold {k} {name}", style, originals)
            return data.expand(originals, torch.tensor(sorted(chosen), dtype=torch.int64), config, label)

        tests = {
            style: part("test", tested & {*originals.of_style(style).tolist()}, style)
            for style in dict.fromkeys(originals.styles)
        }
        # The original's recipe chooses nothing, so nothing is spent on validation.
        train, nothing = part("train", {*range(len(keys))} - held_out), part("val", set())
        result.append(data.Splits(originals, train, nothing, tests.pop(originals.source), tests))
    return result


def fold_of_seed(originals: data.Originals, labels: torch.Tensor, config: Copying) -> data.Splits:
    """One fold: seed s tests fold s mod 5 of the s // 5-th division, so that five seeds test every emoji once."""
    division = replace(config, seed=config.seed // FOLDS)
    return folds(originals, labels, division)[config.seed % FOLDS]


def fit(
    splits: data.Splits, labels: torch.Tensor, config, device: torch.device, record, run: dict | None = None
) -> tuple[presets.Trained, dict[str, float]]:
    """A trained network with a classifier, and its losses on the test set."""
    loss_function = MultiTaskLoss(labels, config.classification_weight)
    trained = presets.fit(config, splits, device, record, loss_function, len(CLASSES), run)
    return trained, training.evaluate(trained.model, splits.test, loss_function, device)


def baseline_errors(trained: presets.Trained, splits: data.Splits, config) -> dict[str, float]:
    """Test MSEs of the mean image and of a PCA of the training images: the best preset's start saw no exact copies."""
    own = config.preset == "report"
    return baselines.errors(trained.pca if own else baselines.fit_pca(splits.train.images, config.latent), splits.test)


def per_emoji(probability: torch.Tensor, part: data.Part, count: int) -> torch.Tensor:
    """(count,) mean probability over the images of each emoji; 0 for emoji that are not in `part`."""
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, part.emoji, probability.double())
    return sums / part.emoji.bincount(minlength=count).clamp(min=1)


@one_blas_thread
def fit_regression(train: data.Part, labels: torch.Tensor) -> LogisticRegression:
    """A logistic regression on the pixels of the training images; `labels` are one per original."""
    return LogisticRegression(max_iter=1000).fit(baselines.flatten(train.images), labels[train.emoji].numpy())


@one_blas_thread
def regression_probability(regression: LogisticRegression, images: torch.Tensor) -> torch.Tensor:
    """(N,) probabilities of sad, from (N, 3, 64, 64) images."""
    return torch.from_numpy(regression.predict_proba(baselines.flatten(images))[:, 1])


def in_the_plane(latents: torch.Tensor, fitted_to: torch.Tensor) -> torch.Tensor:
    """(N, 2): (N, d) latents along the first two principal components of those at `fitted_to`."""
    pca = PCA(min(2, latents.shape[1]), svd_solver="full").fit(latents[fitted_to].numpy())
    points = pca.transform(latents.numpy())
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))  # a latent of one number has no second component
    return torch.from_numpy(points)


@one_blas_thread
def linear_probe(latents: torch.Tensor, labels: torch.Tensor, train: torch.Tensor, test: torch.Tensor) -> float:
    """Balanced accuracy on the emoji at `test` of a logistic regression on the latents of those at `train`.

    `latents` are (N, d), one per emoji, and are standardised by the mean and spread of those at `train`.
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(latents[train].numpy(), labels[train].numpy())
    return float(balanced_accuracy_score(labels[test].numpy(), probe.predict(latents[test].numpy())))


def interval(labels: np.ndarray, correct: np.ndarray, seed: int, prior: float = PRIOR) -> tuple[float, float]:
    """95% interval of the balanced accuracy: the mean of two recalls, each with a prior of Beta(`prior`, `prior`).

    Brodersen et al. 2010, "The balanced accuracy and its posterior distribution", take a flat prior, 1. Of
    so few emoji it holds the truth too seldom where recalls are high, Jeffreys' about as often as it should (Brown, Cai
    and DasGupta 2001). `correct` may be a mean over repeated folds, in [0, 1] per emoji: repeating does not make more
    emoji of them.
    """
    random = np.random.default_rng(seed)
    recalls = [
        random.beta(prior + correct[labels == k].sum(), prior + (1 - correct[labels == k]).sum(), 100_000)
        for k in range(len(CLASSES))
    ]
    low, high = np.quantile(np.mean(recalls, axis=0), (0.025, 0.975))
    return float(low), float(high)
