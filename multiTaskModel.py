"""Part 2: the autoencoder that also tells happy from sad: MSE + 0.5 x cross-entropy.

    python multiTaskModel.py                    # the report's order: copy, then split
    python multiTaskModel.py --resume           # go on after a kill, to the same bits
    python multiTaskModel.py --split emoji --out runs/folds                 # each emoji tested by a network that never saw it
    python multiTaskModel.py --split emoji --swap-halves --out runs/swapped # what it takes to be right on them
    python multiTaskModel.py --preset best --out runs/best                  # the network that beats PCA, with the same classifier
    python multiTaskModel.py --compare --out runs/compare                   # question 2e: with and without the classification loss, paired

Writes runs/multitask/ and plots/multitask_*.png.
Expect accuracy 1.0 and a combined loss below 0.03 in the report's order, after about 25 s on 2 cores.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score
from sklearn.model_selection import StratifiedKFold
from torch import nn

import autoencoder
import baselines
import best
import cli
import data
import figures
import records
import training
from autoencoder import ConvAutoencoder
from cli import UserError

CLASSES = {  # as in the report: an emoji belongs to the class of which its description contains a phrase
    "happy": ("happy face", "grinning face", "smiling face"),
    "sad": ("sad face", "crying face", "frowning face"),
}
FOLDS = 5
UNLABELLED = -100  # the label that cross-entropy leaves out
MOUTH_ROW = 36  # of 64: below the eyes and above the mouth of every face


@dataclass(frozen=True, kw_only=True)
class Config(autoencoder.Config):
    """Train the report's multi-task network; with --split emoji, test it on emoji it has never seen."""

    copies: int | Literal["none"] = 50  # augmented copies of each original; the report's 23 emoji are few
    dropout: float = 0.0  # the report says 0.2, but its code never applied it in this part
    epochs: int = 10  # passes over the training images
    classification_weight: float = 0.5  # lambda: loss = MSE + lambda x cross-entropy
    swap_halves: bool = False  # train on exchanged upper halves too: the class is in the mouth, whatever the eyes
    compare: bool = False  # train with and without the classification loss, in both split orders
    seeds: int = 5  # runs of --compare for each split order, from --seed upwards
    fold_seeds: int = 1  # divisions into folds with --split emoji, from --seed upwards
    out: Path = Path("runs/multitask")  # folder of the record and the weights

    def __post_init__(self):
        super().__post_init__()
        cli.at_least(0, classification_weight=self.classification_weight)
        cli.at_least(2, seeds=self.seeds)
        cli.at_least(1, fold_seeds=self.fold_seeds)


# ---------------------------------------------------------------- classes


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
    """Raise UserError for a class with fewer than `fewest` different emoji: as folds take them, so twins and like pictures are one."""
    class_of_key = dict(zip(originals.keys, labels.tolist()))
    for k, (class_name, phrases) in enumerate(CLASSES.items()):
        names = [key for key, label in class_of_key.items() if label == k]
        if len(names) < fewest:
            found = ", ".join(sorted(names)) or "none"
            looked_for = " / ".join(phrases)
            raise UserError(f"class {class_name} has {len(names)} emoji ({found}) and needs {fewest}; it looks for {looked_for}")


# ---------------------------------------------------------------- network and losses


class MultiTaskAutoencoder(ConvAutoencoder):
    """The report's autoencoder with a linear classifier on the latent."""

    def __init__(self, latent: int = 128, dropout: float = 0.0, initialization: str = "he", classes: int = len(CLASSES)):
        super().__init__(latent, dropout, initialization)
        self.classifier = nn.Linear(latent, classes)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, 64, 64) images to their reconstructions and (N, classes) logits."""
        latents = self.dropout(self.encode(images))
        return self.decode(latents), self.classifier(latents)


class MultiTaskResidualAutoencoder(best.ResidualAutoencoder):
    """The best preset's autoencoder with the same classifier."""

    def __init__(self, latent: int = 128):
        super().__init__(latent)
        self.classifier = nn.Linear(latent, len(CLASSES))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, 64, 64) images to their reconstructions and (N, 2) logits."""
        latents = self.encode(images)
        return self.finished(self.decode(latents)), self.classifier(latents)


def swap_upper_halves(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """About half of the (N, 3, H, W) images with the rows above the mouth taken from another one, chosen at random.

    A label stays with the mouth. That keeps a network from learning from three or four sad emoji that sad
    faces are those with oval eyes.
    """
    other = torch.randperm(len(images), generator=generator).to(images.device)
    swapped = (torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5).to(images.device)
    upper = torch.where(swapped, images[other][:, :, :MOUTH_ROW], images[:, :, :MOUTH_ROW])
    return torch.cat([upper, images[:, :, MOUTH_ROW:]], 2)


MultiTask = MultiTaskAutoencoder | MultiTaskResidualAutoencoder


class MultiTaskLoss:
    """MSE, cross-entropy and accuracy, and the loss MSE + weight x cross-entropy. `labels` is one per original.

    Images of no emoji (-1), which only the best preset has, count in the MSE alone. With a generator, training images of
    an emoji exchange their upper halves.
    """

    def __init__(self, labels: torch.Tensor, weight: float, swap: torch.Generator | None = None):
        self.labels, self.weight, self.swap = labels, weight, swap

    def __call__(self, model: nn.Module, images: torch.Tensor, emoji: torch.Tensor) -> dict[str, torch.Tensor]:
        labels = self.labels.to(emoji.device)[emoji].masked_fill(emoji < 0, UNLABELLED)
        labelled = labels != UNLABELLED
        if self.swap and model.training:
            images = images.index_put((labelled,), swap_upper_halves(images[labelled], self.swap))
        reconstructions, logits = model(images)
        mse = nn.functional.mse_loss(reconstructions, images)
        count = labelled.sum().clamp(min=1)  # a batch of mixtures alone has no label at all
        cross_entropy = nn.functional.cross_entropy(logits, labels, reduction="sum") / count
        accuracy = (logits.argmax(1) == labels).float().sum() / count
        return {"loss": mse + self.weight * cross_entropy, "mse": mse, "cross_entropy": cross_entropy, "accuracy": accuracy}


@torch.no_grad()
def sad_probability(model: MultiTask, images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(N,) probabilities of sad, from (N, 3, 64, 64) uint8 images."""
    return model.classifier.cpu()(autoencoder.encode_all(model, images, device)).softmax(1)[:, 1]


def fit(splits, labels, config: Config, device, record, run: dict | None = None) -> tuple[MultiTask, list[dict], MultiTaskLoss]:
    """A trained network, its history and its losses."""
    swap = data.generator("swap", config.seed) if config.swap_halves else None
    generators = [swap] if swap else []
    losses = MultiTaskLoss(labels, config.classification_weight, swap)
    if config.preset == "best":
        model, history, _ = autoencoder.fit_best(splits, config, device, record, MultiTaskResidualAutoencoder, losses, run, generators)
        return model, history, losses
    torch.manual_seed(data.seed_for("weights", config.seed))
    model = training.to_device(MultiTaskAutoencoder(config.latent, config.dropout, config.initialization), device)
    history = training.train(model, splits, losses, config, device, record, run, generators)
    return model, history, losses


# ---------------------------------------------------------------- the report's order


def report_order(originals, labels, config: Config, device, record) -> dict:
    """Copy, then split: the report's run, with its figures. Returns the metrics."""
    splits = data.split(originals, config)
    print(data.describe(splits))
    model, history, losses = fit(splits, labels, config, device, record)
    test = training.evaluate(model, splits.test, losses, device)
    errors = baselines.errors(baselines.fit_pca(splits.train.images, config.latent), splits.test)
    autoencoder.save(model, originals, device, config.out)

    truth, predicted = labels[splits.test.emoji], (sad_probability(model, splits.test.images, device) > 0.5).long()
    confusion = confusion_matrix(truth, predicted, labels=range(len(CLASSES)))
    majority = labels[splits.train.emoji].mode().values
    majority_accuracy = (truth == majority).float().mean().item()
    print(f"Final average test MSE: {test['mse']:.4f}, cross-entropy: {test['cross_entropy']:.4f}, combined loss: {test['loss']:.4f}")
    print(f"PCA, {config.latent} components: {errors['pca_mse']:.4f}; mean image: {errors['mean_image_mse']:.4f}")
    print(f"test accuracy: {test['accuracy']:.4f}; always {list(CLASSES)[majority]}: {majority_accuracy:.4f}")
    print("confusion (rows true, columns predicted):", dict(zip(CLASSES, confusion.tolist())))

    chosen = autoencoder.examples(splits.test)
    images = splits.test.images[chosen]
    outputs = autoencoder.decode_all(model, autoencoder.encode_all(model, images, device), device)
    titles = [f"true {list(CLASSES)[truth[i]]}, predicted {list(CLASSES)[predicted[i]]}" for i in chosen]
    lines = {f"PCA, {config.latent} components": errors["pca_mse"], "mean image": errors["mean_image_mse"]}
    points = PCA(min(2, config.latent), svd_solver="full").fit_transform(autoencoder.encode_all(model, originals.images, device).numpy())
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))  # a latent of one number has no second component
    prefix = config.plots / ("multitask" if config.preset == "report" else f"multitask_{config.preset}")
    figures.learning_curves(history, Path(f"{prefix}_curves.png"), lines, "mse")
    figures.reconstructions(images, outputs, titles, Path(f"{prefix}_reconstructions.png"))
    figures.latent_map(torch.from_numpy(points), originals.images, labels.tolist(), list(CLASSES), Path(f"{prefix}_latents.png"))
    return {
        **splits.counts(),
        "leaked": splits.leaked(),
        **{f"test_{name}": value for name, value in test.items()},
        "majority_accuracy": majority_accuracy,
        "confusion": confusion.tolist(),
        **errors,
    }


# ---------------------------------------------------------------- unseen emoji


def interval(labels: np.ndarray, correct: np.ndarray, seed: int) -> tuple[float, float]:
    """95% interval of the balanced accuracy: the mean of two Beta-distributed recalls under a flat prior.

    Brodersen et al. 2010, "The balanced accuracy and its posterior distribution". `correct` may be a mean over
    repeated folds, in [0, 1] per emoji: repeating does not make more emoji of them.
    """
    random = np.random.default_rng(seed)
    recalls = [
        random.beta(1 + correct[labels == k].sum(), 1 + (1 - correct[labels == k]).sum(), 100_000) for k in range(len(CLASSES))
    ]
    low, high = np.quantile(np.mean(recalls, axis=0), (0.025, 0.975))
    return float(low), float(high)


def folds(originals: data.Originals, labels: torch.Tensor, config: Config) -> list[data.Splits]:
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
        # The report's recipe chooses nothing, so nothing is spent on validation.
        result.append(data.Splits(originals, train_part, nothing, test_part))
    return result


def per_emoji(probability: torch.Tensor, part: data.Part, count: int) -> torch.Tensor:
    """(count,) mean probability over the images of each emoji; 0 for emoji that are not in `part`."""
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, part.emoji, probability.double())
    return sums / part.emoji.bincount(minlength=count).clamp(min=1)


def cross_validate(originals, labels, config: Config, device, record) -> dict:
    """Test every emoji with a network that never saw it, beside a logistic regression. Returns the metrics."""
    require_members(originals, labels, FOLDS)
    truth, count, rows = labels.numpy(), len(labels), []
    predictions = {"network": [], "logistic_regression": []}
    for seed in range(config.seed, config.seed + config.fold_seeds):
        seeded = replace(config, seed=seed)
        probability = {name: torch.zeros(count, dtype=torch.float64) for name in predictions}
        for fold, splits in enumerate(folds(originals, labels, seeded)):
            assert splits.leaked() == 0, "an emoji stands on both sides of a fold"
            model, _, losses = fit(splits, labels, seeded, device, record, {"fold_seed": seed, "fold": fold})
            rows.append(
                {f"test_{name}": value for name, value in training.evaluate(model, splits.test, losses, device).items()}
                | baselines.errors(baselines.fit_pca(splits.train.images, config.latent), splits.test)
            )
            probability["network"] += per_emoji(sad_probability(model, splits.test.images, device), splits.test, count)
            regression = LogisticRegression(max_iter=1000).fit(
                baselines.flatten(splits.train.images), truth[splits.train.emoji]
            )
            sad = torch.from_numpy(regression.predict_proba(baselines.flatten(splits.test.images))[:, 1])
            probability["logistic_regression"] += per_emoji(sad, splits.test, count)
            print(f"fold seed {seed}, fold {fold + 1}/{FOLDS}: accuracy over the images {rows[-1]['test_accuracy']:.4f}")
        for name, values in probability.items():
            predictions[name].append((values > 0.5).long().numpy())

    metrics = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    for name, divisions in predictions.items():
        scores = [balanced_accuracy_score(truth, predicted) for predicted in divisions]
        correct = np.mean([predicted == truth for predicted in divisions], axis=0)
        recalls = np.mean([recall_score(truth, predicted, average=None) for predicted in divisions], axis=0)
        low, high = interval(truth, correct, config.seed)
        prefix = "" if name == "network" else f"{name}_"
        metrics |= {
            f"{prefix}balanced_accuracy": float(np.mean(scores)),
            f"{prefix}balanced_accuracy_per_fold_seed": scores,
            f"{prefix}balanced_accuracy_interval": [low, high],
            f"{prefix}recall": dict(zip(CLASSES, recalls.tolist())),
            f"{prefix}mistaken": [originals.names[i] for i in range(count) if correct[i] < 1],
        }
        print(f"{name.replace('_', ' ')}: balanced accuracy {np.mean(scores):.3f} over {count} emoji, 95% interval {low:.2f} to {high:.2f}")
        print(f"  recall {metrics[f'{prefix}recall']}; mistaken at least once: {metrics[f'{prefix}mistaken'] or 'none'}")
    print("majority class: balanced accuracy 0.500")
    print(f"test MSE {metrics['test_mse']:.4f}; PCA {metrics['pca_mse']:.4f}; mean image {metrics['mean_image_mse']:.4f}")
    majority = float(np.bincount(truth).max() / count)
    return {"originals": count, "fold_seeds": config.fold_seeds, "majority_accuracy": majority, "majority_balanced_accuracy": 0.5, **metrics}


# ---------------------------------------------------------------- question 2e


def compare(originals, labels, config: Config, device, record) -> dict:
    """The paired difference that the classification loss makes to the test MSE, in both split orders."""
    metrics, drawn = {}, {}
    for order in ("report", "emoji"):
        pairs, pca = [], []
        for seed in range(config.seed, config.seed + config.seeds):
            seeded = replace(config, split=order, seed=seed)
            splits = data.split(originals, seeded)
            pca.append(baselines.errors(baselines.fit_pca(splits.train.images, config.latent), splits.test)["pca_mse"])
            pair = {}
            for weight in (config.classification_weight, 0.0):
                run = {"split": order, "seed": seed, "classification_weight": weight}
                model, _, losses = fit(splits, labels, replace(seeded, classification_weight=weight), device, record, run)
                pair[weight] = training.evaluate(model, splits.test, losses, device)["mse"]
            pairs.append(list(pair.values()))
            print(f"{order} order, seed {seed}: test MSE {pairs[-1][0]:.4f} with, {pairs[-1][1]:.4f} without; PCA {pca[-1]:.4f}")
        differences = [joint - alone for joint, alone in pairs]
        mean, half = baselines.mean_and_interval(differences)
        joint, alone = np.mean(pairs, axis=0)
        print(f"{order} order: difference {mean:+.4f}, 95% interval {mean - half:+.4f} to {mean + half:+.4f} ({mean / alone:+.0%})")
        drawn["report's order" if order == "report" else "unseen emoji"] = (differences, mean, half)
        metrics[order] = {
            "test_mse_with": float(joint),
            "test_mse_without": float(alone),
            "differences": differences,
            "difference_mean": mean,
            "difference_std": float(np.std(differences, ddof=1)),
            "difference_interval": [mean - half, mean + half],
            "pca_mse": float(np.mean(pca)),
        }
    figures.paired_differences(drawn, config.plots / "multitask_compare.png")
    return {"seeds": config.seeds, "compare": metrics}


def main(config: Config) -> dict:
    """Train, evaluate, draw and record. Returns the metrics that go into metrics.json."""
    if config.classification_weight == 0 and config.compare:
        raise UserError("--compare needs a --classification-weight above 0 to compare with none")
    device = training.choose_device(config.device)
    originals = data.without(data.load_originals(config.source, config.keyword, config.skip_bad), config.hold_out)
    originals, labels = classify(originals)
    if config.split == "emoji":
        require_members(originals, labels, FOLDS)
    data.check(originals, config)
    run = compare if config.compare else cross_validate if config.split == "emoji" else report_order
    about = {name: getattr(config, name) for name in ("preset", "split", "augment", "epochs", "seed", "classification_weight", "swap_halves")}
    with records.recording(config, originals, device) as record:
        for k, name in enumerate(CLASSES):
            print(f"{name}:", ", ".join(member for member, label in zip(originals.names, labels) if label == k))
        figures.classes(originals.images, originals.names, labels.tolist(), list(CLASSES), config.plots / "multitask_classes.png")
        metrics = run(originals, labels, config, device, record)
        return record.finish({"source": originals.source, **about, **metrics})


if __name__ == "__main__":
    cli.run(main, Config)
