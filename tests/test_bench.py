"""The benchmark runs in its tiny mode, and its table holds what was measured."""

import json
from functools import partial

import pytest

import autoencoder
import bench
from common import files
from common.errors import UserError
from studies import art_styles, curve
from studies.processes import Bench, process


def test_table_shows_means_and_leaves_out_what_was_not_measured():
    runs = [
        {"train_seconds": 3.0, "process_seconds": 10.0, "peak_mb": 700.0},
        {"train_seconds": 5.0, "process_seconds": 20.0, "peak_mb": 900.0},
    ]
    network = bench.row("network", [0.01, 0.02], 0.003, runs) | {"images_per_second": [100.0, 99.0, 98.0]}
    table = bench.table([network, bench.row("mean image", [0.05], None, [])]).splitlines()
    assert "0.0150 ± 0.0071" in table[2] and "| 4 | 15 | 800 | 100, 99, 98 |" in table[2]
    assert table[3] == "| mean image | 0.0500 |  |  |  |  |  |"


def test_a_process_gets_its_environment_and_a_failing_one_is_not_passed_over(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text("import os, sys\nprint('broken')\nsys.exit('GIVEN_BY_THE_TEST' not in os.environ)")
    assert process(str(script), environment={"GIVEN_BY_THE_TEST": "1"})["peak_mb"] > 1
    with pytest.raises(UserError, match="script.py failed"):
        process(str(script))
    assert "broken" in capsys.readouterr().out


def test_a_folder_in_use_is_refused_in_one_line(command, tmp_path):
    (tmp_path / "quick").mkdir()
    with files.locked(tmp_path / "quick"):
        status, _, error = command(bench, "--quick", "--out", str(tmp_path))
    assert status == 2 and "is in use by another run" in error and error.count("\n") == 1


@pytest.mark.parametrize("kind", [curve.Config, curve.BestConfig])
def test_the_losses_of_a_curve_are_those_of_the_test_set_and_change_nothing_else(tmp_path, kind):
    tiny = {"source": "twemoji", "keyword": "cat face", "split": "emoji", "copies": 2, "batch_size": 8, "latent": 4}
    tiny |= {"epochs": 2} if kind is curve.Config else {"steps": 3, "pca_images": 64, "train_on": "faces"}
    with_test, usual = tmp_path / "curve", tmp_path / "usual"
    metrics = curve.main(kind(**tiny, out=with_test, plots=with_test))
    part1 = autoencoder.Config if kind is curve.Config else partial(autoencoder.BestConfig, refine_steps=0)
    other = autoencoder.main(part1(**tiny, out=usual, plots=usual))
    lines, usual_lines = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (with_test, usual)
    )
    assert lines[-1]["val_loss"] == metrics["test_mse"] == other["test_mse"] != usual_lines[-1]["val_loss"]
    assert [line["train_loss"] for line in lines] == [line["train_loss"] for line in usual_lines]


@pytest.mark.parametrize("part", ["curves", "styles"])
def test_one_part_is_added_to_a_record_that_is_there(command, tmp_path, part):
    status, _, error = command(bench, "--only", part, "--quick", "--out", str(tmp_path))
    assert status == 2 and "make that first" in error and error.count("\n") == 1


@pytest.mark.parametrize("steps, expected", [(None, ()), (7, ("--steps", "7"))])
def test_art_styles_are_measured_with_their_own_steps_and_no_style_is_tested_as_unseen_that_was_seen(
    tmp_path, monkeypatch, steps, expected
):
    made = {}

    def ours(its, name, *options):
        made[name] = options
        numbers = {"test_mse": 0.5, "refined_mse": 0.4, "pca_mse": 1.0}
        return {"styles": {style: numbers for style in art_styles.STYLES}}

    monkeypatch.setattr(art_styles, "require", lambda: None)
    monkeypatch.setattr(Bench, "ours", ours)
    files.write_json(tmp_path / "results.json", {"rows": ["kept"]})
    results = bench.main(bench.Config(only="styles", seeds=2, styles_steps=steps, out=tmp_path, plots=tmp_path))
    assert results["rows"] == ["kept"] and len(results["styles"]["in_training"]["noto"]["test_mse"]) == 2
    assert all([option for option in options if option in ("--steps", "7")] == [*expected] for options in made.values())
    for style in art_styles.STYLES:
        options = made[f"without-{style}"]
        assert options[options.index("--hold-out-style") + 1] == style and options.count(style) == 1


@pytest.mark.long
def test_main_in_its_tiny_mode(tmp_path):
    results = bench.main(bench.Config(quick=True, out=tmp_path))
    assert json.loads((tmp_path / "quick/results.json").read_text()) == results
    required = {"method", "unseen_mse", "report_order_mse", "train_seconds", "process_seconds", "peak_mb"}
    assert all(required <= set(row) for row in results["rows"] + results["avx2"]["rows"])
    by_method = {row["method"]: row for row in results["rows"]}
    assert by_method["report preset"]["peak_mb"] > 100 and by_method["report preset"]["process_seconds"] > 1
    assert len(by_method["best preset, encoder alone"]["images_per_second"]) == len(bench.SIZES)
    assert results["avx2"]["ratios"]["precision of the best preset"] == "float32"
    (tmp_path / "quick/bench.png").unlink()
    again = bench.main(bench.Config(quick=True, only="curves", out=tmp_path))
    assert (tmp_path / "quick/bench.png").exists() and again["rows"] == results["rows"]
    assert {name: len(points) for name, points in again["against_seconds"]["curves"].items()} == {
        "plain implementation": 2, "report preset": 2, "best preset": 6
    }  # fmt: skip
