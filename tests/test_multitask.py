"""Part 2: the losses and the script itself."""

import json

import datasets
import numpy as np
import pytest
import torch

import data
import multiTaskModel as part2
from common import styles
from common.errors import UserError
from lab import baselines, classification, networks, trained, training
from lab.convolutional import ConvAutoencoder
from lab.multitask import MultiTaskAutoencoder, MultiTaskLoss

pytestmark = pytest.mark.usefixtures("decoded_once")

CPU = torch.device("cpu")


def network(latent: int) -> MultiTaskAutoencoder:
    return MultiTaskAutoencoder(ConvAutoencoder(latent, dropout=0.0))


def test_losses_add_up_and_count_every_image(faces_of_a_class):
    originals, labels = faces_of_a_class
    part = data.split(originals, data.DataConfig(copies=3, augment="none")).train
    model = network(8)
    values = training.evaluate(model, part, MultiTaskLoss(labels, 0.5), CPU)
    assert values["loss"] == pytest.approx(values["mse"] + 0.5 * values["cross_entropy"], rel=1e-5)
    predicted = (part2.sad_probability(model, part.images, CPU) > 0.5).long()
    accuracy = (predicted == labels[part.emoji]).float().mean().item()
    for size in (1, 5, 64):  # the last batch alone, or a mean of batch means, would depend on the size
        means = training.Means()
        for images, emoji in data.batches(part, size):
            means.add(MultiTaskLoss(labels, 0.5)(model, data.to_float(images), emoji), len(images))
        assert means.take()["accuracy"] == pytest.approx(accuracy, abs=1e-6)


def test_without_weight_the_classifier_does_not_touch_the_autoencoder(faces_of_a_class):
    originals, labels = faces_of_a_class
    model = network(8)
    emoji = torch.arange(4)
    MultiTaskLoss(labels, 0.0)(model, data.to_float(originals.images[emoji]), emoji)["loss"].backward()
    assert model.classifier.weight.grad.abs().max() == 0
    assert model.autoencoder.encoder[0].weight.grad.abs().max() > 0


def test_an_image_of_no_emoji_counts_in_the_mse_alone(faces_of_a_class):
    originals, labels = faces_of_a_class
    model, loss = network(4).eval(), MultiTaskLoss(labels, 0.5)
    images = data.to_float(originals.images)
    emoji = torch.arange(23).masked_fill(torch.arange(23) % 2 == 1, -1)
    some, of_these = loss(model, images, emoji), loss(model, images[::2], emoji[::2])
    assert some["mse"].item() == pytest.approx(loss(model, images, torch.arange(23))["mse"].item())
    for name in ("cross_entropy", "accuracy"):
        assert some[name].item() == pytest.approx(of_these[name].item())
    assert loss(model, images, torch.full((23,), -1))["cross_entropy"] == 0


TINY = dict(source="twemoji", copies=1, epochs=1, batch_size=16, latent=4)


def test_main_in_the_reports_order(tmp_path):
    config = part2.Config(**TINY, out=tmp_path / "run", plots=tmp_path / "plots")
    metrics = part2.main(config)
    required = "test_mse test_cross_entropy test_loss test_accuracy majority_accuracy pca_mse mean_image_mse confusion"
    assert set(required.split()) <= set(metrics)
    assert np.sum(metrics["confusion"]) == metrics["test"]
    assert np.trace(metrics["confusion"]) / metrics["test"] == pytest.approx(metrics["test_accuracy"])
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == metrics
    model = networks.load(tmp_path / "run")
    assert isinstance(model, MultiTaskAutoencoder) and model.classes == 2
    with pytest.raises(UserError, match="happy and sad emoji alone"):  # no network to show beside one of Part 1
        trained.beside(tmp_path / "run", config, data.load_originals())
    assert model.encode(torch.rand(1, 3, 64, 64)).shape == (1, 4)
    figures = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {f"multitask_{name}.png" for name in ("curves", "reconstructions", "latents", "classes")} <= figures


def test_main_on_unseen_emoji(tmp_path):
    metrics = part2.main(part2.Config(**TINY, split="emoji", fold_seeds=2, out=tmp_path, plots=tmp_path))
    low, high = metrics["balanced_accuracy_interval"]
    assert 0 <= low < high <= 1
    assert 0 <= metrics["logistic_regression_balanced_accuracy"] <= 1
    assert len(metrics["balanced_accuracy_per_fold_seed"]) == 2
    assert metrics["balanced_accuracy"] == pytest.approx(np.mean(metrics["balanced_accuracy_per_fold_seed"]))


def test_every_emoji_is_judged_by_its_own_test_images(tmp_path, monkeypatch, faces_of_a_class):
    """A network that is always right, by looking the picture up, is right of every emoji."""
    originals, labels = faces_of_a_class
    known = {image.numpy().tobytes(): float(label) for image, label in zip(originals.images, labels)}

    def looked_up(model, images, device):
        return torch.tensor([known[image.numpy().tobytes()] for image in images])

    monkeypatch.setattr(part2, "sad_probability", looked_up)
    exact = TINY | {"copies": "none"}
    metrics = part2.main(part2.Config(**exact, split="emoji", out=tmp_path, plots=tmp_path))
    assert metrics["balanced_accuracy"] == 1.0 and metrics["mistaken"] == []


@pytest.mark.parametrize("split", ["report", "emoji"])
def test_main_with_the_best_preset(tmp_path, split):
    tiny = dict(source="twemoji", copies=1, latent=4, batch_size=16, pca_images=64, train_on="faces")
    metrics = part2.main(part2.BestConfig(**tiny, split=split, steps=2, out=tmp_path, plots=tmp_path))
    assert metrics["preset"] == "best" and metrics["test_mse"] < metrics["mean_image_mse"]  # it starts at PCA
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"step", "train_mse", "train_cross_entropy", "train_accuracy"} <= set(rows[0])
    assert ("fold" in rows[0]) == (split == "emoji") and ("val_mse" in rows[0]) == (split == "report")
    assert (tmp_path / "multitask_best_curves.png").exists() == (split == "report")
    if split == "report":  # PCA of the same training images, not of the start's
        splits = data.split(classification.classify(data.load_originals("twemoji"))[0], part2.Config(**TINY))
        errors = baselines.errors(baselines.fit_pca(splits.train.images, 4), splits.test)
        assert metrics["pca_mse"] == pytest.approx(errors["pca_mse"])


def test_main_compares_on_the_same_images(tmp_path):
    metrics = part2.main(part2.Config(**TINY, compare=True, seeds=2, out=tmp_path, plots=tmp_path))
    probe = metrics["linear_probe"]
    assert all(0 <= probe[f"balanced_accuracy_{which}"] <= 1 for which in ("with", "without"))
    for quantity, values, test_to_train in (
        ("test_mse", metrics["compare"]["report"], 1 / 3),  # of 60/20/20
        ("test_mse", metrics["compare"]["emoji"], 1 / 4),  # of five folds
        ("balanced_accuracy", probe, 1 / 4),
    ):
        joint, alone = (values[f"{quantity}_{which}"] for which in ("with", "without"))
        assert values["difference_mean"] == pytest.approx(joint - alone, abs=1e-9)
        assert values["difference_mean"] == pytest.approx(np.mean(values["differences"]), abs=1e-9)
        assert len(values["differences"]) == 2 and (quantity != "test_mse" or all(values["differences"]))
        corrected, plain = (np.ptp(values[name]) for name in ("difference_interval", "difference_plain_interval"))
        assert corrected == pytest.approx(plain * ((1 / 2 + test_to_train) / (1 / 2)) ** 0.5)  # two seeds
    assert {path.name for path in tmp_path.glob("multitask_compare*.png")} == {
        "multitask_compare.png", "multitask_compare_latents.png"
    }  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    first = [row["train_mse"] for row in rows if (row["split"], row["seed"]) == ("report", 0)]
    assert first[0] == pytest.approx(first[1], rel=0.2)  # same weights, same batches


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--classification-weight", "-1"], "--classification-weight is -1"),
        (
            ["--keyword", "grinning face"],
            "class sad has 0 emoji (none) and needs 1; it looks for sad face / crying face",
        ),
        (["--keyword", "zebra"], "class happy has 0 emoji"),
        (["--source", "few.parquet", "--split", "emoji"], "class sad has 1 emoji (sad face) and needs 2"),
        (["--source", "both.parquet"], "'happy face and sad face' matches both classes"),
        (["--compare", "--seeds", "1"], "--seeds is 1"),
        (["--compare", "--classification-weight", "0"], "--compare needs"),
        (["--compare", "--preset", "best"], "--compare asks about the report preset"),
    ],
)
def test_bad_input(command, tmp_path, arguments, message):
    images = [{"bytes": read(), "path": None} for _, _, read, _ in styles.twemoji_rows()[:10]]
    for file, texts in {
        "few": [f"happy face {i}" for i in range(9)] + ["sad face"],
        "both": ["happy face and sad face"] * 9,
    }.items():
        datasets.Dataset.from_dict({"image": images[: len(texts)], "text": texts}).to_parquet(f"{file}.parquet")
    status, _, error = command(part2, "--source", "twemoji", *arguments)
    assert status == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_like_pictures_are_one_emoji_for_the_folds(made, command, monkeypatch):
    names = [*(f"happy face {i}" for i in range(6)), *(f"sad face {i}" for i in range(5))]
    originals = made(names)
    originals.images[6:] = originals.images[6]
    monkeypatch.setattr(data, "load_originals", lambda *_: originals)
    status, _, error = command(part2, "--split", "emoji")
    assert (status, error.count("\n")) == (2, 1) and "class sad has 1 emoji" in error and "needs 2" in error


def test_a_latent_of_one_number_and_no_copies(command, tmp_path):
    status, _, error = command(part2, "--source", "twemoji", "--latent", "1", "--copies", "none", "--epochs", "1")
    assert status == 0 and (tmp_path / "plots/multitask_latents.png").exists(), error
    assert json.loads((tmp_path / "runs/multitask/metrics.json").read_text())["copies"] == 0
