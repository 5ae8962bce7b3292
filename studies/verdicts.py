"""What came out of an experiment: verdicts on the hypotheses, and means and spreads of the settings."""

from dataclasses import asdict

import numpy as np

from lab import baselines
from studies.hypotheses import Hypothesis, Trial


TEST_TO_TRAIN = 1 / 4  # of five folds


def verdict(low: float, high: float, expected: str) -> str:
    """Of the 95% interval of a difference: supported if on the expected side of 0, contradicted if on the other."""
    if low <= 0 <= high:
        return "undecided"
    return "supported" if (low > 0) == (expected == "higher") else "contradicted"


def judge(hypothesis: Hypothesis, values: dict[str, dict[str, list]]) -> dict:
    """The paired differences over the seeds and the verdict; `values` are lists over the seeds, by setting and metric.

    One contradicted comparison contradicts the hypothesis, all must be supported to support it. The intervals are
    corrected for the training emoji that folds share; the `plain_` ones are not.
    """
    comparisons = []
    for comparison in hypothesis.comparisons:
        ours, reference = (values[setting][comparison.metric] for setting in (comparison.setting, comparison.reference))
        differences = [a - b for a, b in zip(ours, reference)]
        outcome = {"differences": differences, "mean": float(np.mean(differences))}
        for prefix, test_to_train in (("", TEST_TO_TRAIN), ("plain_", 0.0)):
            mean, half = baselines.mean_and_interval(differences, test_to_train)
            low, high = mean - half, mean + half
            outcome |= {f"{prefix}interval": [low, high], f"{prefix}verdict": verdict(low, high, comparison.expected)}
        comparisons.append({**asdict(comparison), **outcome})
    verdicts = {comparison["verdict"] for comparison in comparisons}
    whole = next((one for one in ("contradicted", "undecided") if one in verdicts), "supported")
    return {"letter": hypothesis.letter, "text": hypothesis.text, "verdict": whole, "comparisons": comparisons}


def row(setting: str, trial: Trial, metrics: dict[str, list]) -> dict:
    """A setting's line in the record; `metrics` are lists over the seeds, with None for what was not taught."""
    taught = {name: values for name, values in metrics.items() if None not in values}
    return {
        "setting": setting,
        "trial": {field: value for field, value in asdict(trial).items() if field != "seed"},
        "values": metrics,
        "mean": {name: float(np.mean(taught[name])) if name in taught else None for name in metrics},
        "spread": {name: float(np.std(taught[name], ddof=1)) if name in taught else None for name in metrics},
    }
