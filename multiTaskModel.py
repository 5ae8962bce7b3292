"""Part 2: the autoencoder that also tells happy from sad: MSE + 0.5 x cross-entropy.

    python multiTaskModel.py                    # the report's order: copy, then split
    python multiTaskModel.py --resume           # go on after a kill, to the same bits
    python multiTaskModel.py --split emoji --out runs/folds     # each emoji tested by a network that never saw it
    python multiTaskModel.py --preset best --out runs/best      # a network that starts at PCA, and the same classifier
    python multiTaskModel.py --compare --out runs/compare       # question 2e: with and without the classification loss

Writes runs/multitask/ and plots/multitask_*.png.
Expect accuracy 1.0 and a combined loss below 0.03 in the report's order, after 25 to 40 s on 2 cores, whatever the
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

    copies: int | Literal["none"] = 50  # augmented copies of each original; the report's 23 emoji are few
    classification_weight: float = 0.5  # lambda: loss = MSE + lambda x cross-entropy
    compare: bool = False  # train with and without the classification loss, in both split orders
    seeds: int = 5  # runs of --compare for each split order, from --seed upwards
    fold_seeds: int = 1  # divisions into folds with --split emoji, from --seed upwards
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
    """Train the report's multi-task network; with --split emoji, test it on emoji it has never seen."""

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
from sklearn.decomposition import PCA
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score

import data
from common import figures
from lab import baselines, classification, networks, presets, records, training
from lab.classification import CLASSES, FOLDS
from lab.contract import decode_all, encode_all
from lab.multitask import MultiTaskLoss, class_probabilities


def fit(splits, labels, config, device, record, run: dict | None = None) -> tuple[presets.Trained, dict]:
    """A trained network with a classifier, and its losses on the test set."""
    loss_function = MultiTaskLoss(labels, config.classification_weight)
    trained = presets.fit(config, splits, device, record, loss_function, len(CLASSES), run)
    return trained, training.evaluate(trained.model, splits.test, loss_function, device)


def baseline_errors(trained: presets.Trained, splits: data.Splits, config) -> dict[str, float]:
    """Test MSEs of the mean image and of a PCA of the training images: the best preset's start saw no exact copies."""
    own = config.preset == "report"
    return baselines.errors(trained.pca if own else baselines.fit_pca(splits.train.images, config.latent), splits.test)


def sad_probability(model, images: torch.Tensor, device) -> torch.Tensor:
    """(N,) probabilities of sad, from (N, 3, 64, 64) uint8 images."""
    return class_probabilities(model, images, device)[:, 1]


# ---------------------------------------------------------------- the report's order


def report_order(originals, labels, config, device, record) -> dict:
    """Copy, then split: the original's run, with its figures. Returns the metrics."""
    splits = data.split(originals, config)
    print(data.describe(splits))
    trained, test = fit(splits, labels, config, device, record)
    errors = baseline_errors(trained, splits, config)
    networks.save(trained.model, originals, device, config.out)

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
    draw(trained, splits, labels, predicted, errors, config, device)
    return {
        **splits.counts(),
        "leaked": splits.leaked(),
        **{f"test_{name}": value for name, value in test.items()},
        "majority_accuracy": majority_accuracy,
        "confusion": confusion,
        **errors,
    }


def draw(trained: presets.Trained, splits: data.Splits, labels, predicted, errors: dict, config, device) -> None:
    """Learning curves, five test images beside their reconstructions, and the latents in two dimensions."""
    originals, model = splits.originals, trained.model
    chosen = data.examples(splits.test)
    images, truth = splits.test.images[chosen], labels[splits.test.emoji]
    outputs = decode_all(model, encode_all(model, images, device), device)
    titles = [f"true {list(CLASSES)[truth[i]]}, predicted {list(CLASSES)[predicted[i]]}" for i in chosen]
    lines = {f"PCA, {config.latent} components": errors["pca_mse"], "mean image": errors["mean_image_mse"]}
    latents = encode_all(model, originals.images, device).numpy()
    points = PCA(min(2, config.latent), svd_solver="full").fit_transform(latents)
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))  # a latent of one number has no second component
    prefix = config.plots / ("multitask" if config.preset == "report" else f"multitask_{config.preset}")
    figures.learning_curves(trained.history, Path(f"{prefix}_curves.png"), lines, "mse")
    figures.reconstructions(images, outputs, titles, Path(f"{prefix}_reconstructions.png"))
    path = Path(f"{prefix}_latents.png")
    figures.latent_map(torch.from_numpy(points), originals.images, labels.tolist(), list(CLASSES), path)


# ---------------------------------------------------------------- unseen emoji


def cross_validate(originals, labels, config, device, record) -> dict:
    """Test every emoji with a network that never saw it, beside a logistic regression. Returns the metrics."""
    count, rows, predictions = len(labels), [], {"network": [], "logistic_regression": []}
    for seed in range(config.seed, config.seed + config.fold_seeds):
        seeded = replace(config, seed=seed)
        probability = {name: torch.zeros(count, dtype=torch.float64) for name in predictions}
        for fold, splits in enumerate(classification.folds(originals, labels, seeded)):
            assert splits.leaked() == 0, "an emoji stands on both sides of a fold"
            trained, test = fit(splits, labels, seeded, device, record, {"fold_seed": seed, "fold": fold})
            losses = {f"test_{name}": value for name, value in test.items()}
            rows.append(losses | baseline_errors(trained, splits, config))
            sad = {
                "network": sad_probability(trained.model, splits.test.images, device),
                "logistic_regression": classification.regression_probability(splits, labels),
            }
            for name in predictions:
                probability[name] += classification.per_emoji(sad[name], splits.test, count)
            print(f"fold seed {seed}, fold {fold + 1}/{FOLDS}: accuracy over the images {test['accuracy']:.4f}")
        for name, values in probability.items():
            predictions[name].append((values > 0.5).long().numpy())
    truth = labels.numpy()
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    print(f"test MSE {means['test_mse']:.4f}; PCA {means['pca_mse']:.4f}; mean image {means['mean_image_mse']:.4f}")
    metrics = {"originals": count, "fold_seeds": config.fold_seeds}
    metrics |= {
        "majority_accuracy": float(np.bincount(truth).max() / count),
        "majority_balanced_accuracy": 0.5,
        **means,
    }
    for name, divisions in predictions.items():
        metrics |= accuracy_on_unseen(name, divisions, truth, originals.names, config.seed)
    print("majority class: balanced accuracy 0.500")
    return metrics


def accuracy_on_unseen(name: str, divisions: list[np.ndarray], truth: np.ndarray, names: list[str], seed: int) -> dict:
    """Balanced accuracy of a method with its interval, over the (count,) predictions of each division; also printed."""
    scores = [balanced_accuracy_score(truth, predicted) for predicted in divisions]
    correct = np.mean([predicted == truth for predicted in divisions], axis=0)
    recalls = np.mean([recall_score(truth, predicted, average=None) for predicted in divisions], axis=0)
    low, high = classification.interval(truth, correct, seed)
    recall = dict(zip(CLASSES, recalls.tolist()))
    mistaken = [names[i] for i in range(len(truth)) if correct[i] < 1]
    print(f"{name.replace('_', ' ')}: balanced accuracy {np.mean(scores):.3f} over {len(truth)} emoji, "
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
    """The paired difference that the classification loss makes to the test MSE, in both split orders."""
    metrics, drawn = {}, {}
    for order in ("report", "emoji"):
        pairs, pca = [], []
        for seed in range(config.seed, config.seed + config.seeds):
            seeded = replace(config, split=order, seed=seed)
            splits, pair = data.split(originals, seeded), {}
            for weight in (config.classification_weight, 0.0):
                run = {"split": order, "seed": seed, "classification_weight": weight}
                weighted = replace(seeded, classification_weight=weight, compare=False)
                trained, test = fit(splits, labels, weighted, device, record, run)
                pair[weight] = test["mse"]
            pairs.append(list(pair.values()))
            pca.append(baseline_errors(trained, splits, config)["pca_mse"])
            joint, alone = pairs[-1]
            print(f"{order} order, seed {seed}: test MSE {joint:.4f} with, {alone:.4f} without; PCA {pca[-1]:.4f}")
        differences = [joint - alone for joint, alone in pairs]
        mean, half = baselines.mean_and_interval(differences, data.SPLIT[2] / data.SPLIT[0])
        low, high = mean - half, mean + half
        plain_half = baselines.mean_and_interval(differences)[1]
        joint, alone = np.mean(pairs, axis=0)
        print(f"{order} order: difference {mean:+.4f}, 95% interval {low:+.4f} to {high:+.4f} ({mean / alone:+.0%})")
        drawn["report's order" if order == "report" else "unseen emoji"] = (differences, mean, half)
        metrics[order] = {
            "test_mse_with": float(joint),
            "test_mse_without": float(alone),
            "differences": differences,
            "difference_mean": mean,
            "difference_std": float(np.std(differences, ddof=1)),
            "difference_interval": [low, high],
            "difference_plain_interval": [mean - plain_half, mean + plain_half],
            "pca_mse": float(np.mean(pca)),
        }
    figures.paired_differences(drawn, config.plots / "multitask_compare.png")
    return {"seeds": config.seeds, "compare": metrics}


def main(config: Config | BestConfig) -> dict:
    """Train, evaluate, draw and record. Returns the metrics that go into metrics.json."""
    device = training.choose_device(config.device)
    config = presets.settled(config, device, records.resumed_config(config))
    originals, labels = classification.classify(data.asked_for(config))
    if config.split == "emoji":
        classification.require_members(originals, labels, FOLDS)
    data.check(originals, config)
    run = compare if config.compare else cross_validate if config.split == "emoji" else report_order
    about = ("preset", "network", "split", "augment", "precision", "seed", "classification_weight")
    with records.recording(config, originals, device) as record:
        for k, name in enumerate(CLASSES):
            members = (member for member, label in zip(originals.names, labels) if label == k)
            print(f"{name}:", ", ".join(members))
        path = config.plots / "multitask_classes.png"
        figures.classes(originals.images, originals.names, labels.tolist(), list(CLASSES), path)
        metrics = run(originals, labels, config, device, record)
        described = {name: getattr(config, name) for name in about}
        return record.finish({"source": originals.source, **described, **metrics})


if __name__ == "__main__":
    command_line.run(main, Config, BestConfig)
