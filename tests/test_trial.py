"""One trial of an experiment: its classes, what it trains and tests on, and what it measures."""

from dataclasses import replace

import pytest
import torch

import data
from lab.convolutional import ConvAutoencoder
from lab.mixture import refuse_leaks
from studies import trial as study
from studies.hypotheses import CLASSIFIER, EMOTIONS, EXPERIMENTS, FACES, Trial, of_preset

TINY = {"steps": 2, "copies": 1, "latent": 8}
pytestmark = pytest.mark.usefixtures("decoded_once")


# ---------------------------------------------------------------- classes and splits


def test_each_emotion_has_emoji_for_every_fold(faces):
    emotions = study.labels(faces.names, "emotions")
    for k, name in enumerate(study.EMOTIONS):
        assert len({key for key, label in zip(faces.keys, emotions) if label == k}) >= 5, name


@pytest.mark.parametrize(
    "text, expected",
    [
        ("SMILING FACE WITH HEART-SHAPED EYES", "love"),
        ("smiling face with open mouth", "happy"),
        ("frowning face with open mouth", "sad"),
        ("face with open mouth", "surprised"),
        ("face with open mouth vomiting", "sick"),
        ("disappointed but relieved face", "sad"),
        ("pouting cat face", "angry"),
        ("neutral face", "neutral"),
        ("clock face one oclock", None),
    ],
)
def test_the_first_emotion_counts(text, expected):
    assert study.emotion(data.normalise(text)) == expected


def test_emotions_refine_the_originals_classes(faces):
    for name in faces.names:
        if study.happy_or_sad(name):
            assert study.emotion(name) in {"happy": ("happy", "love"), "sad": ("sad",)}[study.happy_or_sad(name)]
    two, emotions = study.labels(faces.names, "two emotions"), study.labels(faces.names, "emotions")
    assert ((two >= 0) == (emotions == 3) | (emotions == 4)).all()
    assert set(two.tolist()) == {0, 1, study.UNLABELLED}


@pytest.mark.parametrize("images", ["faces", "happy or sad", "emotions"])
def test_five_seeds_test_every_emoji_once(images):
    originals, _ = study.chosen(Trial(images=images))
    tested = [name for seed in range(5) for name in study.divide(Trial(images=images, seed=seed))[1].names]
    assert sorted(tested) == sorted(originals.names)


@pytest.mark.parametrize("images", ["faces", "all", "happy or sad", "emotions"])
def test_nothing_tested_is_trained_on(images):
    training, tested = study.divide(Trial(images=images, seed=7))
    part = data.Part(tested.images, torch.arange(len(tested.names)))
    refuse_leaks(training.names, training.images, data.Splits(tested, part, part, part))
    assert all("face" in name for name in tested.names)
    assert (len(training.names) > 3000) == (images == "all")


# ---------------------------------------------------------------- training images


def test_every_material_gets_as_many_steps(faces):
    part = data.Part(faces.images[:10], torch.arange(10))
    stream = study.stream(part, 16, data.generator("order", 0))
    batches = [next(stream) for _ in range(4)]
    emoji = torch.cat([emoji for _, emoji in batches])
    assert [len(images) for images, _ in batches] == [16] * 4
    assert emoji[:10].unique().numel() == emoji[10:20].unique().numel() == 10
    assert emoji[:10].tolist() != emoji[10:20].tolist()
    assert torch.equal(batches[1][0], faces.images[batches[1][1]])


def test_augmentation_changes_the_copies_only():
    training = data.take(study.divide(Trial())[0], list(range(60)))
    count, distance = len(training.names), {}
    for name in ("none", "original", "adversarial"):
        part = study.copied(Trial(augmentation=name, copies=1), training)
        assert torch.equal(part.images[:count], training.images) and part.emoji.tolist() == 2 * list(range(count))
        distance[name] = (data.to_float(part.images[count:]) - data.to_float(training.images)).square().mean().item()
    assert distance["none"] == distance["adversarial"] == 0 < distance["original"]
    again = [study.copied(Trial(copies=1, seed=seed), training).images for seed in (0, 0, 1)]
    assert torch.equal(again[0], again[1]) and not torch.equal(again[0], again[2])


def test_an_attack_is_small_and_makes_the_error_larger(faces):
    def error(inputs):
        return torch.nn.functional.mse_loss(model(inputs), images).item()

    torch.manual_seed(0)
    model = ConvAutoencoder(latent=8, dropout=0.0).eval()
    images = data.to_float(faces.images[:16])
    attacked = study.adversarial(model, images)
    assert (attacked - images).abs().max() <= study.EPSILON + 1e-6 and 0 <= attacked.min() and attacked.max() <= 1
    assert not attacked.requires_grad and all(parameter.grad is None for parameter in model.parameters())
    signs = (torch.rand(images.shape, generator=data.generator("noise", 0)) - 0.5).sign()
    noisy = (images + study.EPSILON * signs).clamp(0, 1)
    assert error(attacked) > error(images) and error(attacked) - error(images) > 3 * abs(error(noisy) - error(images))
    assert study.adversarial_loss(model, images, None)["loss"].item() > error(images)


# ---------------------------------------------------------------- presets


@pytest.mark.parametrize("name", set(EXPERIMENTS) - {"dropout", "copies"})
def test_the_best_preset_keeps_settings_apart(name):
    settings = EXPERIMENTS[name].settings
    best = {of_preset(setting, "best") for setting in settings.values()}
    assert len(best) == len(settings) and all(trial.preset == "best" and trial.dropout == 0 for trial in best)
    assert all(of_preset(setting, "report") == setting for setting in settings.values())


@pytest.mark.parametrize("wrong", [{"preset": "best"}, {"copies": "fresh", "augmentation": "none"}])
def test_trials_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="dropout|fresh"):
        Trial(**wrong)


# ---------------------------------------------------------------- what is measured


@pytest.mark.parametrize(
    "trial",
    [
        Trial(**TINY),
        Trial(**TINY, augmentation="adversarial"),
        Trial(**TINY, also=("openmoji",)),
        replace(FACES, images="all", copies="none", latent=8, steps=2),
        replace(EMOTIONS, **TINY),
        replace(EMOTIONS, **TINY, weight=0.0),
        replace(CLASSIFIER, **TINY),
    ],
)
def test_a_trial_measures_errors_and_accuracies(trial):
    metrics = study.measure(trial)
    assert metrics["steps"] == [2] and 0 < metrics["pca_mse"] < metrics["mean_image_mse"] < metrics["mse"][0] < 1
    assert 0 < metrics["copies_mse"][0] < 1 and 0 < metrics["train_mse"][0] < 1
    assert ("balanced_accuracy" in metrics) == (trial.classes != "none")
    if trial.classes != "none":
        assert (metrics["balanced_accuracy"] is None) == (trial.weight == 0)
        assert metrics["majority_balanced_accuracy"] == 1 / len(study.CLASSES[trial.classes][0])


def test_a_style_never_seen_is_tested_on_the_same_emoji():
    metrics = study.measure(Trial(**TINY, hold_out_style="openmoji"))
    assert 0 < metrics["unseen_style_pca_mse"] < metrics["unseen_style_mse"][0] < 1
    parts, fold = study.tested_parts(Trial(hold_out_style="openmoji")), study.fold_of(Trial(hold_out_style="openmoji"))
    tested = {name: {fold.originals.names[i] for i in fold.tests()[name].emoji} for name in ("twemoji", "openmoji")}
    assert tested["openmoji"] == tested["twemoji"] and len(parts["unseen_style_mse"]) == len(parts["mse"])
    assert {fold.originals.styles[i] for i in fold.train.emoji} == {"twemoji"}


def test_the_training_error_is_that_of_the_upright_faces_trained_on():
    trial = Trial(images="all", copies=1)
    fold, parts = study.fold_of(trial), study.tested_parts(trial)
    assert torch.equal(parts["train_mse"].images, fold.originals.images[fold.train.emoji])
    assert len(parts["train_mse"]) + len(parts["mse"]) == len(fold.originals.names) and len(fold.train) > 100
    assert len(parts["copies_mse"]) == 3 * len(parts["mse"])


def test_a_trial_of_the_best_preset_starts_at_pca():
    trial = replace(of_preset(CLASSIFIER, "best"), steps=1, latent=8)
    metrics = study.measure(trial)
    assert metrics["mse"] == pytest.approx([metrics["pca_mse"]], rel=0.1) and 0 <= metrics["balanced_accuracy"][0] <= 1


def test_a_trial_gets_better_with_steps(monkeypatch):
    monkeypatch.setattr(study, "LINE", 1)
    metrics = study.measure(Trial(images="happy or sad", classes="happy or sad", copies=1, latent=8, steps=8))
    assert metrics["steps"] == list(range(1, 9))
    assert metrics["mse"][-1] < metrics["mse"][0] and metrics["train_mse"][-1] < metrics["train_mse"][0]
    shorter = study.measure(Trial(images="happy or sad", classes="happy or sad", copies=1, latent=8, steps=3))
    assert shorter["mse"] == metrics["mse"][:3]  # a budget is a stretch of a longer one
