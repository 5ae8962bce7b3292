"""Happy or sad: the classes, the folds, the linear probe, and what a few emoji can show."""

from functools import lru_cache
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

import data
import multiTaskModel as part2
from common.errors import UserError
from lab import classification


@pytest.mark.parametrize(
    "text, expected",
    [
        ("SMILING FACE WITH HEART-SHAPED EYES", 0),
        ("smiling face with heart shaped eyes", 0),
        ("GRINNING FACE", 0),
        ("loudly crying face", 1),
        ("SLIGHTLY FROWNING FACE", 1),
        ("smiling cat face with open mouth", None),
        ("neutral face", None),
    ],
)
def test_class_by_description_in_both_spellings(text, expected):
    assert classification.class_of(data.normalise(text)) == expected


def test_twemoji_has_18_happy_and_5_sad(faces_of_a_class):
    originals, labels = faces_of_a_class
    assert labels.bincount().tolist() == [18, 5]
    assert len(originals.names) == len(originals.images) == 23
    assert all("face" in name and "cat" not in name for name in originals.names)


def test_a_text_of_both_classes_is_an_error():
    with pytest.raises(UserError, match="crying face beside a smiling face"):
        classification.class_of("crying face beside a smiling face")


def test_folds_test_every_emoji_once_and_never_leak(faces_of_a_class):
    originals, labels = faces_of_a_class
    config = part2.Config(copies=2, augment="none")
    tested = []
    for splits in classification.folds(originals, labels, config):
        train = {originals.names[i] for i in splits.train.emoji}
        test = {originals.names[i] for i in splits.test.emoji}
        assert not train & test and len(train) + len(test) == 23
        assert splits.test.emoji.bincount().max() == 3  # the original and both copies
        assert labels[splits.test.emoji].sum() == 3  # one sad emoji in each fold
        tested += test
    assert sorted(tested) == sorted(originals.names)


def test_five_seeds_test_every_emoji_once_and_the_next_five_in_another_division(faces_of_a_class):
    def tested(seed):
        splits = classification.fold_of_seed(*faces_of_a_class, part2.Config(copies="none", seed=seed))
        assert splits.leaked() == 0
        return tuple(splits.test.emoji.tolist())

    divisions = [{tested(seed) for seed in range(start, start + 5)} for start in (0, 5)]
    assert all(sorted(sum(division, ())) == list(range(23)) for division in divisions)
    assert divisions[0] != divisions[1]


@pytest.fixture(scope="module")
def held_out(faces_of_a_class):
    """Indices of the emoji of a fold: those in training, and those held out."""
    fold = classification.fold_of_seed(*faces_of_a_class, part2.Config(copies="none"))
    return fold.train.emoji, fold.test.emoji


def test_a_linear_probe_finds_a_direction_of_the_classes_and_nothing_in_noise(faces_of_a_class, held_out):
    labels = faces_of_a_class[1]
    noise = torch.randn(23, 8, generator=data.generator("latents", 0))
    parted = noise + 20 * labels[:, None]
    assert classification.linear_probe(parted, labels, *held_out) == 1
    random = [
        classification.linear_probe(torch.randn(23, 8, generator=data.generator("latents", s)), labels, *held_out)
        for s in range(40)
    ]
    assert 0.35 < np.mean(random) < 0.65


def test_a_linear_probe_learns_nothing_of_what_is_held_out(faces_of_a_class, held_out):
    """Not even how far away the others of the emoji held out are."""
    labels, (train, test) = faces_of_a_class[1], held_out
    asked = torch.stack([test[labels[test] == k][0] for k in range(2)])
    others = test[~torch.isin(test, asked)]
    scores = {0: [], 1e6: []}
    for seed in range(20):
        latents = torch.randn(23, 8, generator=data.generator("latents", seed)) + labels[:, None]
        for distance, those in scores.items():
            latents[others] += distance
            those.append(classification.linear_probe(latents, labels, train, asked))
    assert scores[0] == scores[1e6] and len(set(scores[0])) > 1


def test_prediction_per_emoji_is_the_mean_over_its_images():
    part = data.Part(torch.zeros(3, 3, 64, 64), torch.tensor([1, 1, 2]))
    assert classification.per_emoji(torch.tensor([0.2, 0.6, 1.0]), part, 4).tolist() == pytest.approx([0, 0.4, 1, 0])


@lru_cache
def interval_of(right: tuple[int, int], prior: float) -> tuple[float, float]:
    """The interval where so many of 18 happy and 5 sad emoji are told right."""
    correct = np.concatenate([np.arange(count) < k for count, k in zip((18, 5), right)]).astype(float)
    return classification.interval(np.repeat([0, 1], (18, 5)), correct, 0, prior)


def coverage(recalls: tuple[float, float], prior: float) -> float:
    """The probability that the interval holds the balanced accuracy of these true recalls."""
    chances = [stats.binom.pmf(np.arange(count + 1), count, recall) for count, recall in zip((18, 5), recalls)]
    held = 0.0
    for right in product(range(19), range(6)):
        chance = chances[0][right[0]] * chances[1][right[1]]
        low, high = interval_of(right, prior) if chance > 1e-5 else (1, 0)
        held += chance * (low <= np.mean(recalls) <= high)
    return held


@pytest.mark.parametrize("recalls", [(0.9, 0.8), (0.9, 0.9), (0.87, 0.95), (0.95, 0.95), (0.99, 0.99)])
def test_of_so_few_emoji_jeffreys_prior_covers_high_recalls_as_it_should_and_a_flat_one_does_not(recalls):
    jeffreys, flat = (coverage(recalls, prior) for prior in (classification.PRIOR, 1.0))
    assert jeffreys == pytest.approx(0.95, abs=0.03)
    assert abs(jeffreys - 0.95) < abs(flat - 0.95)


def test_interval_holds_the_balanced_accuracy_and_shrinks_with_more_emoji():
    labels, correct = np.array([0] * 18 + [1] * 5), np.ones(23)
    correct[0] = 0
    low, high = classification.interval(labels, correct, 0)
    assert low < 0.5 * (17 / 18 + 1) and high < 1
    wider = high - low
    low, high = classification.interval(labels.repeat(10), correct.repeat(10), 0)
    assert high - low < wider / 2
