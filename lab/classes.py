"""Happy or sad: which emoji belong to a class, Part 2's loss, classifiers to compare with, and what they get right."""

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from lab.cli import UserError
from lab.networks import Autoencoder, encode_all
from lab.pictures import Part, Pictures
from lab.statistics import balanced_accuracy_interval
from lab.training import flatten

CLASSES = {  # as in the coursework: an emoji is in a class if its description has a phrase, or is the class's name
    "happy": ("happy face", "grinning face", "smiling face"),
    "sad": ("sad face", "crying face", "frowning face"),
}
UNLABELLED = -100  # the label that cross-entropy leaves out


def class_of(name: str) -> int | None:
    """0 for happy, 1 for sad, None for neither. Raises UserError for a name that is both."""
    found = [k for k, (own, phrases) in enumerate(CLASSES.items()) if name == own or any(p in name for p in phrases)]
    if len(found) > 1:
        raise UserError(f"{name!r} matches both classes, {' and '.join(CLASSES)}; rename it or narrow --keyword")
    return found[0] if found else None


def classify(pictures: Pictures) -> tuple[Pictures, torch.Tensor]:
    """The pictures that belong to a class, and their (N,) int64 labels. Raises UserError for an empty class."""
    labels = [class_of(name) for name in pictures.names]
    kept = [i for i, label in enumerate(labels) if label is not None]
    chosen, labels = pictures.take(kept), torch.tensor([labels[i] for i in kept], dtype=torch.int64)
    require_members(chosen, labels, 1)
    return chosen, labels


def members(pictures: Pictures, labels: torch.Tensor) -> list[list[str]]:
    """The different emoji of each class, in order; twins and look-alikes are one."""
    class_of_key = dict(zip(pictures.keys, labels.tolist()))
    return [sorted(key for key, label in class_of_key.items() if label == k) for k in range(len(CLASSES))]


def require_members(pictures: Pictures, labels: torch.Tensor, fewest: int) -> None:
    """Raise UserError for a class with fewer than `fewest` different emoji."""
    for (class_name, phrases), keys in zip(CLASSES.items(), members(pictures, labels)):
        if len(keys) < fewest:
            found = f"class {class_name} has {len(keys)} emoji ({', '.join(keys) or 'none'}) and needs {fewest}"
            raise UserError(f"{found}; it looks for {' / '.join(phrases)}")


class MultiTaskAutoencoder(Autoencoder):
    """Part 2's: an autoencoder of any architecture with a linear classifier, (N, classes) logits, on its latent."""

    architecture = "multi-task"

    def __init__(self, autoencoder: Autoencoder, classes: int = 2):
        super().__init__(autoencoder.latent)
        self.autoencoder, self.classes = autoencoder, classes
        self.linear_path = tuple(f"autoencoder.{name}" for name in autoencoder.linear_path)
        self.classifier = nn.Linear(autoencoder.latent, classes)
        self.encode, self.decode = autoencoder.encode, autoencoder.decode
        self.reconstruct, self.start_at_pca = autoencoder.reconstruct, autoencoder.start_at_pca

    def settings(self) -> dict:
        inner = {"architecture": self.autoencoder.architecture, **self.autoencoder.settings()}
        return {"autoencoder": inner, "classes": self.classes}


@torch.no_grad()
def class_probabilities(model: MultiTaskAutoencoder, images: torch.Tensor) -> torch.Tensor:
    """(N, classes) on the CPU, from (N, 3, 64, 64) images."""
    latents = encode_all(model, images).to(model.classifier.weight.device)
    return model.classifier(latents).softmax(1).cpu()


class MultiTaskLoss:
    """MSE, cross-entropy and accuracy, and the loss MSE + weight x cross-entropy. `labels` is one per picture.
    A network's own loss replaces the MSE in the sum.
    Images of no emoji (-1), which only the best preset has, and of emoji of no class count in the MSE alone."""

    def __init__(self, labels: torch.Tensor, weight: float):
        self.labels, self.weight = labels, weight

    def __call__(self, model: Autoencoder, images: torch.Tensor, emoji: torch.Tensor) -> dict[str, torch.Tensor]:
        labels = self.labels.to(emoji.device)[emoji].masked_fill(emoji < 0, UNLABELLED)
        reconstructions, latents = model.reconstruct(images)
        logits = model.classifier(latents)
        mse = nn.functional.mse_loss(reconstructions, images)
        count = (labels != UNLABELLED).sum().clamp(min=1)  # a batch of mixed images alone has no label at all
        cross_entropy = nn.functional.cross_entropy(logits, labels, reduction="sum") / count
        accuracy = (logits.argmax(1) == labels).float().sum() / count
        own = {} if type(model.autoencoder).loss is Autoencoder.loss else model.autoencoder.loss(images)
        loss = own.get("loss", mse) + self.weight * cross_entropy
        return own | {"loss": loss, "mse": mse, "cross_entropy": cross_entropy, "accuracy": accuracy}


def regression_probabilities(train: Part, labels: torch.Tensor, tests: list[torch.Tensor]) -> list[torch.Tensor]:
    """(N,) probabilities of sad of each (N, 3, 64, 64) images, by a logistic regression on the training pixels.
    `labels` are one per picture."""
    from sklearn.linear_model import LogisticRegression

    with threadpool_limits(1, "blas"):  # on a busy machine, two threads took 100 times as long as one
        regression = LogisticRegression(max_iter=1000).fit(flatten(train.images), labels[train.emoji].numpy())
        return [torch.from_numpy(regression.predict_proba(flatten(images))[:, 1]) for images in tests]


def linear_probe(latents: torch.Tensor, labels: torch.Tensor, train: torch.Tensor, test: torch.Tensor) -> float:
    """Balanced accuracy on the emoji at `test` of a logistic regression on the latents of those at `train`.
    `latents` are (N, d), one per emoji, and are standardised by the mean and spread of those at `train`."""
    from sklearn import linear_model, metrics, pipeline, preprocessing

    latents, labels = latents.numpy(), labels.numpy()
    regression = linear_model.LogisticRegression(max_iter=1000)
    with threadpool_limits(1, "blas"):
        probe = pipeline.make_pipeline(preprocessing.StandardScaler(), regression).fit(latents[train], labels[train])
        return float(metrics.balanced_accuracy_score(labels[test], probe.predict(latents[test])))


def project_to_plane(latents: torch.Tensor, fitted_to: torch.Tensor) -> torch.Tensor:
    """(N, 2): (N, d) latents along the first two principal components of those at `fitted_to`."""
    from sklearn.decomposition import PCA

    pca = PCA(min(2, latents.shape[1]), svd_solver="full").fit(latents[fitted_to].numpy())
    points = torch.from_numpy(pca.transform(latents.numpy()))
    return nn.functional.pad(points, (0, 2 - points.shape[1]))  # a latent of one number has no second component


def mean_per_emoji(probability: torch.Tensor, part: Part, count: int) -> torch.Tensor:
    """(count,) mean probability over the images of each emoji; 0 for emoji that are not in `part`."""
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, part.emoji, probability.double())
    return sums / part.emoji.bincount(minlength=count).clamp(min=1)


def accuracy(name: str, predictions: list[np.ndarray], truth: np.ndarray, names: list[str], seed: int) -> dict:
    """Balanced accuracy of a method with its 95% interval, from (N,) predictions per cross-validation; prints it.
    An emoji is one of the interval's independent cases, in however many styles it is there."""
    from sklearn.metrics import balanced_accuracy_score, recall_score

    scores = [balanced_accuracy_score(truth, predicted) for predicted in predictions]
    correct = np.mean([predicted == truth for predicted in predictions], axis=0)
    recalls = np.mean([recall_score(truth, predicted, average=None) for predicted in predictions], axis=0)
    distinct, first, case = np.unique(names, return_index=True, return_inverse=True)
    by_name = np.bincount(case, correct) / np.bincount(case)
    low, high = balanced_accuracy_interval(truth[first], by_name, seed)
    recall = dict(zip(CLASSES, recalls.tolist()))
    mistaken = sorted({names[i] for i in range(len(truth)) if correct[i] < 1})
    print(f"{name.replace('_', ' ')}: balanced accuracy {np.mean(scores):.3f} over {len(distinct)} emoji, "
          f"95% interval {low:.2f} to {high:.2f}")  # fmt: skip
    print(f"  recall {recall}; wrong at least once: {', '.join(mistaken) or 'none'}")
    found = {"balanced_accuracy": float(np.mean(scores)), "balanced_accuracy_per_seed": scores}
    found |= {"balanced_accuracy_interval": [low, high], "recall": recall, "mistaken": mistaken}
    return found if name == "network" else {f"{name}_{key}": value for key, value in found.items()}


def accuracies(predictions: dict[str, list[np.ndarray]], truth: np.ndarray, pictures: Pictures, seed: int) -> dict:
    """The `accuracy` of each method over all pictures and, where there are several, in each style."""
    metrics, styles = {}, list(dict.fromkeys(pictures.styles))
    for name, divisions in predictions.items():
        metrics |= accuracy(name, divisions, truth, pictures.names, seed)
    for style in styles if len(styles) > 1 else ():
        print(f"of these, {style}:")
        chosen, found = pictures.of_style(style).numpy(), {}
        for name, divisions in predictions.items():
            own = [pictures.names[i] for i in chosen]
            found |= accuracy(name, [each[chosen] for each in divisions], truth[chosen], own, seed)
        metrics.setdefault("styles", {})[style] = found
    return metrics
