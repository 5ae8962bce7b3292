"""The benchmark of composites: its analogies, its scores, and that nothing it fits has seen the answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import data
from lab import arithmetic, cli, figures, pretrained, runs
from lab.arithmetic import COUNTERPARTS
from lab.options import RunOptions
from lab.pictures import SIZE, Pictures, generator
from studies import analogies, families
from studies.analogies import CATS, FOLDS, PASTES, Config, Paste, Style
from studies.families import FAMILIES, MISSING, Analogies

CODES = ["1F44B", "1F44B-1F3FB", "1F44B-1F3FF", "1F44D", "1F44D-1F3FB", "1F44D-1F3FF", "1F680", ""]


def pictures_of(names: list[str], codes: list[str] = (), source: str = "made") -> Pictures:
    """Pictures of random pixels, others for each source."""
    shape = (len(names), 3, SIZE, SIZE)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(source, 0))
    return Pictures(source, names, images, [*codes] or [""] * len(names), [source] * len(names))


def style_of(source: str) -> Style:
    """The cats and humans, and some hands, of random pixels."""
    names, codes = [*CATS, *COUNTERPARTS.values()], CODES[:6]
    pictures = pictures_of([*names, *codes], [""] * len(names) + codes, source)
    return Style(pictures, {family: families.analogies_of(pictures, family, 5) for family in FAMILIES})


def with_picture(style: Style, name: str, value: int) -> Style:
    """The same style with a plain picture for one emoji."""
    images = style.pictures.images.clone()
    images[style.pictures.names.index(name)] = value
    return Style(replace(style.pictures, images=images), style.analogies)


def test_tables_put_the_same_emoji_in_a_row():
    cats = families.cats(pictures_of([*CATS[1:], *COUNTERPARTS.values()]))
    assert cats.tolist() == [[MISSING, *range(8)], [*range(8, 17)]]
    tones = families.skin_tones(pictures_of(["hand"] * 9, [*CODES, "1F9D1-1F3FB-200D-1F91D-200D-1F9D1-1F3FF"]))
    assert tones[:, :3].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_analogies_have_target_and_truth_in_one_row_and_need_no_missing_picture():
    table = torch.tensor([[0, 1, 2], [3, 4, MISSING], [5, 6, 7]])
    drawn = torch.stack(families.draw(table, 50, generator("analogies", 0)), 1).tolist()
    assert len(drawn) == 50 and len({*map(tuple, drawn)}) > 10
    for analogy in drawn:
        target, baseline, featured, truth = ((table == i).nonzero()[0].tolist() for i in analogy)
        assert target[0] == truth[0] != baseline[0] == featured[0] and MISSING not in analogy
        assert target[1] == baseline[1] != truth[1] == featured[1]
    assert torch.stack(families.every(table[:2]), 1).tolist() == [[0, 3, 4, 1], [1, 4, 3, 0]]


def test_all_72_analogies_of_cats_except_those_whose_answer_looks_like_another():
    style = style_of("made")
    found = style.analogies["cats"]
    assert len(found.truth) == 72 and {*style.answers("cats")} == {*CATS}
    for target, baseline, featured, truth in zip(*(part.tolist() for part in found)):
        names = [style.pictures.names[i] for i in (target, baseline, featured, truth)]
        assert COUNTERPARTS[names[0]] == names[1] and COUNTERPARTS[names[3]] == names[2] and target != truth
    alike = with_picture(with_picture(style, CATS[0], 9), CATS[1], 9).pictures
    assert len(families.analogies_of(alike, "cats", 0).truth) == 7 * 8


@pytest.fixture
def graded() -> Style:
    """One analogy, of pictures that differ in their brightness alone. Nearer to its target than the truth (110) are a
    face (103) and a cake (100); a face (90) is as near."""
    pattern = torch.randint(0, 100, (3, SIZE, SIZE), generator=generator("pattern", 0))
    images = torch.stack([(pattern + level).byte() for level in (100, 101, 99, 110, 90, 103, 150, 100)])
    pictures = replace(pictures_of([*(f"face {i}" for i in range(7)), "cake"]), images=images)
    return Style(pictures, dict.fromkeys(("cats", "skin tones"), Analogies(*torch.arange(4)[:, None])))


def test_ranks_leave_sources_out_and_count_ties(graded):
    composite = graded.images(torch.tensor([0]))
    scores = {family: analogies.score(composite, graded, family) for family in ("cats", "skin tones")}
    assert [scores[family]["mrr"].item() for family in scores] == [1 / 3, 1 / 4]
    assert scores["cats"]["top1"] == scores["cats"]["top1_shifted"] == 0 and "top1_shifted" not in scores["skin tones"]
    assert scores["cats"]["mse"] == pytest.approx((10 / 255) ** 2, rel=1e-3)


def test_the_truth_has_the_best_scores_and_half_its_contrast_a_quarter_of_its_sharpness(graded):
    truth = graded.images(torch.tensor([3]))
    perfect = analogies.score(truth, graded, "cats")
    for name, value in {"top1": 1, "top1_shifted": 1, "mrr": 1, "mse": 0, "ssim": 1, "sharpness": 1}.items():
        assert perfect[name] == pytest.approx([value], abs=1e-5)
    assert analogies.score(truth / 2, graded, "cats")["sharpness"] == pytest.approx([0.25], abs=1e-4)


def test_an_answer_that_is_shifted_by_two_pixels_is_found_again():
    style = style_of("made")
    style.pictures.images[:, :, [0, 1, -2, -1]] = style.pictures.images[..., [0, 1, -2, -1]] = 255  # a white edge
    truth = style.images(style.analogies["cats"].truth)
    moved = analogies.score(truth.roll((2, -1), (2, 3)), style, "cats")
    far = analogies.score(truth.roll(3, 2), style, "cats")
    assert moved["top1_shifted"].all() and not moved["top1"].all() and not far["top1_shifted"].all()


def test_summaries_count_an_answer_once():
    scores, pixels = {"top1": np.array([1.0, 0.0, 1.0])}, {"top1": np.zeros(3)}
    found = analogies.summarize(scores, ["b", "a", "a"], pixels)["top1"]
    assert (found["mean"], found["by_answer"], found["each"]) == (pytest.approx(2 / 3), 0.75, {"a": 0.5, "b": 1.0})
    assert 0.5 <= found["interval"][0] <= 0.75 <= found["interval"][1] <= 1
    minus = found["minus_pixels"]  # t = 0.75 / 0.25 = 3 with one degree of freedom
    assert minus["mean"] == 0.75 and minus["p"] == pytest.approx(0.2048, abs=1e-4)
    assert minus["interval"] == pytest.approx([0.75 - 12.706 * 0.25, 0.75 + 12.706 * 0.25], abs=1e-3)
    assert analogies.summarize(pixels, ["b", "a", "a"], pixels)["top1"]["minus_pixels"]["p"] == 1
    assert {*analogies.summarize(scores, ["b", "a", "a"], None)["top1"]} == {"mean", "by_answer", "interval"}


@pytest.mark.parametrize("grown, down", [(0, 0), (1, 0), (1, 2)])
def test_a_dot_is_pasted_with_the_ground_around_it(grown, down):
    target, baseline = torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 3, 8, 8)
    featured, expected = baseline.clone(), target.clone()
    featured[:, :, 3, 4] = 1
    expected[..., 3 + down - grown : 4 + down + grown, 4 - grown : 5 + grown] = 0
    expected[..., 3 + down, 4] = 1
    pasted = Paste(threshold=0.35, grown=grown, down=down, scale=1.0)(target, baseline, featured)
    assert torch.allclose(pasted, expected, atol=1e-5)


def test_a_paste_is_chosen_without_the_style_and_without_the_answer(monkeypatch):
    monkeypatch.setattr(analogies, "PASTES", PASTES[::24])
    style, other = style_of("made"), style_of("other")
    chosen = analogies.compose_by_paste(style, [other], "cats")[1]
    assert [row["answer"] for row in chosen] == [*dict.fromkeys(style.answers("cats"))]
    assert analogies.compose_by_paste(with_picture(style, CATS[3], 0), [other], "cats")[1] == chosen
    changed = with_picture(other, CATS[3], 0)
    assert analogies.choose_paste([changed], "cats", CATS[3]) == analogies.choose_paste([other], "cats", CATS[3])
    errors = [analogies.paste_errors(each, "cats")[2] for each in (other, changed)]
    assert errors[0].shape == (6, 72, 9) and not torch.equal(*errors)


def test_arithmetic_never_looks_at_the_answer(monkeypatch):
    spaces = dict.fromkeys(("PCA", "pixels", "coursework", "best"), arithmetic.pixel_space)
    monkeypatch.setattr(analogies, "spaces_without", lambda config, style, fold: spaces)
    style = style_of("made")
    styles = style, with_picture(style, CATS[3], 0)
    made, changed = (analogies.compose_by_arithmetic(Config(), each, "cats") for each in styles)
    same = torch.tensor([answer == CATS[3] for answer in style.answers("cats")])
    for method, composites in made.items():
        assert torch.equal(composites[same], changed[method][same]) and composites.shape == (72, 3, SIZE, SIZE)
    target, baseline, featured, _ = style.parts("cats")
    assert torch.allclose(made["PCA arithmetic"], (target + featured - baseline).clamp(0, 1), atol=1e-6)


def test_networks_of_a_fold_never_see_its_cats(tmp_path):
    style, config = style_of("made"), Config(out=tmp_path, epochs=1, steps=2, latent=4)
    (tmp_path / "pictures").mkdir()
    for name, image in zip(style.pictures.names[:18], style.pictures.images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"pictures/{name}.png")
    assert sorted(cat for fold in range(FOLDS) for cat in CATS[fold::FOLDS]) == sorted(CATS)
    options = analogies.training_of(config, str(tmp_path / "pictures"), 1, "coursework")
    options = replace(options, copies=1, out=tmp_path / "network", plots=tmp_path)
    analogies.train_network(options)
    there = pretrained.recorded_options(options.out, RunOptions)
    assert there.hold_out == tuple(CATS[1::FOLDS]) and there.epochs == 1 and there.seed == 0
    seen = data.split(data.load_styles(there), there).pictures.names
    assert len(seen) == 15 and not {*seen} & {*CATS[1::FOLDS]}
    before = (options.out / runs.METRICS).stat()
    analogies.train_network(options)
    assert (options.out / runs.METRICS).stat() == before  # a finished network is used again
    with pytest.raises(cli.UserError, match="other options .--epochs 1, not 2"):
        analogies.train_network(replace(options, epochs=2))


def test_retouching_starts_as_the_identity_and_learns():
    composites, target, featured = np.random.default_rng(0).random((3, 8, 3, 16, 16), dtype=np.float32) * 0.8
    known, truth = [composites, target, featured], composites + 0.2
    assert np.array_equal(analogies.retouch([*known, truth], known, steps=0), composites)
    retouched = analogies.retouch([*known, truth], known, steps=40)
    assert np.square(retouched - truth).mean() < 0.5 * np.square(composites - truth).mean()


def test_targets_are_drawn_and_their_changes_recorded(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "reconstructions", lambda rows, titles, path: drawn.append((titles, path.name)))
    changes = analogies.main(Config(targets=True, out=tmp_path, plots=tmp_path))["mse_to_target"]
    assert all(len(each) == 16 and 0 < min(each.values()) < 0.2 for each in changes.values()) and len(changes) == 2
    assert [name for _, name in drawn] == ["analogies_targets_1.png", "analogies_targets_2.png"]
    assert drawn[0][0][:2] == ["dog face", "full moon with face"]


@pytest.mark.long
def test_a_tiny_benchmark(tmp_path):
    rows = analogies.main(Config(count=8, epochs=1, steps=2, out=tmp_path, plots=tmp_path / "plots"))["rows"]
    assert len(rows) == 3 * (13 + 9) and len([*(tmp_path / "plots").glob("analogies_*.png")]) == 9
    top1 = analogies.main(Config(thresholds=True, out=tmp_path / "thresholds"))["top1"]
    *found, mean = top1.pop("as it is").values()
    rates = [row["top1"]["mean"] for row in rows if (row["family"], row["method"]) == ("cats", "transplant")]
    assert len(top1) == 22 and found == rates and mean == pytest.approx(sum(rates) / 3)
    assert [72 * rate for rate in rates] == pytest.approx([40, 30, 28], abs=2)
