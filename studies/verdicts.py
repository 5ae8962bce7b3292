"""What came out of an experiment: verdicts on the hypotheses, and means and spreads of the settings."""

from dataclasses import asdict

from scipy import stats

from lab import baselines
from studies.hypotheses import BUDGETS, Hypothesis, Trial

TEST_TO_TRAIN = 1 / 4  # of five folds

# A trial's metrics: numbers, and lists over the steps at which it was tested.
CURVES = ("mse", "copies_mse", "train_mse", "unseen_style_mse", "balanced_accuracy")


def verdict(low: float, high: float, expected: str) -> str:
    """Of the 95% interval of a difference: supported if on the expected side of 0, contradicted if on the other."""
    if low <= 0 <= high:
        return "undecided"
    return "supported" if (low > 0) == (expected == "higher") else "contradicted"


def at(metrics: dict, steps: int) -> dict:
    """A trial's numbers after so many steps, with the gap between unseen and training emoji."""
    place = metrics["steps"].index(steps)
    then = {name: values[place] if name in CURVES and values else values for name, values in metrics.items()}
    then.pop("steps")
    return {**then, "gap": then["mse"] - then["train_mse"]}


def compared(hypothesis: Hypothesis, differences: list[float]) -> dict:
    """The mean of paired differences over the seeds, its intervals, the two-sided p, and the verdicts.

    The interval is corrected for the training emoji that folds share; the `plain_` one is not.
    """
    outcome = {"differences": differences}
    for prefix, test_to_train in (("plain_", 0.0), ("", TEST_TO_TRAIN)):
        mean, half = baselines.mean_and_interval(differences, test_to_train)
        low, high = mean - half, mean + half
        outcome |= {f"{prefix}interval": [low, high], f"{prefix}verdict": verdict(low, high, hypothesis.expected)}
    freedom = len(differences) - 1
    error = half / stats.t.ppf(0.975, freedom)
    p = 2 * stats.t.sf(abs(mean) / error, freedom) if error else float(mean == 0)
    return {**outcome, "mean": mean, "p": float(p)}


def judge(hypothesis: Hypothesis, values: dict[str, list[dict]]) -> dict:
    """The verdict on a hypothesis after the most steps, and on the way there.

    `values` are the metrics of the trials, in the order of the seeds, by setting.
    """
    marks = values[hypothesis.setting][0]["steps"]
    steps = sorted({*(budget for budget in BUDGETS if budget in marks), marks[-1]})
    by_steps = {}
    for k in steps:
        ours, reference = (values[setting] for setting in (hypothesis.setting, hypothesis.reference))
        pairs = zip(ours, reference, strict=True)
        differences = [at(a, k)[hypothesis.metric] - at(b, k)[hypothesis.metric] for a, b in pairs]
        by_steps[str(k)] = compared(hypothesis, differences)
    return {**asdict(hypothesis), **by_steps[str(steps[-1])], "by_steps": by_steps}


def row(setting: str, trial: Trial, values: list[dict]) -> dict:
    """A setting's line in the record: its values after the most steps, over the seeds, and its curves.

    `values` are the metrics of its trials; None stands for what was not taught.
    """
    steps = values[0]["steps"]
    ends = [at(metrics, steps[-1]) for metrics in values]
    curves = [name for name in CURVES if values[0].get(name)]
    return {
        "setting": setting,
        "trial": {field: value for field, value in trial.recorded().items() if field != "seed"},
        "values": {name: [end[name] for end in ends] for name in ends[0]},
        "steps": steps,
        "curves": {name: [[round(value, 5) for value in one[name]] for one in values] for name in curves},
    }
