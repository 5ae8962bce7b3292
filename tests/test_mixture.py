"""What the best preset is fed: fresh faces, other pictures, and never what it is tested on."""

from dataclasses import replace

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

import autoencoder
import data
from lab import baselines, mixture, presets
from lab.mixture import LeakError, Mixture, Recipe
from lab.optimizers import one_cycle
from lab.residual import ResidualAutoencoder
from lab.training import Budget, reconstruction_loss, train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def unseen(faces):
    return data.split(faces, data.DataConfig(source="twemoji", split="emoji", copies=1))


@pytest.mark.parametrize("train_on", ["faces", "all"])
def test_no_held_out_name_is_among_it(unseen, everything, train_on):
    options = dict(source="twemoji", split="emoji", train_on=train_on, other_pictures=0.25, shift=0.0, mixing=0.0)
    material = mixture.mixture(unseen, autoencoder.BestConfig(**options), CPU)
    fed = torch.cat([material.faces, material.others])
    names = {everything.images[i].numpy().tobytes(): name for i, name in enumerate(everything.names)}
    keys = {data.twin_key(names[image.numpy().tobytes()]) for image in fed}
    held_out = {data.twin_key(unseen.originals.names[i]) for part in (unseen.val, unseen.test) for i in part.emoji}
    assert not keys & held_out
    assert {data.twin_key(unseen.originals.names[i]) for i in unseen.train.emoji} <= keys
    assert (len(material.others) > 3000) == (train_on == "all")


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_guard_fails_loudly(unseen, mirrored):
    index = unseen.test.emoji[0]
    leaked, picture = unseen.originals.names[index], unseen.originals.images[index : index + 1]
    white = torch.full_like(picture, 255)
    mixture.refuse_leaks(["grinning tram"], white, unseen)
    with pytest.raises(LeakError, match=leaked):
        mixture.refuse_leaks(["grinning tram", leaked], torch.cat([white, white]), unseen)
    with pytest.raises(LeakError, match="another name"):
        mixture.refuse_leaks(["another name"], picture.flip(3) if mirrored else picture, unseen)


def test_the_guard_looks_at_what_is_fed(unseen):
    """A split that was made wrongly comes to nothing, instead of to a training."""
    wrong = replace(unseen, train=data.Part(*unseen.test[:3]))
    options = dict(source="twemoji", split="emoji", train_on="faces", other_pictures=0.0, shift=0.0, mixing=0.0)
    with pytest.raises(LeakError):
        mixture.mixture(wrong, autoencoder.BestConfig(**options), CPU)


@pytest.mark.parametrize("kind, last", [(autoencoder.Config, 1.0), (autoencoder.BestConfig, 0.03)])
def test_the_best_presets_rates_come_down_and_the_reports_stay(kind, last):
    """The last step's learning rate as a part of the highest, of every optimizer."""
    images, rates = torch.zeros(8, 3, 64, 64, dtype=torch.uint8), {}
    images[::2] = 255
    part, order = data.Part(images, torch.arange(8)), data.generator("order", 0)
    given = presets.Material(presets.endless(data.batches(part, 4)), baselines.fit_pca(images, 1), Budget(20), order)
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.setdefault(type(optimizer), []).append(optimizer.param_groups[0]["lr"])
    )
    try:
        config = presets.settled(kind(latent=1, precision="float32"), CPU)
        presets.fit_network(config, given, CPU, reconstruction_loss)
    finally:
        hook.remove()
    for used in rates.values():
        assert len(used) == 20 and used[-1] <= last * max(used) and used[-1] >= (last == 1.0) * max(used)


@pytest.mark.parametrize(
    "given, decided",
    [
        ({}, {"network": "residual", "batch_size": 32, "steps": 1800, "muon_learning_rate": 0.015}),
        ({"hold_out_style": "noto"}, {"network": "residual", "steps": 1800}),  # it is only tested on
        ({"also": ("noto",)}, {"network": "informed", "batch_size": 16, "steps": 3000, "muon_learning_rate": 0.02}),
        ({"also": ("noto",), "network": "residual", "batch_size": 8}, {"network": "residual", "batch_size": 8}),
        ({"also": ("noto",), "seconds": 9.0}, {"network": "informed", "steps": None}),
    ],
)
def test_what_is_left_open_depends_on_the_styles_in_training(given, decided):
    settled = presets.settled(autoencoder.BestConfig(**given), CPU)
    assert {name: getattr(settled, name) for name in decided} == decided


def test_a_batch_has_its_part_of_other_pictures_and_says_whose_the_faces_are():
    faces = data.Part(torch.zeros(3, 3, 64, 64, dtype=torch.uint8), torch.tensor([5, 6, 7]))
    others = torch.full((2, 3, 64, 64), 255, dtype=torch.uint8)
    material = Mixture(faces, others, Recipe(other_pictures=0.25, shift=0.0, mixing=0.0), CPU)
    images, emoji = material.batch(8, data.generator("batch", 0))
    white = images[:, :, 24:40, 24:40].mean((1, 2, 3)) > 0.5  # the middle, where no rotation brings in a ground
    assert white.tolist() == [False] * 6 + [True] * 2 and torch.equal(emoji < 0, white)
    assert {*emoji[:6].tolist()} <= {5, 6, 7}
    mixed = Mixture(faces, others, Recipe(other_pictures=0.25, shift=0.0, mixing=1.0), CPU)
    assert (mixed.batch(8, data.generator("batch", 0))[1] == -1).all()
    alone = Mixture(faces, others[:0], Recipe(other_pictures=0.25, shift=0.0, mixing=0.0), CPU)
    assert (alone.batch(8, data.generator("batch", 0))[1] >= 0).all()


def test_training_on_it_starts_at_pca_and_does_better_on_fresh_images(unseen):
    faces, order = data.Part(*unseen.train[:10]), data.generator("order", 0)
    material = Mixture(faces, faces.images[:0], Recipe(0.0, 0.0, 0.0), CPU)
    images, fresh = (material.sample(64, data.generator(purpose, 0)) for purpose in ("sample", "fresh"))
    torch.manual_seed(0)
    model = ResidualAutoencoder(latent=4, narrow=8, wide=8, thin=4)
    model.start_at_pca(baselines.fit_pca(images, 4))
    before = reconstruction_loss(model, fresh, None)["loss"].item()
    settled = presets.settled(autoencoder.BestConfig(), CPU)
    optimizers, budget = presets.optimizers(settled, model, CPU), Budget(30, lines=5)
    batches = material.batches(16, order)
    rows = train(model, batches, reconstruction_loss, optimizers, budget, CPU, schedule=one_cycle)
    assert [row["step"] for row in rows] == [6, 12, 18, 24, 30]
    assert reconstruction_loss(model, fresh, None)["loss"].item() < 0.99 * before
