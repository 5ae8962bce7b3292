"""How networks are trained and tested: losses, PCA, presets, precision, optimizers and the one loop."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import data
import multiTaskModel
from lab import best, training
from lab.cli import UserError
from lab.options import DataOptions, RunOptions, resolve_defaults
from lab.pictures import Part, generator, to_float

COURSEWORK = dict(epochs=2, batch_size=8, latent=4)
PRESET = {"preset": "best"}
BEST = dict(**PRESET, steps=10, batch_size=8, latent=4, pca_images=16, precision="float32")


@pytest.fixture(scope="module")
def cats():
    """Ten cats with a copy each, split: 12 images for training, 4 for validation, 4 for the test."""
    return data.split(data.load_pictures(keyword="cat face"), DataOptions(copies=1))


def options(kind: type = RunOptions, **given):
    """Options with the preset's values for what is not given."""
    return resolve_defaults(kind(out=Path("nowhere"), device="cpu", **given))


def random_images(count: int, side: int) -> torch.Tensor:
    return (256 * torch.rand(count, 3, side, side, generator=generator("images", count))).byte()


def test_evaluation_is_a_mean_per_image_without_dropout():
    """256 images are evaluated at a time: the four that are left count as four."""
    part = Part(random_images(260, 2), torch.zeros(260, dtype=torch.long))
    part.images[256:] = 0
    model, images = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.9)).train(), to_float(part.images)
    expected = (model[0](images) - images).square().mean().item()
    found = training.evaluate(model, part, training.reconstruction_loss)
    assert found == {"loss": pytest.approx(expected, rel=1e-5)}


def test_pca_and_mean_image_are_numpys():
    seen, tested = random_images(12, 8), Part(random_images(5, 8), torch.arange(5))
    pixels, unseen = (images.numpy().reshape(len(images), -1) / 255 for images in (seen, tested.images))
    mean = pixels.mean(0)
    directions = np.linalg.svd(pixels - mean, full_matrices=False)[2][:3]
    made = (mean + (unseen - mean) @ directions.T @ directions).clip(0, 1)
    errors = training.baseline_errors(training.fit_pca(seen, 3), tested)
    assert errors["pca_mse"] == pytest.approx(np.square(made - unseen).mean(), rel=1e-4)
    assert errors["mean_image_mse"] == pytest.approx(np.square(mean - unseen).mean(), rel=1e-4)
    assert errors["pca_components"] == 3
    capped = training.baseline_errors(training.fit_pca(seen, 128), Part(seen, torch.arange(12)))
    assert capped["pca_components"] == 12 and capped["pca_mse"] < 1e-8  # at most as many as images


ONE_STYLE = dict(network="residual", steps=1800, batch_size=32, learning_rate=0.015)
SEVERAL_STYLES = dict(network="informed", steps=3000, batch_size=16, learning_rate=0.02)


@pytest.mark.parametrize(
    "kind, given, expected",
    [
        (RunOptions, {"split": "unseen", "also": ("noto",)}, dict(network="convolutional", epochs=30, dropout=0.2)),
        (RunOptions, {"steps": 9}, dict(steps=9, epochs=None, mixing=None, learning_rate=1e-3)),
        (multiTaskModel.Config, {}, dict(dropout=0.0, epochs=10)),
        (multiTaskModel.Config, {"steps": 9}, dict(dropout=0.0, steps=9, epochs=None)),
        (RunOptions, {**PRESET, "hold_out_style": "noto"}, ONE_STYLE | {"mixing": 0.0}),  # it is only tested on
        (RunOptions, {**PRESET, "split": "unseen"}, ONE_STYLE | dict(other_pictures=0.25, shift=0.015, mixing=0.7)),
        (RunOptions, {**PRESET, "split": "unseen", "mixing": 0.0}, dict(other_pictures=0.25, mixing=0.0)),
        (RunOptions, {**PRESET, "also": ("noto",)}, SEVERAL_STYLES),
        (multiTaskModel.Config, PRESET, ONE_STYLE | {"epochs": None, "dropout": None}),
    ],
)
def test_an_option_left_out_has_its_presets_value(kind, given, expected):
    assert expected.items() <= vars(options(kind, **given)).items()


@pytest.mark.portable
@pytest.mark.skipif(os.environ.get("ONEDNN_MAX_CPU_ISA") != "AVX2", reason="for a processor without bfloat16")
def test_a_processor_without_bfloat16_is_recognised():
    assert not best.cpu_has_bfloat16()


@pytest.mark.portable
@pytest.mark.parametrize("native", [False, True])
def test_auto_is_decided_by_the_processor_and_a_resumed_run_keeps_its_precision(monkeypatch, tmp_path, capsys, native):
    monkeypatch.setattr(best, "cpu_has_bfloat16", lambda: native)

    def decided(**given) -> str:
        return training.resolve_options(RunOptions(out=tmp_path, device="cpu", **given)).precision

    assert decided(preset="best") == decided(precision="auto") == ("bfloat16" if native else "float32")
    assert decided() == decided(preset="best", precision="float32") == "float32" and not capsys.readouterr().out
    assert decided(precision="bfloat16") == "bfloat16"
    assert ("only emulates bfloat16" in capsys.readouterr().out) == (not native)
    for there in ("float32", "bfloat16"):
        (tmp_path / "run.json").write_text(json.dumps({"config": {"precision": there}}))
        assert decided(preset="best", resume=True) == there


@pytest.mark.portable
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_computes_in_its_precision_and_evaluation_in_float32(cats, precision):
    computed = set()

    def loss_function(model, images, emoji):
        made = model(images)
        computed.add((model.training, made.dtype))
        return {"loss": (made.float() - images).square().mean()}

    training.fit(options(**COURSEWORK, precision=precision), cats, loss_function=loss_function)
    assert computed == {(True, getattr(torch, precision)), (False, torch.float32)}


@pytest.mark.parametrize("shape", [(20, 60), (60, 20), (8, 4, 3, 3)])
def test_a_step_of_muon_is_about_orthogonal_and_goes_downhill(shape):
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(shape, generator=generator("gradient", 0))
    best.Muon([weight], lr=0.1).step()
    step = weight.detach().flatten(1)
    sizes = torch.linalg.svdvals(step) / (0.1 * max(1, step.shape[0] / step.shape[1]) ** 0.5)
    assert 0.6 < sizes.min() and sizes.max() < 1.3 and (step * weight.grad.flatten(1)).sum() < 0


def test_learning_rates_of_the_coursework_stay_and_those_of_the_best_preset_rise_and_fall_to_0():
    rates = [best.one_cycle(i / 100) for i in range(101)]
    assert max(rates) == rates[10] == 1 and rates[0] < 0.02 and rates[-1] < 1e-6
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
    for given, peaks in ((COURSEWORK, [1e-3]), (BEST, [0.015, best.LINEAR_RATE])):
        model, used = training.build(options(**given), None), []
        steppers, schedule = training.optimizers(options(**given), model)

        def loss(model, images, emoji):
            used.append([stepper.param_groups[0]["lr"] for stepper in steppers])
            return {"loss": model(images).mean()}

        training.train(
            model, itertools.repeat((torch.zeros(2, 3, 64, 64), torch.zeros(2))), loss, steppers, 10, schedule=schedule
        )
        factors = [schedule(step / 10) if schedule else 1 for step in range(10)]
        assert (schedule is None) == (given is COURSEWORK)
        assert used == [pytest.approx([factor * peak for peak in peaks]) for factor in factors]


def test_a_row_of_the_record_is_a_mean_over_the_images_since_the_last_and_not_nan():
    model = nn.Linear(1, 1)
    loss = lambda model, images, emoji: {"loss": images.mean() + 0 * model.weight.sum()}

    def train(*images: torch.Tensor) -> list[dict]:
        batches = itertools.cycle([(each, torch.arange(len(each))) for each in images])
        return training.train(model, batches, loss, [torch.optim.SGD(model.parameters(), 0.1)], 8, rows=4)

    rows = train(torch.full((3, 1), 1.0), torch.full((1, 1), 5.0))
    assert rows == [{"step": step, "train_loss": 2.0} for step in (2, 4, 6, 8)]
    with pytest.raises(UserError, match="^the loss became nan; try a smaller --learning-rate"):
        train(torch.full((3, 1), torch.nan))


@pytest.mark.parametrize("given", [COURSEWORK, {**BEST, "steps": 3}], ids=["coursework", "best"])
def test_the_same_seed_gives_the_same_weights(cats, given):
    first, again, other = (training.fit(options(**given, seed=seed), cats).model.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    started = [training.build(options(**COURSEWORK, seed=seed), None).encoder[0].weight for seed in (0, 1)]
    assert not torch.equal(*started)  # a seed does more than order the batches
    by_step = dict(steps=2, batch_size=8, latent=4, pca_images=12)
    for make, asked in ((training.batches_by_epoch, COURSEWORK), (training.batches_by_step, by_step)):
        shuffled, _ = next(make(options(**asked), cats, generator("order", 0))[0])
        assert not torch.equal(shuffled, cats.train.images[:8])
