"""Happy or sad: the classes, what a linear probe finds, and what a method gets right."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import data
from lab import classes, statistics
from lab.cli import UserError
from lab.names import normalise
from lab.options import DataOptions
from lab.pictures import Part, generator


NAMED = {
    "SMILING FACE WITH HEART-SHAPED EYES": 0,
    "GRINNING FACE": 0,
    "loudly crying face": 1,
    "SLIGHTLY FROWNING FACE": 1,
    "smiling cat face with open mouth": None,
    "neutral face": None,
}


def test_twemoji_has_18_happy_and_5_sad_emoji(faces, made):
    pictures, labels = classes.classify(faces)
    assert labels.bincount().tolist() == [18, 5] and len(pictures) == 23
    assert {text: classes.class_of(normalise(text)) for text in NAMED} == NAMED
    with pytest.raises(UserError, match="matches both classes, happy and sad"):
        classes.classify(made(["crying face with a smiling face"]))
    like = made(["happy face", "grinning face", "sad face 1", "sad face 2"])
    like.images[3] = like.images[2]  # one emoji
    with pytest.raises(UserError, match=r"class sad has 1 emoji \(sad face 1\) and needs 2"):
        classes.require_members(like, torch.tensor([0, 0, 1, 1]), 2)


@pytest.fixture(scope="module")
def fold(faces):
    """The labels of the emoji, and the indices of those in training and in the test of a fold."""
    pictures, labels = classes.classify(faces)
    splits = next(data.folds(pictures, labels, DataOptions(copies="none")))
    return labels, splits.train.emoji, splits.test.emoji


def noise(seed: int) -> torch.Tensor:
    return torch.randn(23, 8, generator=generator("latents", seed))


def test_a_linear_probe_finds_a_direction_of_the_classes_and_none_in_noise(fold):
    labels, train, test = fold
    assert classes.linear_probe(noise(0) + 20 * labels[:, None], labels, train, test) == 1
    assert 0.35 < np.mean([classes.linear_probe(noise(seed), labels, train, test) for seed in range(30)]) < 0.65


def test_a_linear_probe_learns_nothing_from_what_it_is_tested_on(fold):
    """Not even how far away the other tested emoji are."""
    labels, train, test = fold
    asked = torch.stack([test[labels[test] == k][0] for k in range(2)])
    far = noise(1) + labels[:, None]
    near, far[test[~torch.isin(test, asked)]] = far.clone(), 1e6
    assert classes.linear_probe(near, labels, train, asked) == classes.linear_probe(far, labels, train, asked)


def test_the_plane_is_that_of_the_emoji_it_is_fitted_to():
    latents = torch.tensor([[2.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0], [5, 5, 9]])
    points = classes.project_to_plane(latents, torch.arange(4))
    assert torch.allclose(points.abs().float(), latents[:, :2].abs(), atol=1e-6)
    assert classes.project_to_plane(latents[:, :1], torch.arange(4))[:, 1].tolist() == [0] * 5


def test_a_prediction_is_the_mean_over_an_emojis_images():
    part = Part(torch.zeros(3, 3, 64, 64), torch.tensor([1, 1, 2]))
    found = classes.mean_per_emoji(torch.tensor([0.25, 0.5, 1.0]), part, 4)
    assert found.tolist() == [0, 0.375, 1, 0]


def test_a_methods_accuracy_over_divisions_and_styles(made, capsys):
    pictures = replace(made(["a", "b", "c", "a", "b", "c"]), styles=["made"] * 3 + ["other"] * 3)
    truth = np.array([0, 0, 1, 0, 0, 1])
    divisions = [truth, np.array([0, 1, 1, 0, 0, 1])]  # b is wrong once, in one style
    found = classes.accuracies({"network": divisions}, truth, pictures, 0)
    assert found["balanced_accuracy_per_seed"] == [1, 0.875] and found["balanced_accuracy"] == 0.9375
    assert found["recall"] == {"happy": 0.875, "sad": 1.0} and found["mistaken"] == ["b"]
    assert found["styles"]["made"]["recall"]["happy"] == 0.75 and found["styles"]["other"]["mistaken"] == []
    assert "over 3 emoji" in capsys.readouterr().out  # in two styles they are no more


def test_the_interval_of_a_mean_is_students_and_corrected_for_shared_training_emoji():
    """Nadeau and Bengio 2003, written out: t times the root of (1/n + test/train) x variance."""
    values = [0.4, 0.1, 0.3, 0.5, 0.2]  # variance 0.025; t of 4 degrees of freedom is 2.7764
    assert statistics.mean_and_interval(values) == pytest.approx((0.3, 2.7764451 * (0.025 / 5) ** 0.5))
    mean, half = statistics.mean_and_interval(values, test_to_train=1 / 4)
    assert (mean, half) == pytest.approx((0.3, 2.7764451 * (0.025 * (1 / 5 + 1 / 4)) ** 0.5))


@pytest.mark.parametrize("right, count", [(18, 18), (13, 18), (0, 5)])
def test_the_interval_of_one_recall_is_jeffreys(right, count):
    from scipy import stats

    correct = (np.arange(count) < right).astype(float)
    expected = stats.beta(right + 0.5, count - right + 0.5).ppf([0.025, 0.975])
    found = statistics.balanced_accuracy_interval(np.zeros(count), correct, seed=0)
    assert found == pytest.approx(tuple(expected), abs=0.005)


@pytest.mark.long
@pytest.mark.parametrize("recalls", [(0.9, 0.8), (0.87, 0.95), (0.99, 0.99)])
def test_of_few_emoji_jeffreys_prior_covers_the_truth_as_often_as_it_should(recalls):
    """And more nearly so than a flat prior. Of 18 happy and 5 sad emoji, as in Twemoji."""
    from scipy import stats

    labels, chances = np.repeat([0, 1], (18, 5)), [stats.binom(n, p) for n, p in zip((18, 5), recalls)]
    covered = {0.5: 0.0, 1.0: 0.0}
    for happy, sad in np.ndindex(19, 6):
        correct = np.concatenate([np.arange(18) < happy, np.arange(5) < sad]).astype(float)
        for prior in covered:
            low, high = statistics.balanced_accuracy_interval(labels, correct, 0, prior)
            covered[prior] += chances[0].pmf(happy) * chances[1].pmf(sad) * (low <= np.mean(recalls) <= high)
    assert covered[0.5] == pytest.approx(0.95, abs=0.03)
    assert abs(covered[0.5] - 0.95) < abs(covered[1.0] - 0.95)


def test_holms_correction_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 x, then 2 x, then the highest
    assert statistics.holm([0.5, 0.9]) == [1, 1] and statistics.holm([]) == []


def test_the_spread_of_numbers_over_runs():
    of_both = {"source": "x"}
    runs = [{**of_both, "test_mse": 0.02, "pca_mse": 0.01, "a": {"b": 1}, "skipped": True}]
    runs += [{**of_both, "test_mse": 0.04, "pca_mse": 0.02, "a": {"b": 2}, "only_here": 1}]
    found = statistics.spread(runs)
    assert set(found["values"]) == {"test_mse", "pca_mse", "a.b"} and found["n"] == 2
    assert found["mean"]["a.b"] == 1.5 and found["std"]["a.b"] == pytest.approx(0.5**0.5)
