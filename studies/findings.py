"""How an experiment's record is shown: a sentence per verdict, a table of the settings. Needs no torch."""

from typing import Sequence

import numpy as np

COLUMNS = {
    "mse": "unseen emoji: MSE",
    "pca_mse": "PCA",
    "mean_image_mse": "mean image",
    "copies_mse": "augmented copies of them",
    "train_mse": "training emoji",
    "gap": "unseen minus training",
    "unseen_style_mse": "style never seen: MSE",
    "unseen_style_pca_mse": "PCA",
    "balanced_accuracy": "balanced accuracy",
    "majority_balanced_accuracy": "majority class",
}
METRICS = {
    "mse": "MSE",
    "copies_mse": "MSE on augmented copies",
    "train_mse": "training MSE",
    "gap": "gap",
    "unseen_style_mse": "MSE on a style never seen",
    "balanced_accuracy": "balanced accuracy",
}


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values, corrected for how many there are.

    Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    count, adjusted, highest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(count), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (count - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def comparison(judged: dict) -> str:
    """What was compared and what it gave: the difference and its corrected interval."""
    digits = 3 if "accuracy" in judged["metric"] else 4
    low, high = (f"{bound:+.{digits}f}" for bound in judged["interval"])
    metric, setting, reference = METRICS[judged["metric"]], judged["setting"], judged["reference"]
    return f"{metric}({setting}) - {metric}({reference}) = {judged['mean']:+.{digits}f}, 95% CI [{low}, {high}]"


def finding(judged: dict) -> str:
    """The verdict on a hypothesis after the most steps, the numbers behind it, and the verdicts on the way."""
    *earlier, _ = judged["by_steps"].items()
    before = "".join(f", after {int(steps):,} steps {one['verdict']}" for steps, one in earlier)
    return f"{comparison(judged)}: {judged['verdict']} (not corrected: {judged['plain_verdict']}{before})"


def corrected(hypotheses: Sequence[dict]) -> list[dict]:
    """All hypotheses that were asked, with the p that Holm's correction leaves and the verdict that it allows."""
    p_values = holm([judged["p"] for judged in hypotheses])
    return [
        {**judged, "holm_p": p, "holm_verdict": judged["verdict"] if p < 0.05 else "undecided"}
        for judged, p in zip(hypotheses, p_values)
    ]


def sentence(judged: dict) -> str:
    """A comparison and its verdict."""
    taken_back = judged["verdict"] != judged["holm_verdict"]
    return f"{comparison(judged)}: {judged['verdict']}{', as a question alone' if taken_back else ''}"


def verdicts(hypotheses: list[dict]) -> str:
    """Verdicts as a Markdown list."""
    lines = []
    for judged in hypotheses:
        said = sentence(judged).replace(judged["verdict"], f"**{judged['verdict']}**", 1)
        lines.append(f"- *{judged['text'][0].upper()}{judged['text'][1:]}* ({judged['letter']}). {said}.")
    return "\n".join(lines)


def verdict_table(hypotheses: list[dict]) -> str:
    """Every question with all its verdicts, as a Markdown table; the last column counts."""
    steps = list(hypotheses[0]["by_steps"])
    heads = [
        "letter",
        "hypothesis",
        *(f"after {int(k):,} steps" for k in steps),
        "the same, shared folds ignored",
        "the same, among all questions",
    ]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for judged in sorted(hypotheses, key=lambda judged: judged["letter"]):
        said = (judged["letter"], judged["text"], *(judged["by_steps"][k]["verdict"] for k in steps))
        lines.append("| " + " | ".join((*said, judged["plain_verdict"], f"**{judged['holm_verdict']}**")) + " |")
    return "\n".join(lines)


def cell(name: str, values: list) -> str:
    """Mean and standard deviation over the seeds, which constants have not; empty for what was not taught."""
    if None in values:
        return ""
    digits = 1 if name == "seconds" else 3 if "accuracy" in name else 4
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(set(values)) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def table(varied: str, values: dict[str, dict[str, list]]) -> str:
    """A row per setting, as Markdown. `values` are lists over the seeds, by setting and metric."""
    columns = [name for name in COLUMNS if any(name in metrics for metrics in values.values())]
    head = f"| {varied} | " + " | ".join(COLUMNS[name] for name in columns) + " |"
    lines = [head, "| --- " * (len(columns) + 1) + "|"]
    for setting, metrics in values.items():
        lines.append(f"| {setting} | " + " | ".join(cell(name, metrics.get(name, [None])) for name in columns) + " |")
    return "\n".join(lines)
