"""The side by side of made-up runs, the plain implementation next to ours, and a network that is published."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file

import data
from lab import networks, runs, training
from lab.cli import UserError
from lab.options import DataOptions, TrainingRun
from lab.sources import STYLES, rows_of
from studies import bench, plain, publish

TINY = {"keyword": "cat face", "copies": 1, "epochs": 1, "latent": 4}


@pytest.fixture
def made_up(monkeypatch):
    """The options of runs that are not made, by name, in order."""
    made = {}

    def run(config, name, *options, **others):
        made[name] = options
        errors = {"test_mse": 0.01, "refined_mse": 0.005, "pca_mse": 0.02, "mean_image_mse": 0.06}
        about = {"train_seconds": 3.0, "seconds": 4.0, "peak_mb": 700.0, "precision": "float32", "machine": {}}
        about |= {"process_seconds": {"plain": 10.0, "coursework": 5.0}.get(name.split("-")[0], 20.0)}
        about |= {"styles": dict.fromkeys(STYLES, errors)}
        return errors | about

    monkeypatch.setattr(bench, "run_ours", run)
    monkeypatch.setattr(bench, "run_plain", run)
    return made


def test_rows_and_ratios_are_those_of_runs_that_take_turns(made_up, tmp_path):
    results = bench.main(bench.Config(seeds=2, repeats=2, steps=1800, out=tmp_path))
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert [*made_up][:4] == [f"{kind}-{i}" for i in range(2) for kind in ("plain", "coursework")]
    assert made_up["best-unseen-1"] == ("--split", "unseen", "--seed", "1", "--preset", "best", "--steps", "1800")
    ratios, rows = results["ratios"], {row["method"]: row for row in results["rows"]}
    assert ratios["refined to PCA, per seed"] == [0.25, 0.25]
    assert rows["plain implementation"]["unseen_mse"] == [] and rows["mean image"]["peak_mb"] is None
    refined = {
        "unseen_mse": [0.005] * 2,
        "coursework_mse": 0.005,
        "train_seconds": 3,
        "process_seconds": 20,
        "peak_mb": 700,
    }
    assert rows["best preset, refined latents"] == {"method": "best preset, refined latents", **refined}


def test_styles_are_added_to_a_record_and_one_that_is_never_seen_is_in_no_training(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "rows_of", str)  # the runs are made up: noto need not be installed
    config = bench.Config(styles=True, seeds=2, steps=7, out=tmp_path)
    with pytest.raises(UserError, match="make that first"):
        bench.main(config)
    runs.write_json(tmp_path / "results.json", {"rows": ["kept"]})
    results = bench.main(config)
    assert results["rows"] == ["kept"] and results["styles"]["in_training"]["noto"]["test_mse"] == [0.01, 0.01]
    for style in STYLES:
        options = made_up[f"without-{style}"]
        assert options[options.index("--hold-out-style") + 1] == style and options.count(style) == 1
        assert options[options.index("--steps") + 1] == "7"


def test_a_process_is_timed_in_its_environment_and_its_failure_is_an_error(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text("import os, sys\nprint('broken')\nsys.exit(os.environ[sys.argv[1]] != '3')")
    timing = bench.run_process(str(script), "OMP_NUM_THREADS", threads=3)
    assert timing["process_seconds"] > 0.001 and timing["peak_mb"] > 1
    with pytest.raises(UserError, match="script.py OMP_NUM_THREADS failed"):
        bench.run_process(str(script), "OMP_NUM_THREADS", threads=2)
    assert "broken" in capsys.readouterr().out


def test_the_plain_implementation_has_our_network_and_number_of_images():
    models = networks.build("convolutional", 128), plain.Autoencoder()
    assert len({sum(parameter.numel() for parameter in model.parameters()) for model in models}) == 1
    rows = [row for row in rows_of("twemoji") if "cat face" in row.text.lower()]
    splits = data.load(DataOptions(keyword="cat face"))
    assert len(plain.EmojiDataset(rows, 4)) == sum(map(len, (splits.train, splits.val, splits.test)))


def test_a_run_is_published_in_half_its_size_or_refused(tmp_path):
    options = training.resolve_options(TrainingRun(**TINY, out=tmp_path / "run", plots=tmp_path))
    splits = data.load(options)
    with runs.opened(options, splits.pictures) as run:
        trained = training.fit(options, splits, run)
        networks.save(trained.model, splits.pictures, options.out)
        record = run.finish(training.errors(trained, splits.test, None))
    config = publish.Config(network="coursework", run=options.out, out=tmp_path / "pretrained")
    folder, exact = config.out / "coursework", load_file(options.out / networks.WEIGHTS)

    def assert_refused(message):
        with pytest.raises(UserError, match=message):
            publish.main(config)

    publish.main(config)
    weights, text = load_file(folder / networks.WEIGHTS), (folder / "README.md").read_text()
    assert weights.keys() == exact.keys() and {tensor.dtype for tensor in weights.values()} == {torch.float16}
    published = training.reopened(networks.load(folder), options, splits)
    assert training.errors(published, splits.test, None)["test_mse"] == pytest.approx(record["test_mse"], rel=0.01)
    assert hashlib.sha256((folder / networks.WEIGHTS).read_bytes()).hexdigest() in text and "CC-BY 4.0" in text
    runs.write_json(options.out / runs.RUN, {**runs.read_run(options.out), "source": "my pictures"})
    assert_refused("was trained on my pictures, which has no licence")
    (options.out / runs.METRICS).unlink()
    assert_refused("first run `python autoencoder.py`")


@pytest.mark.long
def test_everything_in_its_tiny_mode(tmp_path):
    results = bench.main(bench.Config(seeds=2, repeats=1, epochs=2, steps=6, out=tmp_path))
    rows = {row["method"]: row for row in results["rows"]}
    assert rows["coursework preset"]["peak_mb"] > 100 and rows["coursework preset"]["process_seconds"] > 1
