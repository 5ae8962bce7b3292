"""The experiments: sweeps that go on where they stopped, and the command."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest
from PIL import Image

import experiments
from common import files
from conftest import ROOT
from studies import sweep, trial
from studies.hypotheses import EMOTIONS, EXPERIMENTS, Trial

TINY = {"steps": 2, "copies": 1, "latent": 8}
pytestmark = pytest.mark.usefixtures("decoded_once")


class StandIn:
    """A runner that makes numbers up, and is interrupted after `limit` trials."""

    def __init__(self, limit: int = 10**6):
        self.computed, self.limit = [], limit

    def __call__(self, missing):
        for key, one in missing.items():
            if len(self.computed) >= self.limit:
                raise KeyboardInterrupt
            self.computed.append(key)
            error = 0.02 + 0.001 * one.seed + (0.01 if key[0] == "0" else 0.0) + 0.0001 * len(key[0])
            steps = [step for step in (300, 1000, 3000) if step < one.steps] + [one.steps]
            curves = {"mse": [error + 0.1 / step for step in steps], "copies_mse": [0.03] * len(steps)}
            curves |= {"train_mse": [0.01] * len(steps), "steps": steps}
            yield key, {**curves, "pca_mse": 0.01, "mean_image_mse": 0.05, "seconds": 1.0}


def wanted(name="dropout", seeds=2):
    settings = EXPERIMENTS[name].settings
    return {(key, seed): replace(setting, seed=seed) for seed in range(seeds) for key, setting in settings.items()}


# ---------------------------------------------------------------- sweeps


def test_a_stopped_sweep_goes_on_with_the_missing_trials(tmp_path, capsys):
    stopped, goes_on = StandIn(limit=4), StandIn()
    with pytest.raises(KeyboardInterrupt):
        sweep.sweep(wanted(seeds=3), tmp_path, stopped)
    assert len(list(tmp_path.iterdir())) == 4
    results = sweep.sweep(wanted(seeds=3), tmp_path, goes_on)
    assert len({*stopped.computed, *goes_on.computed}) == 9 and len(goes_on.computed) == 5  # none twice
    assert "4 of 9 trials are on file" in capsys.readouterr().out
    assert sweep.sweep(wanted(seeds=3), tmp_path, goes_on) == results and len(goes_on.computed) == 5
    sweep.sweep(wanted(seeds=4), tmp_path, goes_on)
    assert len(goes_on.computed) == 8


def test_experiments_share_trials(tmp_path):
    run = StandIn()
    for name in ("dropout", "augmentation", "data"):
        sweep.sweep(wanted(name, 5), tmp_path, run)
    assert len(run.computed) == 5 * (3 + 3 + 3 - 2)


def changed(part, **values):
    return lambda content: {**content, part: {**content[part], **values}}


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda content: [],
        lambda content: {**content, "metrics": []},
        lambda content: {**content, "metrics": {"mse": 0.1}},
        changed("metrics", mse="small"),
        changed("metrics", mse=float("nan")),
        changed("metrics", mse=[0.1, float("nan"), 0.1]),
        changed("metrics", mse=[0.1, 0.1]),
        changed("metrics", steps=[300, 1000, 2000]),
        changed("metrics", steps=[], mse=[], copies_mse=[], train_mse=[]),
        changed("metrics", further=1.0),
        changed("trial", steps=1),
        changed("trial", preset="best"),
    ],
)
def test_a_file_of_other_content_is_not_believed(tmp_path, spoilt):
    run = StandIn()
    sweep.sweep(wanted(), tmp_path, run)
    file = min(tmp_path.iterdir())
    before = file.read_text()
    for text in (json.dumps(spoilt(json.loads(before))), before[:40], "[" * 200_000):
        file.write_text(text)
        sweep.sweep(wanted(), tmp_path, run)
        assert file.read_text() == before
    assert len(run.computed) == 6 + 3


@pytest.mark.parametrize("weight", [None, 0.0, 0.5])
def test_measured_trials_are_believed(tmp_path, weight):
    tried = Trial(**TINY) if weight is None else replace(EMOTIONS, weight=weight, **TINY)
    measured = ((key, trial.measure(tried)) for key in [("a", 0)])
    results = sweep.sweep({("a", 0): tried}, tmp_path, lambda missing: measured)
    assert sweep.sweep({("a", 0): tried}, tmp_path, StandIn()) == results
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text())["trial"] == tried.recorded()


# ---------------------------------------------------------------- the command


def config(tmp_path, name="dropout", **options):
    return experiments.Config(name=name, source="twemoji", out=tmp_path / "runs", plots=tmp_path / "plots", **options)


def test_rows_hold_every_seed_and_the_verdict_follows_from_them(tmp_path):
    metrics = experiments.main(config(tmp_path), StandIn())
    assert [row["setting"] for row in metrics["rows"]] == ["0", "0.2", "0.5"]
    for k, row in enumerate(metrics["rows"]):
        assert row["steps"] == [300, 1000, 3000] and row["values"]["mse"] == pytest.approx(
            [seed[-1] for seed in row["curves"]["mse"]], abs=1e-5
        )
        assert row["values"]["mse"] == pytest.approx(
            [0.02 + 0.001 * seed + 0.01 * (k == 0) + 0.0001 * len(row["setting"]) + 0.1 / 3000 for seed in range(5)]
        )
        assert row["values"]["gap"] == pytest.approx([mse - 0.01 for mse in row["values"]["mse"]])
    gap, error = metrics["hypotheses"]
    assert gap["verdict"] == error["verdict"] == "supported" and error["mean"] == pytest.approx(-0.0098)
    assert json.loads((tmp_path / "runs/dropout.json").read_text()) == metrics
    assert (tmp_path / "plots/experiment_dropout.png").exists()


def test_quick_leaves_the_figures_and_trials_of_a_full_run(tmp_path):
    run = StandIn()
    experiments.main(config(tmp_path, seeds=2), run)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    metrics = experiments.main(config(tmp_path, quick=True), run)
    assert metrics["quick"] and metrics["seeds"] == 2
    assert metrics["rows"][0]["trial"]["steps"] == experiments.QUICK["steps"]
    assert written == {path: path.read_bytes() for path in written} and len(run.computed) == 6 + 6


def test_the_best_preset_is_studied_too(tmp_path):
    metrics = experiments.main(config(tmp_path, "data", seeds=2, preset="best"), StandIn())
    assert metrics["preset"] == "best" and {row["trial"]["preset"] for row in metrics["rows"]} == {"best"}


@pytest.mark.parametrize("content", ["[]", '{"experiment": "latent"}', "no record", "[" * 200_000])
def test_a_file_of_others_is_no_record(command, tmp_path, content):
    (tmp_path / "dropout.json").write_text(content)
    status, out, error = command(experiments, "dropout", "--source", "twemoji", "--out", ".")
    assert (status, error.count("\n"), out) == (2, 1, "") and "dropout.json is no record of this experiment" in error
    assert (tmp_path / "dropout.json").read_text() == content


def test_a_folder_where_a_file_belongs(command, tmp_path):
    for one in wanted().values():
        sweep.place(tmp_path / "runs/trials", one).mkdir(parents=True)
    status, _, error = command(experiments, "dropout", "--source", "twemoji", "--seeds", "2", "--out", "runs")
    assert (status, error.count("\n")) == (2, 1) and ".json is a folder where a file belongs" in error


def test_two_at_once_are_refused(command, tmp_path):
    (tmp_path / "runs").mkdir()
    with files.locked(tmp_path / "runs"):
        status, out, error = command(experiments, "dropout", "--source", "twemoji", "--out", "runs")
    assert (status, error.count("\n"), out) == (2, 1, "") and "runs is in use by another run" in error


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "latent"),
        (["depth"], "depth"),
        (["dropout", "--seeds", "1"], "--seeds is 1"),
        (["dropout", "--workers", "0"], "--workers is 0"),
        (["dropout", "--out", "file/run"], "file/run"),
        (["dropout", "--preset", "best", "--source", "twemoji"], "the best preset has no dropout to vary"),
    ],
)
def test_bad_input(command, tmp_path, arguments, message):
    (tmp_path / "file").write_text("")
    status, _, error = command(experiments, *arguments)
    assert status == 2 and message in error and error.count("\n") == 1


@pytest.mark.skipif(find_spec("ray") is not None, reason="about a machine without Ray")
def test_ray_that_is_not_installed(command):
    status, _, error = command(experiments, "dropout", "--quick", "--ray", "--source", "twemoji")
    assert status == 2 and "requirements-ray.txt" in error and error.count("\n") == 1


def test_too_few_emoji_are_an_error_before_any_training(made, command, tmp_path):
    few = made(["happy face", "sad face", *(f"smiling face {letter}" for letter in "abcdefghi")])
    (tmp_path / "few").mkdir()
    for name, image in zip(few.names, few.images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "few" / f"{name}.png")
    status, _, error = command(experiments, "weight", "--source", tmp_path / "few")
    assert status == 2 and "1 different emoji of class sad" in error and error.count("\n") == 1


# ---------------------------------------------------------------- processes and clusters

PAIR = {("a", seed): Trial(images="happy or sad", classes="happy or sad", seed=seed, **TINY) for seed in (0, 1)}


@pytest.mark.long
def test_two_workers_compute_what_one_does():
    shared = dict(sweep.in_processes(trial.measure, 2, PAIR))
    for key, one in PAIR.items():
        assert {**shared[key], "seconds": 0} == {**trial.measure(one), "seconds": 0}  # one worker does just this


@pytest.mark.long
def test_ray_computes_what_a_worker_does(monkeypatch):
    pytest.importorskip("ray", reason="optional: requirements-ray.txt")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    for key, metrics in sweep.on_ray(trial.measure, PAIR):
        assert {**metrics, "seconds": 0} == {**trial.measure(PAIR[key]), "seconds": 0}


@pytest.mark.long
def test_a_killed_process_leaves_its_trials_and_no_worker(tmp_path):
    options = ["dropout", "--quick", "--source", "twemoji", "--out", ".", "--plots", "."]
    script = [sys.executable, "-u", str(ROOT / "experiments.py"), *options]
    killed = subprocess.Popen(script, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in killed.stdout:
        if "seed 0" in line:
            break
    killed.kill()
    killed.communicate(timeout=60)  # ends when the last worker, which also has its output, is gone
    kept = {file: file.read_text() for file in (tmp_path / "trials").glob("*.json")}
    again = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert 1 <= len(kept) < 6 and f"{len(kept)} of 6 trials are on file" in again
    assert again.count("seed ") == 6 - len(kept)
    assert all(file.read_text() == text for file, text in kept.items())  # the seconds would tell a second computation
