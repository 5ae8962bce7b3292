"""The benchmark runs in its tiny mode, and its table holds what was measured."""

import json

import pytest

import bench


def test_table_shows_means_and_leaves_out_what_was_not_measured():
    runs = [{"train_seconds": 3.0, "process_seconds": 10.0, "peak_mb": 700.0}, {"train_seconds": 5.0, "process_seconds": 20.0, "peak_mb": 900.0}]
    rows = [bench.row("network", [0.01, 0.02], 0.003, runs, [100.0, 99.0, 98.0]), bench.row("mean image", [0.05], 0.05, [])]
    table = bench.table(rows).splitlines()
    assert "0.0150 ± 0.0071" in table[2] and "| 4 | 15 | 800 | 100, 99, 98 |" in table[2]
    assert table[3] == "| mean image | 0.0500 | 0.0500 |  |  |  |  |"


def test_a_failing_process_is_not_passed_over():
    with pytest.raises(RuntimeError, match="nowhere is not there"):
        bench.process("autoencoder.py", "--source", "nowhere")


@pytest.mark.long
def test_main_in_its_tiny_mode(tmp_path):
    results = bench.main(bench.Config(quick=True, runs=tmp_path))
    assert json.loads((tmp_path / "results.json").read_text()) == results
    for row in results["rows"]:
        assert {"method", "unseen_mse", "report_order_mse", "train_seconds", "process_seconds", "peak_mb"} <= set(row)
        assert row["method"] in ("plain implementation", "report preset, bfloat16") or len(row["unseen_mse"]) == 2
    by_method = {row["method"]: row for row in results["rows"]}
    assert by_method["report preset"]["peak_mb"] > 100 and by_method["report preset"]["process_seconds"] > 1
    assert (tmp_path / "bench.png").exists()
