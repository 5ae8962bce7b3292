"""The one loop, its budget, its optimizers, and what Part 1 leaves."""

import json
from dataclasses import replace
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode

import autoencoder
import data
from common.errors import UserError
from lab import baselines, networks, optimizers, records, trained, training
from lab.checkpoint import Checkpoint
from lab.convolutional import ConvAutoencoder
from lab.residual import ResidualAutoencoder
from lab.training import Budget, evaluate, reconstruction_loss, train

CPU = torch.device("cpu")


def test_intervals_are_corrected_for_shared_training_emoji():
    """Against the formula of Nadeau and Bengio (2003), written out: t times the root of (1/n + test/train) variance."""
    values = [0.4, 0.1, 0.3, 0.5, 0.2]
    mean, half = baselines.mean_and_interval(values, 1 / 4)
    assert mean == pytest.approx(0.3)
    assert half == pytest.approx(
        2.7764451 * (0.025 * (1 / 5 + 1 / 4)) ** 0.5
    )  # t of 4 degrees of freedom, variance 0.025
    assert half == pytest.approx(1.5 * baselines.mean_and_interval(values)[1])


# ---------------------------------------------------------------- evaluation and what is beside it


def test_evaluation_is_a_mean_per_image_whatever_the_batches():
    """Of 256 and 4 images, the few count as little as they are."""
    images = torch.randint(0, 256, (260, 3, 2, 2), dtype=torch.uint8, generator=data.generator("images", 0))
    images[256:] = 0
    part = data.Part(images, torch.zeros(260, dtype=torch.long))
    model = torch.nn.Linear(2, 2)
    with torch.no_grad():
        expected = (model(data.to_float(images)) - data.to_float(images)).square().mean().item()
    assert evaluate(model, part, reconstruction_loss, CPU) == {"loss": pytest.approx(expected, rel=1e-5)}


def test_baselines_are_fitted_on_training_images_only(made):
    splits = data.split(made([f"face {i}" for i in range(30)]), data.DataConfig(augment="none", split="emoji"))
    values = baselines.errors(baselines.fit_pca(splits.train.images, 5), splits.test)
    train_images, test_images = data.to_float(splits.train.images), data.to_float(splits.test.images)
    expected = (test_images - train_images.mean(0)).square().mean().item()
    assert values["mean_image_mse"] == pytest.approx(expected, rel=1e-4)
    # random pixels cannot be compressed: what PCA learns from training images does not carry over
    assert values["pca_mse"] > 0.8 * values["mean_image_mse"]
    assert baselines.errors(baselines.fit_pca(splits.train.images, 1000), splits.train)["pca_mse"] < 1e-6


def test_examples_are_the_first_of_different_emoji():
    part = data.Part(torch.zeros(6, 3, 64, 64), torch.tensor([4, 4, 2, 4, 1, 0]))
    assert data.examples(part, 3).tolist() == [4, 2, 1]


# ---------------------------------------------------------------- optimizers and schedules


def test_the_learning_rate_goes_up_then_down():
    rates = [optimizers.one_cycle(i / 100) for i in range(101)]
    assert max(rates) == pytest.approx(1, abs=0.02) and rates.index(max(rates)) in (9, 10)
    assert rates[0] < 0.05 and rates[-1] < 1e-6


@pytest.mark.parametrize("shape", [(20, 60), (60, 20)])
def test_newton_schulz_brings_singular_values_together(shape):
    matrix = torch.randn(shape, generator=data.generator("matrix", 0))
    values = torch.linalg.svdvals(optimizers.newton_schulz(matrix))
    assert values.min() > 0.6 and values.max() < 1.3


class Threads(TorchFunctionMode):
    """Notes under how many threads matrices are multiplied."""

    def __init__(self):
        super().__init__()
        self.used = set()

    def __torch_function__(self, function, types, arguments=(), options=None):
        if "matmul" in function.__name__:
            self.used.add(torch.get_num_threads())
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("count", [1, 3])
def test_muon_works_on_one_thread_and_gives_the_others_back(threads, count):
    threads(count)
    weight = torch.nn.Parameter(torch.zeros(8, 8))
    weight.grad = torch.eye(8)
    optimizer = optimizers.Muon([weight], 0.01)
    with Threads() as seen:
        optimizer.step()
    assert seen.used == {1} and torch.get_num_threads() == count and weight.any()
    with pytest.raises(TypeError):
        optimizers.Muon([weight], 0.01, momentum=None).step()
    assert torch.get_num_threads() == count


# ---------------------------------------------------------------- budgets, on a clock of their own


def test_a_budget_in_steps_or_seconds():
    steps, seconds = Budget(steps=10, lines=4), Budget(seconds=2.0, lines=4)
    assert [steps.lines_due(step, 99.0) for step in (0, 2, 3, 5, 10)] == [0, 0, 1, 2, 4]
    assert [seconds.lines_due(99, time) for time in (0, 0.49, 0.5, 1.9, 2.0)] == [0, 0, 1, 3, 4]
    assert steps.done(5, 99.0) == seconds.done(99, 1.0) == 0.5


class Killed(Exception):
    """Instead of a kill."""


@pytest.fixture
def timed(monkeypatch, tmp_path, made):
    """Trains for three seconds of a clock that a batch moves on by a tenth, or until it is killed at the n-th batch."""
    clock = [1000.0]
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    part = data.Part(torch.rand(4, 3, 8, 8), torch.arange(4))

    def batches(order: torch.Generator, killed_at: int):
        for number in range(1, killed_at):
            clock[0] += 0.1
            yield part[torch.randint(4, (2,), generator=order)]
        raise Killed

    def run(folder: str, killed_at: int = 1000) -> tuple[list[dict], dict]:
        clock[0] += 500  # between two processes: no time of training
        out = tmp_path / folder
        config = autoencoder.BestConfig(out=out, plots=tmp_path / "plots", resume=records.unfinished(out))
        torch.manual_seed(0)
        model, order = torch.nn.Linear(8, 8), torch.Generator().manual_seed(0)
        optimizer, budget = torch.optim.Adam(model.parameters(), 0.01), Budget(seconds=3.0, lines=10)
        with records.recording(config, made(["face"]), CPU) as record:
            rows = train(
                model, batches(order, killed_at), reconstruction_loss, [optimizer], budget, CPU, generators=[order],
                schedule=optimizers.one_cycle, checkpoint=Checkpoint(record, None, lambda row: None),
            )  # fmt: skip
        return [{name: value for name, value in row.items() if name != "seconds"} for row in rows], model.state_dict()

    return run


def test_seconds_of_a_budget_are_counted_over_all_processes(timed):
    """On a clock that only training moves, even a budget in seconds ends at the same bits."""
    rows, weights = timed("whole")
    assert len(rows) == 10 and rows[-1]["step"] in (30, 31)
    for killed_at in (6, 9, 13):  # each has recorded a line more than the one before
        with pytest.raises(Killed):
            timed("cut", killed_at)
    cut_rows, cut_weights = timed("cut")
    assert cut_rows == rows and all(torch.equal(cut_weights[name], weight) for name, weight in weights.items())


def test_a_finished_training_is_not_repeated(timed, tmp_path):
    rows, weights = timed("run")
    saved = load_file(tmp_path / "run/checkpoint.safetensors")
    assert set(saved) == {f"model.{name}" for name in weights}  # optimizers are big, and not needed any more
    again, weights_again = timed("run", killed_at=1)  # at the first batch, if it were drawn
    assert again == rows and all(torch.equal(weights_again[name], weight) for name, weight in weights.items())


# ---------------------------------------------------------------- what Part 1 leaves

TINY = dict(source="twemoji", keyword="cat face", copies=2, batch_size=8, latent=6)
KINDS = {
    "report": lambda **options: autoencoder.Config(**TINY, epochs=2, **options),
    "report, unseen": lambda **options: autoencoder.Config(**TINY, epochs=2, split="emoji", **options),
    "best": lambda **options: autoencoder.BestConfig(
        **TINY, steps=3, pca_images=64, refine_steps=2, split="emoji", train_on="faces", **options
    ),
}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.portable) for name in KINDS])
def left(request, tmp_path_factory):
    """A finished run: its config, its metrics, what it printed and its folder; paid for once."""
    folder = tmp_path_factory.mktemp("left")
    config = KINDS[request.param](out=folder / "run", plots=folder / "plots")
    return SimpleNamespace(config=config, metrics=autoencoder.main(config), folder=folder)


def test_a_run_leaves_a_whole_record(left):
    folder, metrics = left.folder, left.metrics
    assert json.loads((folder / "run/metrics.json").read_text()) == metrics
    required = "source preset network split augment precision seed originals copies images train val test"
    assert {*required.split(), "leaked", "parameters"} <= set(metrics)
    assert {"test_mse", "pca_mse", "mean_image_mse", "train_seconds", "seconds"} <= set(metrics)
    assert ("refined_mse" in metrics) == (left.config.preset == "best")
    assert metrics["originals"] == 10 and metrics["copies"] == 20 and metrics["images"] == 30
    rows = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
    times = [row["epoch" if left.config.preset == "report" else "step"] for row in rows]
    assert times == ([1, 2] if left.config.preset == "report" else [1, 2, 3])
    assert all({"train_loss", "val_loss", "seconds"} <= set(row) for row in rows)
    prefix = "autoencoder" if left.config.preset == "report" else "autoencoder_best"
    sizes = {path.name: path.stat().st_size for path in (folder / "plots").iterdir()}
    assert set(sizes) == {f"{prefix}_curves.png", f"{prefix}_reconstructions.png"}
    assert all(0 < size < 200_000 for size in sizes.values())


def test_the_record_holds_what_ran(left):
    run = json.loads((left.folder / "run/run.json").read_text())
    config = run["config"]
    assert run["source"] == "twemoji" and config["latent"] == 6
    assert set(run["processor"]) == {"name", "instructions"} and all(run["processor"].values())
    assert config["precision"] == left.metrics["precision"] and config["precision"] in ("float32", "bfloat16")
    options = {"epochs", "learning_rate", "weight_decay", "dropout", "initialization"}
    if left.config.preset == "report":
        assert options < set(config) and not {"steps", "mixing", "pca_images", "refine_steps"} & set(config)
    else:
        decided = dict(steps=3, train_on="faces", other_pictures=0.0, shift=0.015, mixing=0.7, pca_images=64)
        assert {name: config[name] for name in decided} == decided and not options & set(config)


def test_the_weights_are_those_of_the_metrics(left):
    model, test = networks.load(left.folder / "run"), data.load(left.config).test
    expected = ConvAutoencoder if left.config.preset == "report" else ResidualAutoencoder
    assert isinstance(model, expected) and model.latent == 6
    assert evaluate(model, test, reconstruction_loss, CPU)["loss"] == pytest.approx(left.metrics["test_mse"], rel=1e-4)
    latents = load_file(left.folder / "run/latents.safetensors")["latents"]
    assert latents.shape == (10, 6)


def took(config, source="twemoji"):
    """Originals that say where they are from."""
    return data.Originals(
        source, ["face"], torch.zeros(1, 3, 64, 64, dtype=torch.uint8), [""], [source], keyword=config.keyword
    )


def test_another_network_is_shown_beside_one_of_the_same_images_alone(left, tmp_path):
    folders = {"out": tmp_path / "run", "plots": tmp_path / "plots", "beside": left.folder / "run"}
    options = dict(TINY, epochs=1, split=left.config.split)
    autoencoder.main(autoencoder.Config(**options, **folders))
    assert (tmp_path / "plots/autoencoder_reconstructions.png").exists()
    other = {"seed": 1, "copies": 1, "augment": "none", "hold_out": ("dog face",), "keyword": "face"}
    other["split"] = "report" if left.config.split == "emoji" else "emoji"
    for name, value in other.items():
        config = autoencoder.Config(**options | {name: value}, **folders | {"out": tmp_path / "not made"})
        with pytest.raises(UserError, match=f"was trained on other data .--{name.replace('_', '-')} "):
            trained.beside(left.folder / "run", config, took(config))
    usual = autoencoder.Config(**options, **folders)
    trained.beside(left.folder / "run", replace(usual, keyword=None), took(usual))  # what was taken counts
    with pytest.raises(UserError, match="--source twemoji, not hub"):
        trained.beside(left.folder / "run", config, took(config, "hub"))


def test_only_a_finished_network_is_shown_beside_another(left, tmp_path):
    shutil.copytree(left.folder / "run", tmp_path / "run")
    (tmp_path / "run/metrics.json").write_text('{"test_mse": "small"}')
    with pytest.raises(UserError, match="does not say its network's error"):
        trained.beside(tmp_path / "run", left.config, took(left.config))
    (tmp_path / "run/metrics.json").unlink()
    with pytest.raises(UserError, match="takes a finished run"):
        trained.beside(tmp_path / "run", left.config, took(left.config))
    with pytest.raises(UserError, match="holds no model.safetensors"):
        trained.beside(tmp_path, left.config, took(left.config))


def test_same_seed_same_numbers(left, capsys):
    """Also with no line of the other run's record but the metrics."""
    again = autoencoder.main(left.config)
    numbers = {name: value for name, value in left.metrics.items() if not name.endswith("seconds")}
    assert {name: again[name] for name in numbers} == numbers
    output = capsys.readouterr().out
    assert "Final average test MSE: " in output and "holds the same run, finished; it is made again" in output
    assert ("Epoch [1/2], Train Loss: " if left.config.preset == "report" else "Step 3, Train Loss: ") in output
