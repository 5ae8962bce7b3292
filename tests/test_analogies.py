"""Part 3's benchmark: the analogies, which pictures may be looked at, the drawn cats, and the table."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy import stats

import analogies
import data
from common.errors import UserError
from lab import arithmetic, networks, presets, records, trained
from lab.arithmetic import COUNTERPARTS, Space
from lab.options import ReportRun
from studies import cat_analogies, drawn_cats

pytestmark = pytest.mark.usefixtures("decoded_once")
CPU = torch.device("cpu")
CATS = list(COUNTERPARTS)


@pytest.fixture(scope="module")
def small(tmp_path_factory, faces):
    """The cats and their counterparts alone, as a folder of pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in (*COUNTERPARTS, *COUNTERPARTS.values()):
        pixels = faces.images[faces.names.index(name)].permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return data.load_originals(str(folder), "face")


@pytest.fixture(scope="module")
def config(tmp_path_factory, small):
    """Of a benchmark whose networks lie in the folder, as they are before the first step."""
    out = tmp_path_factory.mktemp("analogies")
    config = analogies.Config(source=small.source, seeds=2, epochs=1, steps=1, latent=4, out=out, plots=out)
    for seed in range(2):
        for group in ([], *cat_analogies.folds()):
            for preset in ("report", "best"):
                held_out = [CATS[k] for k in group]
                keep(cat_analogies.training_of(preset, config, small.source, seed, held_out, out), small)
    return config


def keep(run, originals):
    """The folder of a run that has made no step."""
    name = f"{run.preset}-seed{run.seed}" + "".join(f"-without-{name.replace(' ', '_')}" for name in run.hold_out[:1])
    run = replace(run, out=run.out / "networks" / name)
    torch.manual_seed(sum(name.encode()))  # other weights with other answers held out
    with records.recording(run, originals, CPU) as record:
        networks.save(presets.build(run), originals, CPU, run.out)
        record.finish({})


# ---------------------------------------------------------------- nothing looks at the answer


def test_composites_never_look_at_the_answer(faces):
    found = cat_analogies.find_analogies(faces.names)
    latents = torch.rand(len(faces.names), 20, generator=data.generator("latents", 0))
    for j, cat in enumerate(found.cats):
        blinded = latents.clone()
        blinded[cat] = torch.nan
        for attribute in arithmetic.ATTRIBUTES:
            composites = cat_analogies.compose(Space(blinded, lambda z: z), found, attribute, [j])
            assert len(composites) == 8 and composites.isfinite().all()


def test_a_network_never_sees_what_is_held_out(small, tmp_path):
    hold_out = tuple(CATS[k] for k in cat_analogies.folds()[0])
    options = {"source": small.source, "hold_out": hold_out, "copies": "none", "epochs": 1, "latent": 4}
    model, trained_on = trained.network(ReportRun(**options, out=tmp_path / "network", plots=tmp_path))
    assert set(trained_on.hold_out) == set(hold_out)
    assert len(load_file(tmp_path / "network/latents.safetensors")["latents"]) == len(small.names) - 3
    assert not set(data.load(trained_on).originals.names) & set(hold_out)
    assert not set(trained.splits_of(model, trained_on).originals.names) & set(hold_out)


def test_networks_are_kept_and_only_such_as_would_be_trained_now(config, small, tmp_path, capsys):
    held_out = [CATS[k] for k in cat_analogies.folds()[0]]
    spaces = cat_analogies.trained_spaces(config, small, 0, held_out, CPU)
    assert set(spaces) == {"report", "best", "PCA"} and "training" not in capsys.readouterr().out
    for option, other in (("epochs", 2), ("steps", 2), ("precision", "bfloat16")):
        changed = replace(config, **{option: other})
        if option == "precision":
            now = cat_analogies.training_of("best", config, small.source, 0, [], tmp_path).precision
            changed = replace(config, precision="float32" if now == "bfloat16" else "bfloat16")
        with pytest.raises(UserError, match=f"other options .--{option} "):
            cat_analogies.trained_spaces(changed, small, 0, held_out, CPU)


def test_a_network_that_saw_what_should_be_held_out_is_refused(config, small):
    held_out = [CATS[k] for k in cat_analogies.folds()[1]]
    path = next((config.out / "networks").glob(f"report-seed1-without-{held_out[0].replace(' ', '_')}")) / "run.json"
    whole = path.read_text()
    run = json.loads(whole)
    path.write_text(json.dumps(run | {"config": run["config"] | {"hold_out": held_out[1:]}}))
    try:
        with pytest.raises(UserError, match="should be held out"):
            cat_analogies.trained_spaces(config, small, 1, held_out, CPU)
    finally:
        path.write_text(whole)


def test_folds_hold_every_cat_out_once():
    assert sorted(k for group in cat_analogies.folds() for k in group) == list(range(9))


def test_unknown_hold_out_is_an_error(faces):
    with pytest.raises(UserError, match="hold-out.*cheshire cat"):
        data.without(faces, ["cheshire cat"])


def test_a_source_without_cats_names_what_is_missing(faces):
    with pytest.raises(UserError, match="1 emoji.*weary cat face"):
        cat_analogies.find_analogies([name for name in faces.names if name != "weary cat face"])


# ---------------------------------------------------------------- drawn cats


def test_drawn_cats_never_look_at_the_held_out_cat(small):
    found = cat_analogies.find_analogies(small.names)
    images = small.images.clone()
    noise = torch.randint(0, 256, images[0].shape, dtype=torch.uint8, generator=data.generator("noise", 0))
    images[found.cats[3]] = noise
    others = [i for i in range(len(images)) if i != found.cats[3]]
    either = (small, replace(small, images=images))
    spaces = [cat_analogies.drawn_space(originals, found, [3], 16) for originals in either]
    assert torch.equal(spaces[0].latents[others], spaces[1].latents[others])
    assert torch.equal(spaces[0].decode(spaces[0].latents[:2]), spaces[1].decode(spaces[0].latents[:2]))


def test_a_drawn_cat_keeps_the_cats_head_and_takes_the_features(faces):
    found = cat_analogies.find_analogies(faces.names)
    pictures = data.to_float(faces.images)
    cats, humans = pictures[found.cats], pictures[found.humans]
    neutral, frown = (pictures[faces.names.index(name)] for name in ("face without mouth", "frowning face"))
    drawn = drawn_cats.draw_cats(torch.stack([neutral, frown]), cats, humans)
    mouth = (slice(None), slice(44, 58), slice(16, 48))
    assert drawn[1][mouth].amax(0).min() < 0.5 < drawn[0][mouth].amax(0).min()  # dark lines only where a mouth is
    ears = (slice(None), slice(2, 10), slice(2, 14))
    assert (drawn[0][ears] - cats.median(0).values[ears]).abs().mean() < 0.02


def test_drawn_cats_beat_pixel_arithmetic_on_a_held_out_cat(faces):
    found = cat_analogies.find_analogies(faces.names)
    space = cat_analogies.drawn_space(faces, found, [3], 128)
    rows = [row for row, (_, answer) in enumerate(found.pairs) if answer == 3]
    of_one = replace(found, pairs=[found.pairs[row] for row in rows])
    scores = {}
    for name, other in (("drawn", space), ("pixels", arithmetic.pixel_space(faces.images))):
        scores[name] = cat_analogies.score(cat_analogies.compose(other, of_one, "difference"), faces, of_one)["mse"]
    assert len(rows) == 8 and scores["drawn"].mean() < 0.7 * scores["pixels"].mean()


# ---------------------------------------------------------------- the table


def test_what_is_not_random_has_no_spread(faces, everything):
    pools = {
        name: cat_analogies.Pool(originals, cat_analogies.find_analogies(originals.names))
        for name, originals in (("faces", faces), ("all", everything))
    }
    pixels = {"pixels": arithmetic.pixel_space(faces.images)}
    found = pools["faces"].analogies
    composites = cat_analogies.composites_of(cat_analogies.folds(), lambda group: pixels, found)
    rows = {(row["method"], row["pool"]): row for row in cat_analogies.rows([composites], pools, True)}
    pixel, unchanged = rows["pixel arithmetic", "faces"], rows["unchanged target", "faces"]
    assert pixel["top1_mean"] == pytest.approx(0.361, abs=0.001)
    assert pixel["mse_to_truth"] == pytest.approx(0.0691, abs=1e-4)
    assert unchanged["mse_to_truth"] == pytest.approx(0.0598, abs=1e-4)
    assert pixel["top1_std"] is None and pixel["seeds"] == 1


def test_nine_answers_are_nine_values(faces):
    """Seeds and sources are averaged before the interval, which is scipy's over the nine."""
    found = cat_analogies.find_analogies(faces.names)
    random = np.random.default_rng(0)
    seeds = [{name: random.random(72) for name in ("top1", "mrr", "mse")} for _ in range(3)]
    pixels = {name: random.random(72) for name in ("top1", "mrr", "mse")}
    row = cat_analogies.row("any", True, "faces", seeds, pixels, found)
    for name, spare in (("top1", "top1_mean"), ("mrr", "mrr_mean"), ("mse", "mse_to_truth")):
        expected = [
            np.mean([scores[name][k] for scores in seeds for k, (_, j) in enumerate(found.pairs) if j == answer])
            for answer in range(9)
        ]
        ours, minus = row["by_answer"][name], row["minus_pixels"][name]
        assert ours["each"] == pytest.approx(expected) and ours["mean"] == pytest.approx(row[spare])
        theirs = [np.mean([pixels[name][k] for k, (_, j) in enumerate(found.pairs) if j == one]) for one in range(9)]
        assert minus["each"] == pytest.approx(np.subtract(expected, theirs))
        for given in (ours, minus):
            assert given["interval"] == pytest.approx(t_interval(given["each"]))


def t_interval(values: list[float]) -> tuple[float, float]:
    return stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))


def test_the_benchmark_leaves_its_table_and_sheets(config, capsys):
    metrics = analogies.main(config)
    output = capsys.readouterr().out
    assert "training" not in output and "nan" not in output
    rows = {(row["method"], row["held_out"], row["pool"]): row for row in metrics["rows"]}
    assert len(rows) == len(metrics["rows"]) == 4 * len(analogies.METHODS)
    keys = "method held_out pool top1_mean top1_std mrr_mean mse_to_truth seeds by_answer minus_pixels"
    assert metrics["answers"] == CATS
    assert set(metrics["rows"][0]) == set(keys.split())
    for (method, held_out, pool), row in rows.items():
        random = method not in ("unchanged target", "pixel arithmetic", "drawn cats")
        assert (row["top1_std"] is None, row["seeds"]) == ((False, 2) if random else (True, 1))
        assert row["mrr_mean"] >= row["top1_mean"]
        for score in ("top1", "mrr", "mse"):
            each = row["by_answer"][score]["each"]
            assert len(each) == 9 and row["by_answer"][score]["interval"] == pytest.approx(
                t_interval(each), nan_ok=True
            )
            pixels = rows["pixel arithmetic", held_out, pool]["by_answer"][score]["each"]
            assert row["minus_pixels"][score]["each"] == pytest.approx(np.subtract(each, pixels))
    for method in ("original's network", "drawn cats"):  # held out is not seen
        assert rows[method, True, "faces"]["mse_to_truth"] != rows[method, False, "faces"]["mse_to_truth"]
    sheets = {f"analogies_{name}_{answers}.png" for name in analogies.SHOWN for answers in ("seen", "held_out")}
    assert {path.name for path in config.plots.glob("analogies_*.png")} == sheets
