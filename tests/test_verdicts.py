"""Hypotheses and verdicts: paired differences, corrected intervals, Holm's correction."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from conftest import ROOT
from studies.findings import corrected, finding, holm
from studies.hypotheses import EXPERIMENTS, Hypothesis
from studies.verdicts import judge


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_hypotheses_compare_settings_that_are_measured(name):
    experiment = EXPERIMENTS[name]
    assert len(set(experiment.settings.values())) == len(experiment.settings)
    for hypothesis in experiment.hypotheses:
        pair = [hypothesis.setting, hypothesis.reference]
        assert set(pair) <= set(experiment.settings) and len(set(pair)) == 2
        if hypothesis.metric == "balanced_accuracy":
            assert all(experiment.settings[setting].weight for setting in pair)


HIGH, LOW, EVEN = [3.0, 3.1, 2.9, 3.0, 3.2], [1.0, 1.2, 0.9, 1.1, 1.0], [3.1, 3.0, 3.0, 2.9, 3.1]
BETTER = Hypothesis("2e", "it helps", "mse", "with", "lower", "without")


def of_seeds(*curves, train=0.5):
    """Trials of one setting: the MSE of each after 300 steps, and so on."""
    steps = [300, 1000, 3000][: len(curves)]
    return [{"steps": steps, "mse": list(seed), "train_mse": [train] * len(steps)} for seed in zip(*curves)]


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
    judged = judge(replace(BETTER, expected=expected), {"with": of_seeds(values), "without": of_seeds(HIGH)})
    assert judged["verdict"] == outcome and (judged["p"] < 0.05) == (outcome != "undecided")
    assert finding(judged).startswith("MSE(with) - MSE(without) = ") and f"]: {outcome} (" in finding(judged)


def test_the_longest_training_decides_and_the_shorter_ones_are_told():
    judged = judge(BETTER, {"with": of_seeds(HIGH, EVEN, LOW), "without": of_seeds(LOW, HIGH, HIGH)})
    assert [one["verdict"] for one in judged["by_steps"].values()] == ["contradicted", "undecided", "supported"]
    assert judged["verdict"] == "supported" and judged["differences"] == judged["by_steps"]["3000"]["differences"]
    assert "after 300 steps contradicted, after 1,000 steps undecided)" in finding(judged)


def test_overfitting_is_the_gap_not_the_error():
    values = {"with": of_seeds(LOW, train=0.9), "without": of_seeds(HIGH, train=2.9)}
    judged = judge(replace(BETTER, metric="gap"), values)
    assert judged["mean"] == pytest.approx(0.0) and judged["verdict"] == "undecided"


def test_pairing_sees_through_the_spread_of_the_seeds():
    seeds = np.array([1.0, 5.0, 9.0, 2.0, 7.0])
    judged = judge(BETTER, {"with": of_seeds(seeds - [0.1, 0.12, 0.09, 0.11, 0.1]), "without": of_seeds(seeds)})
    assert judged["verdict"] == "supported"


def test_verdicts_are_on_intervals_corrected_for_five_folds():
    judged = judge(BETTER, {"with": of_seeds([-0.7, -0.1, -0.5, -0.2, -0.3]), "without": of_seeds([0.0] * 5)})
    widths = [np.ptp(judged[name]) for name in ("interval", "plain_interval")]
    assert widths[0] == pytest.approx(1.5 * widths[1])  # 5 x (1/5 + 1/4) = 1.5^2
    assert (judged["plain_verdict"], judged["verdict"]) == ("supported", "undecided")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_report_s_intervals_are_those_of_the_corrected_resampled_t_test(name):
    record = json.loads((ROOT / f"report/records/experiment-{name}.json").read_text())
    rows = {row["setting"]: row["values"] for row in record["rows"]}
    assert len(record["hypotheses"]) == len(EXPERIMENTS[name].hypotheses)
    for judged in record["hypotheses"]:
        ours, reference = (np.array(rows[judged[side]][judged["metric"]]) for side in ("setting", "reference"))
        differences = ours - reference
        # Nadeau and Bengio 2003: the variance of the mean is (1/n + n_test/n_train) times that of the differences
        error = np.sqrt((1 / 5 + 1 / 4) * differences.var(ddof=1))
        assert judged["interval"] == pytest.approx(
            list(differences.mean() + np.array([-1, 1]) * stats.t(4).ppf(0.975) * error), abs=1e-8
        )
        assert judged["p"] == pytest.approx(2 * stats.t(4).sf(abs(differences.mean() / error)) if error else 1.0)


def test_holm_can_take_a_verdict_back_but_make_none():
    judged = [
        {"p": p, "verdict": verdict}
        for p, verdict in [(0.001, "supported"), (0.04, "contradicted"), (0.5, "undecided")]
    ]
    assert [one["holm_verdict"] for one in corrected(judged)] == ["supported", "undecided", "undecided"]


def test_holm_against_a_table_worked_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_the_plain_p_and_bonferroni_s(p_values):
    adjusted = holm(p_values)
    assert all(p <= corrected <= min(1, len(p_values) * p) for p, corrected in zip(p_values, adjusted))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[k] for k in order] == sorted(adjusted)
    assert adjusted[order[0]] == min(1, len(p_values) * p_values[order[0]])
