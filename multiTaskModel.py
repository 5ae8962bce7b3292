"""Part 2: the autoencoder that also tells happy from sad.

    python multiTaskModel.py                # the coursework's order: copy, then split
    python multiTaskModel.py --split unseen --out runs/folds   # unseen emoji
    python multiTaskModel.py --preset best --out runs/best
    python multiTaskModel.py --evaluate pretrained/multitask   # test it again

The loss is MSE + 0.5 x cross-entropy. Writes runs/multitask/ and
plots/multitask_*.png. Expect accuracy 1.0: training has copies of test emoji."""

import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

sys.path.insert(0, str(Path(__file__).parent))  # `python -I` leaves it out
from lab import cli  # before torch: lab sets the environment

import numpy as np
import torch

import data
from lab import classes, figures, networks, pretrained, runs, training
from lab.classes import CLASSES, MultiTaskAutoencoder, MultiTaskLoss, class_probabilities
from lab.cli import UserError
from lab.networks import decode_all, encode_all
from lab.options import RunOptions
from lab.pictures import Pictures, Splits
from lab.training import Trained

ABOUT = ("preset", "network", "split", "augment", "precision", "seed", "classification_weight")


@dataclass(frozen=True, kw_only=True)
class Config(RunOptions):
    """Train an autoencoder with a classifier; with --split unseen, test it on emoji that it has never seen."""

    copies: int | Literal["none"] = 50  # copies of each picture
    classification_weight: float = 0.5  # lambda: loss = MSE + lambda x cross-entropy
    seeds: int | None = None  # number of runs, from seed 0; with --split unseen, of cross-validations from --seed (1)
    evaluate: Path | None = None  # folder of a finished run: test its network again, without training
    out: Path = Path("runs/multitask")  # folder of the record and the weights

    # The coursework states a dropout of 0.2, but its code never applies it in this part.
    changed_defaults: ClassVar[dict] = {"dropout": 0.0, "epochs": 10}

    def __post_init__(self):
        super().__post_init__()
        cli.require_range(0, 1e6, classification_weight=self.classification_weight)
        cli.require_range(1 if self.split == "unseen" else 2, 1000, seeds=self.seeds)
        if self.augment == "adversarial":  # it has a loss of its own, without the classifier
            raise UserError("--augment adversarial is only for Part 1; leave it out")


def fit(splits: Splits, labels: torch.Tensor, config: Config, run, training_of: dict | None = None):
    """A trained network with a classifier, and its losses on the test set."""
    loss = MultiTaskLoss(labels, config.classification_weight)
    classifier = partial(MultiTaskAutoencoder, classes=len(CLASSES))
    trained = training.fit(config, splits, run, loss_function=loss, wrap=classifier, training=training_of)
    return trained, training.evaluate(trained.model, splits.test, loss)


def baseline_errors(trained: Trained, splits: Splits, config: Config) -> dict[str, float]:
    """Test MSEs of the mean image and of a PCA of the training images. The best preset's PCA saw no exact copies."""
    coursework = config.preset == "coursework"
    pca = trained.pca if coursework else training.fit_pca(splits.train.images, config.latent)
    return training.baseline_errors(pca, splits.test)


def run_coursework(pictures: Pictures, labels: torch.Tensor, config: Config, run) -> dict:
    """Copy, then split: the coursework's run, with its figures. Returns the metrics."""
    splits = data.split(pictures, config)
    print(data.describe(splits))
    trained, losses = fit(splits, labels, config, run)
    networks.save(trained.model, pictures, config.out)
    metrics = test(trained, losses, splits, labels, config)
    draw(trained, splits, labels, metrics, config)
    return {**splits.counts(), "leaked": splits.leaked(), **metrics}


def test(trained: Trained, losses: dict, splits: Splits, labels: torch.Tensor, config: Config) -> dict:
    """The metrics of the test set, whose losses are given, with those to compare with. Prints them."""
    from sklearn.metrics import confusion_matrix

    errors = baseline_errors(trained, splits, config)
    truth = labels[splits.test.emoji]
    predicted = (class_probabilities(trained.model, splits.test.images)[:, 1] > 0.5).long()
    confusion = confusion_matrix(truth, predicted, labels=range(len(CLASSES))).tolist()
    majority = labels[splits.train.emoji].mode().values
    majority_accuracy = (truth == majority).float().mean().item()
    print(f"Final average test MSE: {losses['mse']:.4f}, cross-entropy: {losses['cross_entropy']:.4f}, "
          f"combined loss: {losses['loss']:.4f}")  # fmt: skip
    print(f"PCA, {errors['pca_components']} components: {errors['pca_mse']:.4f}, "
          f"mean image: {errors['mean_image_mse']:.4f}; lower is better")  # fmt: skip
    print(f"test accuracy: {losses['accuracy']:.4f}; always {list(CLASSES)[majority]}: {majority_accuracy:.4f}")
    print("confusion (rows true, columns predicted):", dict(zip(CLASSES, confusion)))
    found = {f"test_{name}": value for name, value in losses.items()} | {"majority_accuracy": majority_accuracy}
    return found | {"confusion": confusion} | errors


def draw(trained: Trained, splits: Splits, labels: torch.Tensor, metrics: dict, config: Config) -> None:
    """Learning curves, reconstructions of the first five test emoji, and the latents in two dimensions."""
    pictures, model, names = splits.pictures, trained.model, list(CLASSES)
    chosen = splits.test.examples()
    images, latents = pictures.images[chosen], encode_all(model, pictures.images)
    sad = (class_probabilities(model, images)[:, 1] > 0.5).long()
    notes = [f"{names[label]},\npredicted {names[k]}" for label, k in zip(labels[chosen], sad)]
    made = decode_all(model, latents[chosen])
    rows = [("picture", images), (f"reconstruction\ntest MSE {metrics['test_mse']:.4f}", made)]
    prefix = config.plots / ("multitask" if config.preset == "coursework" else f"multitask_{config.preset}")
    figures.learning_curves(trained.history, Path(f"{prefix}_curves.png"), metrics, "mse")
    figures.reconstructions(rows, [pictures.names[i] for i in chosen], Path(f"{prefix}_reconstructions.png"), notes)
    seen = splits.train.emoji.unique()  # all, where there are enough copies
    points, title = classes.project_to_plane(latents, seen), f"{len(seen)} of {len(labels)} emoji in training"
    figures.latent_map(points, pictures.images, labels.tolist(), names, title, Path(f"{prefix}_latents.png"))


def evaluate(config: Config) -> dict:
    """The test numbers of the run in `config.evaluate` again. Returns them; writes nothing."""
    model, options, record = pretrained.reopen(config)
    pictures, labels = classes.classify(data.load_styles(options))
    splits = data.split(pictures, options)
    trained = training.reopened(model, options, splits)
    losses = training.evaluate(trained.model, splits.test, MultiTaskLoss(labels, options.classification_weight))
    metrics = test(trained, losses, splits, labels, options)
    numbers = {name: value for name, value in metrics.items() if name != "confusion"}
    return pretrained.compare(config.evaluate, numbers, record, pictures)


def cross_validate(pictures: Pictures, labels: torch.Tensor, config: Config, run) -> dict:
    """Test every emoji with a network that saw it in no style, and with a logistic regression. Returns the metrics."""
    count, rows, predictions = len(labels), [], {"network": [], "logistic_regression": []}
    folds, seeds = min(data.FOLDS, *map(len, classes.members(pictures, labels))), config.seeds or 1
    for seed in range(config.seed, config.seed + seeds):
        seeded = replace(config, seed=seed)
        probability = {name: torch.zeros(count, dtype=torch.float64) for name in predictions}
        for fold, splits in enumerate(data.folds(pictures, labels, seeded, folds)):
            assert splits.leaked() == 0, "an emoji is on both sides of a fold"
            trained, losses = fit(splits, labels, seeded, run, {"seed": seed, "fold": fold})
            errors = {f"test_{name}": value for name, value in losses.items()}
            rows.append(errors | baseline_errors(trained, splits, config))
            tests = list(splits.tests().values())
            by_regression = classes.regression_probabilities(splits.train, labels, [part.images for part in tests])
            for part, regressed in zip(tests, by_regression):
                sad = class_probabilities(trained.model, part.images)[:, 1], regressed
                for name, probabilities in zip(predictions, sad):
                    probability[name] += classes.mean_per_emoji(probabilities, part, count)
            print(f"seed {seed}, fold {fold + 1}/{folds}: accuracy over the images {losses['accuracy']:.4f}")
        for name, values in probability.items():
            predictions[name].append((values > 0.5).long().numpy())
    truth = labels.numpy()
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    print(f"test MSE {means['test_mse']:.4f}; PCA {means['pca_mse']:.4f}; mean image {means['mean_image_mse']:.4f}")
    about = {"pictures": count, "seeds": seeds, "folds": folds}
    about |= {"majority_accuracy": float(np.bincount(truth).max() / count), "majority_balanced_accuracy": 0.5}
    return about | means | classes.accuracies(predictions, truth, pictures, config.seed)


def draw_classes(pictures: Pictures, labels: torch.Tensor, path: Path) -> None:
    """The emoji of each class, nine in a row."""
    rows = []
    for k, name in enumerate(CLASSES):
        for number, part in enumerate((labels == k).nonzero().flatten().split(9)):
            rows.append((name if number == 0 else "", pictures.images[part]))
    figures.reconstructions(rows, [""] * 9, path)


def main(config: Config) -> dict:
    """Train, test, draw and record. Returns the metrics that go into metrics.json, or those of --evaluate, --seeds."""
    if config.evaluate:
        return evaluate(config)
    unseen = config.split == "unseen"
    if config.seeds and not unseen:
        return runs.over_seeds(main, config)
    config = training.resolve_options(config)
    pictures, labels = classes.classify(data.load_styles(config))
    if unseen:
        classes.require_members(pictures, labels, 2)
    with runs.opened(config, pictures) as run:
        for name, keys in zip(CLASSES, classes.members(pictures, labels)):
            print(f"{name}:", ", ".join(keys))
        draw_classes(pictures, labels, config.plots / "multitask_classes.png")
        metrics = (cross_validate if unseen else run_coursework)(pictures, labels, config, run)
        print(f"record in {config.out}, figures in {config.plots}")
        described = {name: getattr(config, name) for name in ABOUT}
        return run.finish({"source": pictures.source, **described, **metrics})


if __name__ == "__main__":
    cli.run(main, Config)
