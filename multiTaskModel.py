"""Part 2: the autoencoder that also tells happy from sad: MSE + 0.5 x cross-entropy.

    python multiTaskModel.py                    # the original's order: copy, then split
    python multiTaskModel.py --resume           # go on after a kill, to the same bits
    python multiTaskModel.py --split emoji --out runs/folds     # each emoji tested by a network that never saw it
    python multiTaskModel.py --preset best --out runs/best      # a network that starts at PCA, and the same classifier
    python multiTaskModel.py --evaluate pretrained/multitask    # its test numbers again, without training
    python multiTaskModel.py --compare --out runs/compare       # question 2e: with and without the classification loss

Writes runs/multitask/ and plots/multitask_*.png.
Expect accuracy 1.0 and a combined loss below 0.03 in the original's order, after 25 to 40 s on 2 cores, whatever the
processor; with the best preset 2 to 3 minutes where it computes in bfloat16, 4 to 5 elsewhere.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from common import command_line
from common.errors import UserError, at_least
from lab.options import BestPreset, ReportPreset, RunOptions


@dataclass(frozen=True, kw_only=True)
class Part2Options(RunOptions):
    """What Part 2 has beside a preset."""

    copies: int | Literal["none"] = 50  # augmented copies of each original; the original's 23 emoji are few
    classification_weight: float = 0.5  # lambda: loss = MSE + lambda x cross-entropy
    compare: bool = False  # train with and without the classification loss, in the original's order and on unseen emoji
    seeds: int = 5  # runs of --compare for each of the two, from --seed upwards; on unseen emoji a fold each
    fold_seeds: int = 1  # divisions into folds with --split emoji, from --seed upwards
    evaluate: Path | None = None  # folder of a finished run: test its network again, without training
    out: Path = Path("runs/multitask")  # folder of the record and the weights

    def __post_init__(self):
        super().__post_init__()
        at_least(0, classification_weight=self.classification_weight)
        at_least(2, seeds=self.seeds)
        at_least(1, fold_seeds=self.fold_seeds)
        if self.classification_weight == 0 and self.compare:
            raise UserError("--compare needs a --classification-weight above 0 to compare with none")


@dataclass(frozen=True, kw_only=True)
class Config(Part2Options, ReportPreset):
    """Train the original's multi-task network; with --split emoji, test it on emoji it has never seen."""

    dropout: float = 0.0  # the report says 0.2, but its code never applied it in this part
    epochs: int = 10  # passes over the training images


@dataclass(frozen=True, kw_only=True)
class BestConfig(Part2Options, BestPreset):
    """Train the best preset's network with a classifier; with --split emoji, test it on emoji it has never seen."""

    def __post_init__(self):
        super().__post_init__()
        if self.compare:
            raise UserError("--compare asks about the report preset's network; leave --preset best out")


if __name__ == "__main__":
    command_line.answer(Config, BestConfig)  # --help and mistakes: before the imports that take seconds

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score

import data
from common import charts, figures
from lab import classification, evaluation, networks, presets, records, training
from lab.classification import CLASSES, FOLDS
from lab.contract import decode_all, encode_all
from lab.multitask import MultiTaskLoss, class_probabilities
from studies import classification_loss


def sad_probability(model, images: torch.Tensor, device) -> torch.Tensor:
    """(N,) probabilities of sad, from (N, 3, 64, 64) uint8 images."""
    return class_probabilities(model, images, device)[:, 1]


# ---------------------------------------------------------------- the original's order


def report_order(originals, labels, config, device, record) -> dict:
    """Copy, then split: the original's run, with its figures. Returns the metrics."""
    splits = data.split(originals, config)
    print(data.describe(splits))
    trained, test = classification.fit(splits, labels, config, device, record)
    networks.save(trained.model, originals, device, config.out)
    metrics = tested(trained, test, splits, labels, config, device)
    draw(trained, splits, labels, metrics, config, device)
    return {**splits.counts(), "leaked": splits.leaked(), **metrics}


def tested(trained: presets.Trained, test: dict, splits: data.Splits, labels, config, device) -> dict:
    """The metrics of the test set, of which `test` are the losses, and what stands beside them. Prints them."""
    errors = classification.baseline_errors(trained, splits, config)
    truth = labels[splits.test.emoji]
    predicted = (sad_probability(trained.model, splits.test.images, device) > 0.5).long()
    confusion = confusion_matrix(truth, predicted, labels=range(len(CLASSES))).tolist()
    majority = labels[splits.train.emoji].mode().values
    majority_accuracy = (truth == majority).float().mean().item()
    print(f"Final average test MSE: {test['mse']:.4f}, cross-entropy: {test['cross_entropy']:.4f}, "
          f"combined loss: {test['loss']:.4f}")  # fmt: skip
    print(f"PCA, {config.latent} components: {errors['pca_mse']:.4f}; mean image: {errors['mean_image_mse']:.4f}")
    print(f"test accuracy: {test['accuracy']:.4f}; always {list(CLASSES)[majority]}: {majority_accuracy:.4f}")
    print("confusion (rows true, columns predicted):", dict(zip(CLASSES, confusion)))
    return {
        **{f"test_{name}": value for name, value in test.items()},
        "majority_accuracy": majority_accuracy,
        "confusion": confusion,
        **errors,
    }


def draw(trained: presets.Trained, splits: data.Splits, labels, metrics: dict, config, device) -> None:
    """Learning curves, reconstructions of the first five test emoji, and the latents in two dimensions."""
    originals, model, names = splits.originals, trained.model, list(CLASSES)
    chosen = data.examples(splits.test)
    images, latents = originals.images[chosen], encode_all(model, originals.images, device)
    sad = (sad_probability(model, images, device) > 0.5).long()
    notes = [f"{names[label]},\npredicted {names[k]}" for label, k in zip(labels[chosen], sad)]
    rows = [
        ("picture", images),
        (f"reconstruction\ntest MSE {metrics['test_mse']:.4f}", decode_all(model, latents[chosen], device)),
    ]
    lines = {f"PCA, {config.latent} components": metrics["pca_mse"], "mean image": metrics["mean_image_mse"]}
    prefix = config.plots / ("multitask" if config.preset == "report" else f"multitask_{config.preset}")
    charts.learning_curves(trained.history, Path(f"{prefix}_curves.png"), lines, "mse")
    titles = [originals.names[i] for i in chosen]
    figures.reconstructions(rows, titles, Path(f"{prefix}_reconstructions.png"), notes)
    seen = splits.train.emoji.unique()
    held_out = sorted({*range(len(labels))} - {*seen.tolist()})  # none, where there are enough copies
    panels = {f"{len(seen)} of {len(labels)} emoji in training": classification.in_the_plane(latents, seen)}
    charts.latent_map(panels, originals.images, labels.tolist(), names, held_out, Path(f"{prefix}_latents.png"))


def evaluate(config: Config | BestConfig) -> dict:
    """The test numbers of the run in `config.evaluate` again. Returns them."""
    run, network, splits, device = evaluation.reopened(config, Config, BestConfig)
    labels = classification.classify(splits.originals)[1]
    loss_function = MultiTaskLoss(labels, run.classification_weight)
    test = training.evaluate(network.model, splits.test, loss_function, device)
    metrics = tested(network, test, splits, labels, run, device)
    return evaluation.beside_record(config.evaluate, {k: v for k, v in metrics.items() if k != "confusion"})


# ---------------------------------------------------------------- unseen emoji


def cross_validate(originals, labels, config, device, record) -> dict:
    """Test every emoji with a network that saw it in no style, beside a logistic regression. Returns the metrics."""
    count, rows, predictions = len(labels), [], {"network": [], "logistic_regression": []}
    divisions = classification.fold_count(originals, labels)
    for seed in range(config.seed, config.seed + config.fold_seeds):
        seeded = replace(config, seed=seed)
        probability = {name: torch.zeros(count, dtype=torch.float64) for name in predictions}
        for fold, splits in enumerate(classification.folds(originals, labels, seeded, divisions)):
            assert splits.leaked() == 0, "an emoji stands on both sides of a fold"
            trained, test = classification.fit(
                splits, labels, seeded, device, record, {"fold_seed": seed, "fold": fold}
            )
            losses = {f"test_{name}": value for name, value in test.items()}
            rows.append(losses | classification.baseline_errors(trained, splits, config))
            regression = classification.fit_regression(splits.train, labels)
            for part in splits.tests().values():
                sad = {
                    "network": sad_probability(trained.model, part.images, device),
                    "logistic_regression": classification.regression_probability(regression, part.images),
                }
                for name in predictions:
                    probability[name] += classification.per_emoji(sad[name], part, count)
            print(f"fold seed {seed}, fold {fold + 1}/{divisions}: accuracy over the images {test['accuracy']:.4f}")
        for name, values in probability.items():
            predictions[name].append((values > 0.5).long().numpy())
    truth = labels.numpy()
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    print(f"test MSE {means['test_mse']:.4f}; PCA {means['pca_mse']:.4f}; mean image {means['mean_image_mse']:.4f}")
    about = {"originals": count, "fold_seeds": config.fold_seeds, "folds": divisions}
    about |= {"majority_accuracy": float(np.bincount(truth).max() / count), "majority_balanced_accuracy": 0.5}
    return about | means | accuracies(predictions, truth, originals, config.seed)


def accuracies(predictions: dict[str, list[np.ndarray]], truth: np.ndarray, originals, seed: int) -> dict:
    """The balanced accuracy of each method over all pictures and, where there are several, in each style."""
    metrics, styles = {}, list(dict.fromkeys(originals.styles))
    for name, divisions in predictions.items():
        metrics |= accuracy_on_unseen(name, divisions, truth, originals.names, seed)
    for style in styles if len(styles) > 1 else ():
        print(f"of these, {style}:")
        chosen = originals.of_style(style).numpy()
        names = [originals.names[i] for i in chosen]
        found = {}
        for name, divisions in predictions.items():
            found |= accuracy_on_unseen(name, [each[chosen] for each in divisions], truth[chosen], names, seed)
        metrics.setdefault("styles", {})[style] = found
    print("majority class: balanced accuracy 0.500")
    return metrics


def accuracy_on_unseen(name: str, divisions: list[np.ndarray], truth: np.ndarray, names: list[str], seed: int) -> dict:
    """Balanced accuracy of a method with its interval, over the (count,) predictions of each division; also printed.

    An emoji is one of the interval's independent cases, in however many styles it is there.
    """
    scores = [balanced_accuracy_score(truth, predicted) for predicted in divisions]
    correct = np.mean([predicted == truth for predicted in divisions], axis=0)
    recalls = np.mean([recall_score(truth, predicted, average=None) for predicted in divisions], axis=0)
    distinct, first, case = np.unique(names, return_index=True, return_inverse=True)
    by_name = np.bincount(case, correct) / np.bincount(case)
    low, high = classification.interval(truth[first], by_name, seed)
    recall = dict(zip(CLASSES, recalls.tolist()))
    mistaken = sorted({names[i] for i in range(len(truth)) if correct[i] < 1})
    print(f"{name.replace('_', ' ')}: balanced accuracy {np.mean(scores):.3f} over {len(distinct)} emoji, "
          f"95% interval {low:.2f} to {high:.2f}")  # fmt: skip
    print(f"  recall {recall}; mistaken at least once: {mistaken or 'none'}")
    prefix = "" if name == "network" else f"{name}_"
    return {
        f"{prefix}balanced_accuracy": float(np.mean(scores)),
        f"{prefix}balanced_accuracy_per_fold_seed": scores,
        f"{prefix}balanced_accuracy_interval": [low, high],
        f"{prefix}recall": recall,
        f"{prefix}mistaken": mistaken,
    }


# ---------------------------------------------------------------- question 2e


def compare(originals, labels, config, device, record) -> dict:
    """What the classification loss does to the test MSE and to the latents. Returns the metrics."""
    metrics, first = classification_loss.compare(originals, labels, config, device, record)
    differences = {"original's order": metrics["compare"]["report"], "unseen emoji": metrics["compare"]["emoji"]}
    charts.paired_differences(differences, config.plots / "multitask_compare.png")
    titles = (f"lambda = {config.classification_weight:g}", "lambda = 0: no classification loss")
    panels = {title: classification.in_the_plane(latents, first.seen) for title, latents in zip(titles, first.latents)}
    path = config.plots / "multitask_compare_latents.png"
    charts.latent_map(panels, originals.images, labels.tolist(), list(CLASSES), first.held_out.tolist(), path)
    return metrics


def main(config: Config | BestConfig) -> dict:
    """Train, evaluate, draw and record. Returns the metrics that go into metrics.json, or those of --evaluate."""
    if config.evaluate:
        return evaluate(config)
    device = training.choose_device(config.device)
    config = presets.settled(config, device, records.resumed_config(config))
    originals, labels = classification.classify(data.asked_for(config))
    if config.split == "emoji" or config.compare:
        classification.require_members(originals, labels, FOLDS if config.compare else 2)
    data.check(originals, config)
    run = compare if config.compare else cross_validate if config.split == "emoji" else report_order
    about = ("preset", "network", "split", "augment", "precision", "seed", "classification_weight")
    with records.recording(config, originals, device) as record:
        for k, name in enumerate(CLASSES):
            members = (member for member, label in zip(originals.names, labels) if label == k)
            print(f"{name}:", ", ".join(dict.fromkeys(members)))
        path = config.plots / "multitask_classes.png"
        figures.classes(originals.images, originals.names, labels.tolist(), list(CLASSES), path)
        metrics = run(originals, labels, config, device, record)
        described = {name: getattr(config, name) for name in about}
        return record.finish({"source": originals.source, **described, **metrics})


if __name__ == "__main__":
    command_line.run(main, Config, BestConfig)
