"""The side by side of made-up runs, the plain implementation next to ours, and a network that is published."""

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import data
from lab import networks, pretrained, runs, training
from lab.cli import UserError
from lab.options import DataOptions, RunOptions
from lab.sources import rows_of
from studies import bench, plain, publish


def test_methods_take_turns_and_the_record_has_their_medians(monkeypatch, tmp_path):
    made, seconds = [], iter((10.0, 5, 20, 12, 7, 30, 11, 6, 90))

    def run(folder, *options):
        made.append(folder.name)
        machine = {"processor": "it", "threads": 2, "versions": {}, "precision": "float32"}
        return {"test_mse": 0.01, "train_seconds": 3.0, "process_seconds": next(seconds), "peak_mb": 700.0, **machine}

    monkeypatch.setattr(bench, "run_preset", run)
    monkeypatch.setattr(bench, "run_plain", run)
    results = bench.main(bench.Config(out=tmp_path))
    assert json.loads((tmp_path / "results.json").read_text()) == results and results["threads"] == 2
    assert made == [f"{kind}-{i}" for i in range(3) for kind in ("plain", "coursework", "best")]
    assert [*results["methods"]["best"].values()] == [0.01, 3.0, 30, 700.0]


def test_a_process_is_timed_and_its_failure_is_an_error(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint('broken')\nsys.exit(int(sys.argv[1]))")
    timing = bench.run_process(str(script), "0")
    assert timing["process_seconds"] > 0.001 and timing["peak_mb"] > 1
    with pytest.raises(UserError, match="script.py 3 failed"):
        bench.run_process(str(script), "3")
    assert "broken" in capsys.readouterr().out


def test_the_plain_implementation_has_our_number_of_images():
    rows = [row for row in rows_of("twemoji") if "cat face" in row.text.lower()]
    splits = data.load(DataOptions(keyword="cat face"))
    assert len(plain.EmojiDataset(rows, 4)) == sum(map(len, (splits.train, splits.val, splits.test)))


def test_a_run_is_published_in_half_its_size_or_refused(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    record, options = json.loads((run / runs.METRICS).read_text()), pretrained.recorded_options(run, RunOptions)
    config = publish.Config(network="coursework", run=run, out=tmp_path / "pretrained")
    folder, exact, splits = config.out / "coursework", load_file(run / networks.WEIGHTS), data.load(options)
    publish.main(config)
    weights, text = load_file(folder / networks.WEIGHTS), (folder / "README.md").read_text()
    assert weights.keys() == exact.keys() and {tensor.dtype for tensor in weights.values()} == {torch.float16}
    published = training.reopened(networks.load(folder), options, splits)
    assert training.errors(published, splits.test, None)["test_mse"] == pytest.approx(record["test_mse"], rel=0.01)
    assert hashlib.sha256((folder / networks.WEIGHTS).read_bytes()).hexdigest() in text and "CC-BY 4.0" in text
    runs.write_json(run / runs.RUN, {**runs.read_run(run), "source": "my pictures"})
    with pytest.raises(UserError, match="was trained on my pictures, which has no licence"):
        publish.main(config)
    (run / runs.METRICS).unlink()
    with pytest.raises(UserError, match="first run `python autoencoder.py`"):
        publish.main(config)


@pytest.mark.long
def test_everything_in_its_tiny_mode(tmp_path):
    methods = bench.main(bench.Config(repeats=1, epochs=2, steps=6, out=tmp_path))["methods"]
    assert all(one["peak_mb"] > 100 and one["process_seconds"] > 1 and one["test_mse"] < 1 for one in methods.values())
