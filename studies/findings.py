"""How an experiment's record is shown: a sentence per verdict, a table of the settings. Needs no torch."""

import numpy as np

COLUMNS = {
    "mse": "test MSE",
    "pca_mse": "PCA",
    "mean_image_mse": "mean image",
    "copies_mse": "MSE, augmented copies",
    "train_mse": "training MSE",
    "balanced_accuracy": "balanced accuracy",
    "majority_balanced_accuracy": "majority class",
}


def interval(bounds: list[float]) -> str:
    return f"{bounds[0]:+.4f} to {bounds[1]:+.4f}"


def finding(judged: dict) -> str:
    """The verdict on a hypothesis and the numbers behind it."""
    parts = [
        f"{c['metric'].replace('_', ' ').replace('mse', 'MSE')} with {c['setting']} minus {c['reference']}"
        f" {c['mean']:+.4f} (95% interval {interval(c['interval'])}; expected {c['expected']}: {c['verdict']};"
        f" uncorrected {interval(c['plain_interval'])}: {c['plain_verdict']})"
        for c in judged["comparisons"]
    ]
    return f"{judged['verdict']}. " + "; ".join(parts)


def cell(name: str, values: list) -> str:
    """Mean and spread over the seeds; empty for what was not taught."""
    if None in values:
        return ""
    digits = 1 if name == "seconds" else 3 if "accuracy" in name else 4
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def table(varied: str, values: dict[str, dict[str, list]]) -> str:
    """A row per setting, as Markdown. `values` are lists over the seeds, by setting and metric."""
    columns = [name for name in COLUMNS if any(name in metrics for metrics in values.values())]
    head = f"| {varied} | " + " | ".join(COLUMNS[name] for name in columns) + " |"
    lines = [head, "| --- " * (len(columns) + 1) + "|"]
    for setting, metrics in values.items():
        lines.append(f"| {setting} | " + " | ".join(cell(name, metrics.get(name, [None])) for name in columns) + " |")
    return "\n".join(lines)
