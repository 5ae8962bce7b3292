"""The benchmark of composites: its analogies, its scores, and that nothing it fits has seen the answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lab import figures, pretrained
from lab.arithmetic import COUNTERPARTS
from lab.options import TrainingRun
from studies import analogies, families
from studies.analogies import CATS, FOLDS, Style
from studies.families import FAMILIES, Analogies


@pytest.fixture(scope="module")
def twemoji(everything):
    return Style(everything, {family: families.analogies_of(everything, family, 20) for family in FAMILIES})


def test_tables_put_the_same_emoji_in_a_row(everything):
    cats = families.cats(everything)
    assert [everything.names[i] for i in cats[0]] == list(COUNTERPARTS)
    assert [everything.names[i] for i in cats[1]] == list(COUNTERPARTS.values())
    tones = families.skin_tones(everything)
    assert tones.shape[1] == 6 and len(tones) > 100
    for row in tones[:20]:
        codes = [everything.codes[i] for i in row if i != families.MISSING]
        assert len({code.split("-")[0] for code in codes}) == 1 and len(set(codes)) == len(codes)


def test_analogies_have_target_and_truth_in_one_row(twemoji):
    assert len(twemoji.analogies["cats"].truth) == 72 and len(set(twemoji.answers("cats"))) == 9
    for family, table in (("skin tones", families.skin_tones), ("genders", families.genders)):
        found, rows = twemoji.analogies[family], [set(row.tolist()) for row in table(twemoji.pictures)]
        for target, baseline, featured, truth in zip(*(part.tolist() for part in found)):
            assert any({target, truth} <= row for row in rows) and any({baseline, featured} <= row for row in rows)
            assert len({target, baseline, featured, truth}) == 4


def test_scores_of_perfect_and_of_unchanged_composites(twemoji):
    found = twemoji.analogies["cats"]
    perfect = analogies.score(twemoji.images(found.truth), twemoji, "cats")
    for name, value in {"top1": 1, "top1_shifted": 1, "mrr": 1, "mse": 0, "ssim": 1, "sharpness": 1}.items():
        assert perfect[name] == pytest.approx(np.full(72, value), abs=1e-4)
    unchanged = analogies.score(twemoji.images(found.target), twemoji, "cats")
    assert unchanged["top1"].mean() < 0.2 and unchanged["mse"].mean() > 0.05


def test_a_shifted_answer_is_found_again(twemoji):
    moved = torch.roll(twemoji.images(twemoji.analogies["cats"].truth), 4, 3)
    scores = analogies.score(moved, twemoji, "cats")
    assert scores["top1_shifted"].mean() > scores["top1"].mean()


def test_summaries_count_an_answer_once():
    scores = {"top1": np.array([1.0, 1.0, 0.0, 0.0, 0.0])}
    pixels = {"top1": np.zeros(5)}
    found = analogies.summarize(scores, pixels, ["a", "a", "b", "b", "b"])["top1"]
    assert found["mean"] == pytest.approx(0.4) and found["by_answer"] == pytest.approx(0.5)
    assert 0 <= found["interval"][0] <= 0.5 <= found["interval"][1] <= 1
    assert found["minus_pixels"]["mean"] == pytest.approx(0.5)


def test_a_paste_is_chosen_without_the_answer(twemoji, monkeypatch):
    """Whatever the hidden cat looks like, the choice is the same."""
    monkeypatch.setattr(analogies, "PASTES", analogies.PASTES[::24])
    hidden = CATS[3]
    changed = twemoji.pictures.images.clone()
    changed[twemoji.pictures.names.index(hidden)] = 0
    other = Style(replace(twemoji.pictures, images=changed), twemoji.analogies)
    chosen = [analogies.choose_paste([style], "cats", hidden) for style in (twemoji, other)]
    assert chosen[0] == chosen[1]
    known, pool, errors = analogies.paste_errors(twemoji, "cats")
    assert errors.shape == (6, len(known.truth), len(pool))


def test_networks_of_a_fold_are_trained_without_its_cats(tmp_path):
    config = analogies.Config(out=tmp_path, epochs=2, steps=2)
    for fold in range(FOLDS):
        for preset in ("coursework", "best"):
            assert analogies.training_of(config, "twemoji", fold, preset).hold_out == tuple(CATS[fold::FOLDS])
    assert sorted(cat for fold in range(FOLDS) for cat in CATS[fold::FOLDS]) == sorted(CATS)


def test_retouching_starts_as_the_identity_and_learns():
    random = torch.Generator().manual_seed(0)
    composites, target, featured = (torch.rand(8, 3, 16, 16, generator=random) * 0.8 for _ in range(3))
    truth = composites + 0.2
    untouched = analogies.retouch([composites, target, featured, truth], [composites, target, featured], steps=0)
    assert torch.allclose(untouched, composites)
    retouched = analogies.retouch([composites, target, featured, truth], [composites, target, featured], steps=40)
    assert (retouched - truth).square().mean() < 0.5 * (composites - truth).square().mean()


@pytest.mark.long
def test_a_tiny_benchmark(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "save", lambda figure, path: path)
    config = analogies.Config(count=8, epochs=2, steps=2, out=tmp_path, plots=tmp_path)
    rows = analogies.main(config)["rows"]
    assert {(row["style"], row["family"]) for row in rows} == {(s, f) for s in analogies.STYLES for f in FAMILIES}
    folder = tmp_path / "networks" / "coursework-noto-1"
    assert set(pretrained.recorded_options(folder, TrainingRun).hold_out) == set(CATS[1::FOLDS])


def test_sources_are_target_baseline_and_featured():
    found = Analogies(*(torch.tensor([k, k + 4]) for k in range(4)))
    assert found.sources() == [(0, 1, 2), (4, 5, 6)] and found.where(slice(1)).truth.tolist() == [3]
