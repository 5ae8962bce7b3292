"""Happy or sad: which emoji belong to a class, folds that test each of them once, and what a few of them can show."""

from typing import Protocol

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

import data
from common.errors import UserError
from common.threads import one_blas_thread
from lab import baselines

CLASSES = {  # as in the original: an emoji belongs to the class of which its description contains a phrase
    "happy": ("happy face", "grinning face", "smiling face"),
    "sad": ("sad face", "crying face", "frowning face"),
}
FOLDS = 5


class Copying(Protocol):
    """The options by which folds are made and their images copied."""

    copies: int | str
    augment: str
    seed: int


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


def folds(originals: data.Originals, labels: torch.Tensor, config: Copying) -> list[data.Splits]:
    """Stratified folds over names: every emoji, with all its copies, is in the test set of exactly one."""
    keys = originals.keys
    class_of_key = dict(zip(keys, labels.tolist()))
    distinct = sorted(class_of_key)
    divider = StratifiedKFold(FOLDS, shuffle=True, random_state=data.seed_for("folds", config.seed) % 2**32)
    nothing = data.expand(originals, torch.tensor([], dtype=torch.int64), config, "val")
    result = []
    for k, (_, test) in enumerate(divider.split(distinct, [class_of_key[key] for key in distinct])):
        tested = torch.tensor([key in {distinct[i] for i in test} for key in keys])
        train_part, test_part = (
            data.expand(originals, chosen.nonzero().flatten(), config, f"fold {k} {part}")
            for chosen, part in ((~tested, "train"), (tested, "test"))
        )
        # The original's recipe chooses nothing, so nothing is spent on validation.
        result.append(data.Splits(originals, train_part, nothing, test_part))
    return result


def per_emoji(probability: torch.Tensor, part: data.Part, count: int) -> torch.Tensor:
    """(count,) mean probability over the images of each emoji; 0 for emoji that are not in `part`."""
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, part.emoji, probability.double())
    return sums / part.emoji.bincount(minlength=count).clamp(min=1)


@one_blas_thread
def regression_probability(splits: data.Splits, labels: torch.Tensor) -> torch.Tensor:
    """(N,) probabilities of sad for the test images, by a logistic regression on the pixels of the training images."""
    regression = LogisticRegression(max_iter=1000)
    regression.fit(baselines.flatten(splits.train.images), labels[splits.train.emoji].numpy())
    return torch.from_numpy(regression.predict_proba(baselines.flatten(splits.test.images))[:, 1])


def interval(labels: np.ndarray, correct: np.ndarray, seed: int) -> tuple[float, float]:
    """95% interval of the balanced accuracy: the mean of two Beta-distributed recalls under a flat prior.

    Brodersen et al. 2010, "The balanced accuracy and its posterior distribution". `correct` may be a mean over
    repeated folds, in [0, 1] per emoji: repeating does not make more emoji of them.
    """
    random = np.random.default_rng(seed)
    recalls = [
        random.beta(1 + correct[labels == k].sum(), 1 + (1 - correct[labels == k]).sum(), 100_000)
        for k in range(len(CLASSES))
    ]
    low, high = np.quantile(np.mean(recalls, axis=0), (0.025, 0.975))
    return float(low), float(high)
