"""What came out of an experiment: verdicts on its hypotheses, and means and spreads of its settings, as text.

A trial's metrics are numbers, and lists over the steps at which it was tested (CURVES)."""

from dataclasses import asdict
from typing import Sequence

import numpy as np

from lab.statistics import holm, mean_and_interval
from studies.hypotheses import Hypothesis

TEST_TO_TRAIN = {"unseen": 1 / 4, "coursework": 1 / 3}  # sizes of five folds, and of 60/20/20
CURVES = ("mse", "copies_mse", "train_mse", "unseen_style_mse", "balanced_accuracy")
METRICS = {  # what is judged, and the columns of a table
    "mse": "MSE",
    "pca_mse": "PCA's MSE",
    "copies_mse": "MSE on augmented copies",
    "train_mse": "training MSE",
    "gap": "gap",
    "unseen_style_mse": "MSE on an unseen style",
    "unseen_style_pca_mse": "PCA's MSE there",
    "balanced_accuracy": "balanced accuracy",
    "probe_accuracy": "balanced accuracy of a linear probe",
}


def at_end(metrics: dict) -> dict:
    """A trial's numbers after its last step, with the gap between unseen and training emoji."""
    end = {name: values[-1] if name in CURVES and values else values for name, values in metrics.items()}
    return {name: value for name, value in end.items() if name != "steps"} | {"gap": end["mse"] - end["train_mse"]}


def compare(differences: list[float], expected: str, test_to_train: float) -> dict:
    """The mean of paired differences over the seeds, its interval, the two-sided p, and the verdict of this one alone:
    supported if the interval is on the expected side of 0, contradicted if on the other.
    The interval is corrected for the training emoji that folds or splits share (see `mean_and_interval`)."""
    from scipy import stats  # takes half a second to import

    mean, half = mean_and_interval(differences, test_to_train)
    freedom, found = len(differences) - 1, "supported" if (mean > 0) == (expected == "higher") else "contradicted"
    error = half / stats.t.ppf(0.975, freedom)
    p = 2 * stats.t.sf(abs(mean) / error, freedom) if error else float(mean == 0)
    outcome = {"differences": differences, "interval": [mean - half, mean + half], "mean": mean, "p": float(p)}
    return {**outcome, "verdict": found if abs(mean) > half else "undecided"}


def judge(hypothesis: Hypothesis, values: dict[str, list[dict]], split: str = "unseen") -> dict:
    """The verdict on a hypothesis. `values` are the metrics of the trials, in the order of the seeds, by setting."""
    pairs = zip(values[hypothesis.setting], values[hypothesis.reference], strict=True)
    differences = [at_end(ours)[hypothesis.metric] - at_end(other)[hypothesis.metric] for ours, other in pairs]
    verdict = compare(differences, hypothesis.expected, TEST_TO_TRAIN[split])
    return {**asdict(hypothesis), "label": METRICS[hypothesis.metric]} | verdict


def summary(setting: str, trial: dict, values: list[dict]) -> dict:
    """A setting's row in the record: its values after the last step, over the seeds, and its curves.
    `trial` are its options; `values` the metrics of its trials, where None stands for what was not taught."""
    first, ends = values[0], [at_end(metrics) for metrics in values]
    return {
        "setting": setting,
        "trial": {name: value for name, value in trial.items() if name != "seed"},
        "values": {name: [end[name] for end in ends] for name in ends[0]},
        "steps": first["steps"],
        "curves": {name: np.round([one[name] for one in values], 5).tolist() for name in CURVES if first.get(name)},
    }


def corrected(hypotheses: Sequence[dict]) -> list[dict]:
    """All hypotheses that were asked, with the p that Holm's correction leaves and the verdict that it allows."""
    return [
        {**judged, "holm_p": p, "holm_verdict": judged["verdict"] if p < 0.05 else "undecided"}
        for judged, p in zip(hypotheses, holm([judged["p"] for judged in hypotheses]))
    ]


def comparison(judged: dict) -> str:
    """What was compared and what it gave: the difference and its corrected interval."""
    digits = 3 if "accuracy" in judged["metric"] else 4
    low, high = (f"{bound:+.{digits}f}" for bound in judged["interval"])
    metric, setting, reference = METRICS[judged["metric"]], judged["setting"], judged["reference"]
    return f"{metric}, “{setting}” minus “{reference}”: {judged['mean']:+.{digits}f} [{low}, {high}]"


def verdict_list(hypotheses: list[dict]) -> str:
    """Hypotheses as `corrected` gives them, as a Markdown list: what was compared, and the verdict that counts."""
    lines = []
    for one in hypotheses:
        counts, alone = one["holm_verdict"], one["verdict"]
        verdict = f"**{counts}**" if counts != "undecided" else counts
        verdict += f" (uncorrected: {alone})" if alone != counts else ""
        claim = f"*{one['text'][0].upper()}{one['text'][1:]}* ({one['letter']})"
        lines.append(f"- {claim}. {comparison(one)}, {verdict}.")
    return "\n".join(lines)


def labelled(rows: list[dict]) -> list[dict]:
    """A record's rows, whose settings say how many components PCA had where that is not the latent's size."""
    sizes = [sorted({*row["values"].get("pca_components", [])} - {row["trial"].get("latent")}) for row in rows]
    labels = [f" (PCA: k = {' or '.join(map(str, size))})" if size else "" for size in sizes]
    return [row | {"setting": row["setting"] + label} for row, label in zip(rows, labels)]


def cell(name: str, values: list) -> str:
    """Mean and standard deviation over the seeds, omitted for constants; empty for what was not taught."""
    if None in values:
        return ""
    digits = 3 if "accuracy" in name else 4
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(set(values)) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def table(rows: list[dict], varied: str) -> str:
    """The rows of a record, means and spreads over the seeds, as a Markdown table."""
    columns = [name for name in METRICS if name != "gap" and any(name in row["values"] for row in rows)]
    lines = [[varied, *(METRICS[name] for name in columns)], ["---"] * (len(columns) + 1)]
    for row in labelled(rows):
        lines.append([row["setting"], *(cell(name, row["values"].get(name, [None])) for name in columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
