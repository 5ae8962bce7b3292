"""The experiments: what a point trains and tests on, sweeps that go on where they stopped, and verdicts."""

import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

import best
import data
import experiments
import files
import points
from conftest import ROOT
from experiments import EXPERIMENTS, Comparison, Speculation
from points import Point

TINY = {"steps": 2, "copies": 1, "latent": 8}


@pytest.fixture(autouse=True)
def opened_once(faces, everything, monkeypatch):
    monkeypatch.setattr(points, "pictures", lambda source, keyword: faces if keyword else everything)


# ---------------------------------------------------------------- classes and splits


def test_each_emotion_has_emoji_for_every_fold(faces):
    emotions = points.labels(faces.names, "emotions")
    for k, name in enumerate(points.EMOTIONS):
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
    assert points.emotion(data.normalise(text)) == expected


def test_emotions_refine_the_reports_classes(faces):
    for name in faces.names:
        if points.happy_or_sad(name):
            assert points.emotion(name) in {"happy": ("happy", "love"), "sad": ("sad",)}[points.happy_or_sad(name)]
    two, all_emotions = points.labels(faces.names, "two emotions"), points.labels(faces.names, "emotions")
    assert ((two >= 0) == (all_emotions == 3) | (all_emotions == 4)).all() and set(two.tolist()) == {0, 1, points.UNLABELLED}


@pytest.mark.parametrize("images", ["faces", "happy or sad", "emotions"])
def test_five_seeds_test_every_emoji_once(images):
    originals, _ = points.chosen(Point(images=images))
    tested = [name for seed in range(5) for name in points.divide(Point(images=images, seed=seed))[1].names]
    assert sorted(tested) == sorted(originals.names)


@pytest.mark.parametrize("images", ["faces", "all", "happy or sad", "emotions"])
def test_nothing_tested_is_trained_on(images):
    training, tested = points.divide(Point(images=images, seed=7))
    part = data.Part(tested.images, torch.arange(len(tested.names)))
    best.refuse_leaks(training.names, training.images, data.Splits(tested, part, part, part))
    assert all("face" in name for name in tested.names)
    assert (len(training.names) > 3000) == (images == "all")


# ---------------------------------------------------------------- training images


def test_every_material_gets_as_many_steps(faces):
    part = data.Part(faces.images[:10], torch.arange(10))
    batches = list(points.stream(part, steps=4, batch_size=16, seed=0))
    emoji = torch.cat([emoji for _, emoji in batches])
    assert [len(images) for images, _ in batches] == [16] * 4 and emoji[:10].unique().numel() == emoji[10:20].unique().numel() == 10
    assert emoji[:10].tolist() != emoji[10:20].tolist() and torch.equal(batches[1][0], faces.images[batches[1][1]])
    assert len(list(points.stream(part, steps=1, batch_size=4, seed=0))) == 1


def test_augmentations_change_the_copies_only_and_strong_ones_more():
    training, _ = points.divide(Point())
    count, distance = len(training.names), {}
    for name in ("none", "report", "strong", "adversarial"):
        part = points.copied(Point(augmentation=name, copies=1), training)
        assert torch.equal(part.images[:count], training.images) and part.emoji.tolist() == 2 * list(range(count))
        distance[name] = (data.to_float(part.images[count:]) - data.to_float(training.images)).square().mean().item()
    assert distance["none"] == distance["adversarial"] == 0 and 0 < 1.3 * distance["report"] < distance["strong"]
    again = [points.copied(Point(augmentation="strong", copies=1, seed=seed), training).images for seed in (0, 0, 1)]
    assert torch.equal(again[0], again[1]) and not torch.equal(again[0], again[2])


def test_an_attack_is_small_and_makes_the_error_larger(faces):
    torch.manual_seed(0)
    model = points.part2.MultiTaskAutoencoder(latent=8).eval()
    images = data.to_float(faces.images[:16])
    attacked = points.adversarial(model, images)
    assert (attacked - images).abs().max() <= points.EPSILON + 1e-6 and 0 <= attacked.min() and attacked.max() <= 1
    assert not attacked.requires_grad and all(parameter.grad is None for parameter in model.parameters())
    noise = (images + points.EPSILON * (torch.rand(images.shape, generator=data.generator("noise", 0)) - 0.5).sign()).clamp(0, 1)
    error, noisy, harmed = (torch.nn.functional.mse_loss(model(inputs)[0], images).item() for inputs in (images, noise, attacked))
    assert harmed > error and harmed - error > 3 * abs(noisy - error)
    torch.manual_seed(0)
    assert points.adversarial_loss(model, images, None)["loss"].item() > error


# ---------------------------------------------------------------- points


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_points(name):
    for setting, point in list(EXPERIMENTS[name].settings.items())[:: len(EXPERIMENTS[name].settings) - 1]:
        small = replace(point, **{field: value for field, value in TINY.items() if field not in (name, "copies") or point.copies != "none"})
        metrics = points.measure(small)
        assert 0 < metrics["pca_mse"] < metrics["mean_image_mse"] < metrics["mse"] < 1, setting  # hardly trained
        assert 0 < metrics["copies_mse"] < 1 and 0 < metrics["train_mse"] < 1
        assert ("balanced_accuracy" in metrics) == (point.classes != "none")
        if point.classes != "none":
            assert (metrics["balanced_accuracy"] is None) == (point.weight == 0)
            assert metrics["majority_balanced_accuracy"] == 1 / len(points.CLASSES[point.classes][0])


def test_a_point_gets_better_with_steps():
    point = Point(images="happy or sad", classes="happy or sad", copies=1, latent=8)
    short, long = (points.measure(replace(point, steps=steps)) for steps in (1, 8))
    assert long["mse"] < short["mse"] and long["train_mse"] < short["train_mse"]


@pytest.mark.long
def test_two_workers_compute_what_one_does():
    wanted = {("a", seed): Point(images="happy or sad", classes="happy or sad", seed=seed, **TINY) for seed in (0, 1)}
    shared = dict(experiments.in_processes(wanted, 2))
    for key, point in wanted.items():
        assert {**shared[key], "seconds": 0} == {**points.measure(point), "seconds": 0}  # one worker does just this


# ---------------------------------------------------------------- sweeps


@pytest.fixture
def computed(monkeypatch):
    """Points computed by a stand-in for the processes, which stops after `computed.limit` of them."""

    class Computed(list):
        limit = 10**6

    calls = Computed()

    def run(missing, workers):
        for key, point in missing.items():
            if len(calls) >= calls.limit:
                raise KeyboardInterrupt
            calls.append(key)
            error = 0.02 + 0.001 * point.seed + (0.01 if key[0] == "0" else 0.0) + 0.0001 * len(key[0])
            yield key, {"mse": error, "pca_mse": 0.01, "mean_image_mse": 0.05, "copies_mse": 0.03, "train_mse": 0.01, "seconds": 1.0}

    monkeypatch.setattr(experiments, "in_processes", run)
    return calls


def config(tmp_path, name="dropout", **options):
    return experiments.Config(name=name, source="twemoji", out=tmp_path / "runs", plots=tmp_path / "plots", **options)


def test_a_stopped_sweep_goes_on_with_the_missing_points(computed, tmp_path, capsys):
    computed.limit = 4
    with pytest.raises(KeyboardInterrupt):
        experiments.main(config(tmp_path, seeds=3))
    assert len(list((tmp_path / "runs/points").iterdir())) == 4
    assert not (tmp_path / "runs/dropout.json").exists()
    computed.limit = 10**6
    metrics = experiments.main(config(tmp_path, seeds=3))
    assert len(computed) == len(set(computed)) == 9  # none twice
    assert "4 of 9 points are on file" in capsys.readouterr().out
    assert json.loads((tmp_path / "runs/dropout.json").read_text()) == metrics
    assert (tmp_path / "plots/experiment_dropout.png").exists()
    assert experiments.main(config(tmp_path, seeds=3))["rows"] == metrics["rows"] and len(computed) == 9
    experiments.main(config(tmp_path, seeds=4))
    assert len(computed) == 12


def test_rows_hold_every_seed_and_the_verdict_follows_from_them(computed, tmp_path):
    metrics = experiments.main(config(tmp_path))
    assert [row["setting"] for row in metrics["rows"]] == ["0", "0.2", "0.5"]
    for row in metrics["rows"]:
        values = row["values"]["mse"]
        assert len(values) == 5 and row["mean"]["mse"] == pytest.approx(np.mean(values))
        assert row["spread"]["mse"] == pytest.approx(np.std(values, ddof=1))
    (judged,) = metrics["speculations"]
    assert judged["verdict"] == "supported" and judged["comparisons"][0]["mean"] == pytest.approx(-0.0098)


def test_a_file_of_other_settings_or_half_a_file_is_not_believed(computed, tmp_path):
    experiments.main(config(tmp_path, seeds=2))
    file, other = sorted((tmp_path / "runs/points").iterdir())[:2]
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "point": {**content["point"], "steps": 1}}))
    other.write_text(other.read_text()[:40])
    experiments.main(config(tmp_path, seeds=2))
    assert len(computed) == 8 and json.loads(file.read_text()) == content


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda content: [],
        lambda content: {**content, "metrics": []},
        lambda content: {**content, "metrics": {**content["metrics"], "mse": "small"}},
        lambda content: {**content, "metrics": {**content["metrics"], "mse": float("nan")}},
        lambda content: {**content, "metrics": {**content["metrics"], "further": 1.0}},
        lambda content: {**content, "metrics": {"mse": 0.1}},
    ],
)
def test_a_point_of_wrong_kinds_is_computed_again(computed, tmp_path, spoilt):
    experiments.main(config(tmp_path, seeds=2))
    file = min((tmp_path / "runs/points").iterdir())
    before = file.read_text()
    file.write_text(json.dumps(spoilt(json.loads(before))))
    experiments.main(config(tmp_path, seeds=2))
    assert len(computed) == 7 and file.read_text() == before
    file.write_text("[" * 200_000)
    experiments.main(config(tmp_path, seeds=2))
    assert len(computed) == 8 and file.read_text() == before


def test_measured_points_are_believed(tmp_path):
    for point in (Point(**TINY), *(replace(experiments.EMOTIONS, weight=weight, **TINY) for weight in (0.0, 0.5))):
        path = tmp_path / "point.json"
        path.write_text(json.dumps({"point": asdict(point), "metrics": points.measure(point)}))
        assert experiments.stored(path, point)


@pytest.mark.parametrize("content", ["[]", '{"experiment": "latent"}', "no record", "[" * 200_000])
def test_a_file_of_others_is_no_record(computed, command, tmp_path, content):
    (tmp_path / "dropout.json").write_text(content)
    status, _, error = command(experiments, "dropout", "--source", "twemoji", "--out", ".")
    assert (status, error.count("\n"), computed) == (2, 1, []) and "dropout.json is no record of this experiment" in error
    assert (tmp_path / "dropout.json").read_text() == content


def test_folders_where_files_belong(computed, command, tmp_path):
    experiments.main(config(tmp_path, seeds=2))
    file = min((tmp_path / "runs/points").iterdir())
    file.unlink()
    file.mkdir()
    status, _, error = command(experiments, "dropout", "--source", "twemoji", "--seeds", "2", "--out", "runs")
    assert (status, error.count("\n")) == (2, 1) and f"{file.name} is a folder where a file belongs" in error


def test_two_at_once_are_refused(computed, command, tmp_path):
    (tmp_path / "runs").mkdir()
    with files.locked(tmp_path / "runs"):
        status, _, error = command(experiments, "dropout", "--source", "twemoji", "--out", "runs")
    assert (status, error.count("\n"), computed) == (2, 1, []) and "runs is in use by another run" in error
    assert command(experiments, "dropout", "--source", "twemoji", "--out", "runs")[0] == 0


def test_quick_leaves_the_figures_and_points_of_a_full_run(computed, tmp_path):
    experiments.main(config(tmp_path))
    before = (tmp_path / "plots/experiment_dropout.png").stat().st_mtime_ns, (tmp_path / "runs/dropout.json").read_text()
    metrics = experiments.main(config(tmp_path, quick=True))
    assert metrics["quick"] and metrics["seeds"] == 2 and metrics["rows"][0]["point"]["steps"] == experiments.QUICK["steps"]
    assert before == ((tmp_path / "plots/experiment_dropout.png").stat().st_mtime_ns, (tmp_path / "runs/dropout.json").read_text())
    experiments.main(config(tmp_path))
    assert len(computed) == 15 + 6


def test_experiments_share_points(computed, tmp_path):
    for name in ("dropout", "augmentation", "data"):
        experiments.main(config(tmp_path, name))
    assert len(computed) == 5 * (3 + 4 + 3 - 2)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_speculations_compare_settings_that_are_measured(name):
    experiment = EXPERIMENTS[name]
    assert len(set(experiment.settings.values())) == len(experiment.settings)
    for comparison in (comparison for speculation in experiment.speculations for comparison in speculation.comparisons):
        assert {comparison.setting, comparison.reference} <= set(experiment.settings)
        if comparison.metric == "balanced_accuracy":
            assert all(experiment.settings[setting].weight for setting in (comparison.setting, comparison.reference))


# ---------------------------------------------------------------- verdicts

HIGH, LOW, EVEN = [3.0, 3.1, 2.9, 3.0, 3.2], [1.0, 1.2, 0.9, 1.1, 1.0], [3.1, 3.0, 3.0, 2.9, 3.1]


@pytest.mark.parametrize(
    "values, expected, outcome",
    [
        (LOW, "lower", "supported"),
        (LOW, "higher", "contradicted"),
        (EVEN, "lower", "undecided"),
        (EVEN, "higher", "undecided"),
        (HIGH, "lower", "undecided"),  # no difference at all
    ],
)
def test_verdict(values, expected, outcome):
    speculation = Speculation("2e", "it helps", (Comparison("mse", "with", expected, "without"),))
    judged = experiments.judge(speculation, {"with": {"mse": values}, "without": {"mse": HIGH}})
    assert judged["verdict"] == judged["comparisons"][0]["verdict"] == outcome
    assert experiments.finding(judged).startswith(f"{outcome}. MSE with with minus without ")


def test_pairing_sees_through_the_spread_of_the_seeds():
    seeds = np.array([1.0, 5.0, 9.0, 2.0, 7.0])
    speculation = Speculation("2e", "it helps", (Comparison("mse", "with", "lower", "without"),))
    values = {"with": {"mse": list(seeds - [0.1, 0.12, 0.09, 0.11, 0.1])}, "without": {"mse": list(seeds)}}
    assert experiments.judge(speculation, values)["verdict"] == "supported"


@pytest.mark.parametrize(
    "error, accuracy, outcome",
    [
        (LOW, LOW, "supported"),
        (LOW, EVEN, "undecided"),
        (LOW, HIGH, "undecided"),
        (EVEN, [9.0, 9.1, 9.2, 9.0, 9.1], "contradicted"),
    ],
)
def test_all_comparisons_must_hold(error, accuracy, outcome):
    both = (Comparison("mse", "with", "lower", "without"), Comparison("balanced_accuracy", "with", "lower", "without"))
    values = {"with": {"mse": error, "balanced_accuracy": accuracy}, "without": {"mse": HIGH, "balanced_accuracy": HIGH}}
    assert experiments.judge(Speculation("2f", "both", both), values)["verdict"] == outcome


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "latent"),
        (["depth"], "depth"),
        (["dropout", "--seeds", "1"], "--seeds is 1"),
        (["dropout", "--workers", "0"], "--workers is 0"),
        (["dropout", "--out", "file/run"], "file/run"),
        (["dropout", "--quick", "--ray"], "requirements-ray.txt"),
    ],
)
def test_bad_input(command, tmp_path, monkeypatch, arguments, message):
    (tmp_path / "file").write_text("")
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    status, _, error = command(experiments, *arguments)
    assert status == 2 and message in error and error.count("\n") == 1


def test_too_few_emoji_are_an_error_before_any_training(made, command, monkeypatch):
    few = made(["happy face", "sad face", *(f"smiling face {i}" for i in range(9))])
    monkeypatch.setattr(points, "pictures", lambda source, keyword: few)
    status, _, error = command(experiments, "weight")
    assert status == 2 and "1 different emoji of class sad" in error and error.count("\n") == 1


@pytest.mark.long
def test_ray_computes_what_a_worker_does(monkeypatch):
    pytest.importorskip("ray", reason="optional: requirements-ray.txt")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    wanted = {("a", seed): Point(images="happy or sad", classes="happy or sad", seed=seed, **TINY) for seed in (0, 1)}
    for key, metrics in experiments.on_ray(wanted):
        assert {**metrics, "seconds": 0} == {**points.measure(wanted[key]), "seconds": 0}


@pytest.mark.long
def test_a_killed_process_leaves_its_points_and_no_worker(tmp_path):
    script = [sys.executable, "-u", str(ROOT / "experiments.py"), "dropout", "--quick", "--source", "twemoji", "--out", ".", "--plots", "."]
    killed = subprocess.Popen(script, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in killed.stdout:
        if "seed 0" in line:
            break
    killed.kill()
    killed.communicate(timeout=60)  # ends when the last worker, which also has its output, is gone
    kept = {file: file.read_text() for file in (tmp_path / "points").glob("*.json")}
    again = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert 1 <= len(kept) < 6 and f"{len(kept)} of 6 points are on file" in again and again.count("seed ") == 6 - len(kept)
    assert all(file.read_text() == content for file, content in kept.items())  # the seconds tell a second computation apart
