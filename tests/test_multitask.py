"""Part 2: the losses by hand, and each of its commands once."""

import json

import numpy as np
import pytest
import torch

import data
import multiTaskModel
from lab import classes, networks, pretrained, training
from lab.classes import MultiTaskAutoencoder, MultiTaskLoss
from lab.cli import UserError
from lab.networks import Autoencoder

pytestmark = pytest.mark.usefixtures("drawn")
TINY = dict(copies=1, batch_size=16, latent=4, device="cpu")


@pytest.fixture(scope="module")
def labelled(faces):
    """The 18 happy and 5 sad faces of Twemoji, and their labels."""
    return classes.classify(faces)


@pytest.fixture
def config(tmp_path):
    """A function to the config of a tiny run."""
    return lambda **given: multiTaskModel.Config(**{**TINY, **given}, out=tmp_path / "run", plots=tmp_path / "plots")


def rows_of(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class Halves(Autoencoder):
    """Reconstructs everything as grey, and takes an image's first two pixels for its logits."""

    autoencoder = property(lambda self: self)

    def reconstruct(self, images):
        return torch.full_like(images, 0.5), images.flatten(1)[:, :2]

    def classifier(self, latents):
        return latents


def test_the_losses_by_hand():
    """Of images that show no emoji (-1) or one without a class, only the MSE counts."""
    images = torch.zeros(4, 3, 2, 2)
    images[0, 0, 0, 1] = images[1, 0, 0, 1] = 1.0  # logits 0 and 1, so class 1; of the others 0 and 0, so class 0
    labels = torch.tensor([classes.UNLABELLED, 1, 0])
    loss = MultiTaskLoss(labels, 2.0)
    found = {k: v.item() for k, v in loss(Halves(2), images, torch.tensor([1, 2, 0, -1])).items()}
    cross_entropy = np.log(1 + np.e) - 1 / 2  # the mean of log(1 + e) - 1, where it is right, and log(1 + e)
    expected = {"loss": 0.25 + 2 * cross_entropy, "mse": 0.25, "cross_entropy": cross_entropy, "accuracy": 0.5}
    assert found == pytest.approx(expected)
    nobody = loss(Halves(2), images, torch.full((4,), -1))
    assert nobody == {"loss": 0.25, "mse": 0.25, "cross_entropy": 0, "accuracy": 0}


def test_a_run_in_the_courseworks_order(config, drawn, labelled, tmp_path):
    metrics = multiTaskModel.main(config(epochs=1))
    assert {"test_mse", "test_cross_entropy", "test_loss", "majority_accuracy", "pca_mse", "leaked"} <= set(metrics)
    assert np.sum(metrics["confusion"]) == metrics["test"]
    assert np.trace(metrics["confusion"]) / metrics["test"] == pytest.approx(metrics["test_accuracy"])
    assert metrics["test_loss"] == pytest.approx(metrics["test_mse"] + 0.5 * metrics["test_cross_entropy"], rel=1e-5)
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == metrics
    assert drawn == {f"multitask_{name}.png" for name in ("classes", "curves", "latents", "reconstructions")}
    assert isinstance(networks.load(tmp_path / "run"), MultiTaskAutoencoder)
    found = multiTaskModel.main(multiTaskModel.Config(evaluate=tmp_path / "run"))
    assert found == pytest.approx({name: metrics[name] for name in found}, rel=1e-4)
    with pytest.raises(UserError, match="trained on other data .happy and sad emoji alone"):  # none of Part 1
        pretrained.load_reference(tmp_path / "run", config(), labelled[0])


def test_a_run_of_the_best_preset(config, tmp_path, labelled):
    metrics = multiTaskModel.main(config(preset="best", steps=2, pca_images=64, other_pictures=0.0))
    assert metrics["network"] == "residual" and metrics["test_mse"] < metrics["mean_image_mse"]  # it starts at PCA
    (first, *_) = rows_of(tmp_path / "run")
    assert {"step", "train_mse", "train_cross_entropy", "train_accuracy", "val_mse"} <= set(first)
    splits = data.split(labelled[0], config())  # PCA is fitted to its images, not to the augmented ones of the start
    errors = training.baseline_errors(training.fit_pca(splits.train.images, 4), splits.test)
    assert metrics["pca_mse"] == pytest.approx(errors["pca_mse"])


def test_a_run_on_unseen_emoji_tests_each_once(config, monkeypatch, labelled, tmp_path):
    """A classifier that knows every picture is right about every emoji, the logistic regression is not."""
    pictures, labels = labelled
    known = {image.numpy().tobytes(): label for image, label in zip(pictures.images, labels.tolist())}

    def look_up(model, images):
        return torch.eye(2)[[known[image.numpy().tobytes()] for image in images]]

    monkeypatch.setattr(multiTaskModel, "class_probabilities", look_up)
    metrics = multiTaskModel.main(config(copies="none", epochs=1, split="unseen", seeds=2, latent=2))
    assert metrics["balanced_accuracy_per_seed"] == [1.0, 1.0] and metrics["mistaken"] == []
    assert metrics["recall"] == {"happy": 1.0, "sad": 1.0} and metrics["folds"] == 5
    assert metrics["logistic_regression_balanced_accuracy"] < 1 and metrics["logistic_regression_mistaken"]
    low, high = metrics["balanced_accuracy_interval"]
    assert 0.5 < low < high <= 1 and metrics["majority_accuracy"] == pytest.approx(18 / 23)
    trainings = {(row["seed"], row["fold"]) for row in rows_of(tmp_path / "run")}
    assert trainings == {(seed, fold) for seed in (0, 1) for fold in range(5)}
