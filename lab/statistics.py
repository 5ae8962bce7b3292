"""What a few numbers can show: intervals, corrections for many questions, and the spread of a script over seeds."""

from typing import Sequence

import numpy as np


def mean_and_interval(values: Sequence[float], test_to_train: float = 0.0) -> tuple[float, float]:
    """Mean of a few values and half the width of its 95% interval (Student's t).
    Splits of the same emoji share most of their training set, so their results are not independent, and a plain
    interval is too narrow. `test_to_train`, the size of a test set to that of a training set, corrects for it: the
    corrected resampled t-test, Nadeau and Bengio 2003, "Inference for the generalization error"."""
    from scipy import stats  # takes half a second to import

    values = np.asarray(values)
    variance = values.var(ddof=1) * (1 / len(values) + test_to_train)
    return float(values.mean()), float(stats.t.ppf(0.975, len(values) - 1) * variance**0.5)


def bootstrap_interval(values: Sequence[float]) -> list[float]:
    """95% interval of the mean of a few values, by resampling them (percentiles): it stays within their range."""
    from scipy import stats

    found = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=0)
    return [float(bound) for bound in found.confidence_interval]


def balanced_accuracy_interval(labels: np.ndarray, correct: np.ndarray, seed: int, prior: float = 0.5) -> list[float]:
    """95% interval of the balanced accuracy: the mean of the classes' recalls, each with a prior of Beta(prior, prior).
    Brodersen et al. 2010, "The balanced accuracy and its posterior distribution", take a flat prior, 1. For few emoji
    and high recalls it covers the truth too seldom, Jeffreys' about as often as it should (Brown, Cai and DasGupta
    2001). `correct`, (N,) in [0, 1], may be a mean over repeated folds: repeating does not make more emoji of them."""
    random = np.random.default_rng(seed)
    members = [correct[labels == k] for k in np.unique(labels)]
    recalls = [random.beta(prior + each.sum(), prior + (1 - each).sum(), 100_000) for each in members]
    return np.quantile(np.mean(recalls, axis=0), (0.025, 0.975)).tolist()


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number: Holm 1979, "A simple sequentially rejective multiple test procedure"."""
    order, adjusted = np.argsort(p_values), np.empty(len(p_values))
    times = np.arange(len(p_values), 0, -1)  # the smallest p is multiplied by their number
    adjusted[order] = np.maximum.accumulate(np.minimum(times * np.take(p_values, order), 1))
    return adjusted.tolist()


def flat_numbers(metrics: dict, prefix: str = "") -> dict[str, float]:
    """The numbers of a record; those in a dictionary have its name and a dot before theirs."""
    found = {}
    for name, value in metrics.items():
        if isinstance(value, dict):
            found |= flat_numbers(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[f"{prefix}{name}"] = value
    return found


def spread(metrics: list[dict]) -> dict:
    """The values of every number over some runs, their means and standard deviations."""
    numbers = [flat_numbers(each) for each in metrics]
    values = {name: [each[name] for each in numbers] for name in numbers[0] if all(name in each for each in numbers)}
    means = {name: float(np.mean(each)) for name, each in values.items()}
    deviations = {name: float(np.std(each, ddof=1)) for name, each in values.items()}
    return {"n": len(numbers), "values": values, "mean": means, "std": deviations}
