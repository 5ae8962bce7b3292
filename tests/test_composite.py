"""Part 3: arithmetic, ranks, names and the two scripts."""

import json
import os
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

import analogies
import arithmetic
import autoencoder
import best
import composite
import data
import names
import twins
from arithmetic import Space
from cli import UserError

pytestmark = pytest.mark.usefixtures("decoded_once")

# ---------------------------------------------------------------- arithmetic


@pytest.fixture
def identity():
    """A space in which pictures are their own latents, and nothing is clipped."""
    latents = torch.rand(6, 3 * 4 * 4, generator=data.generator("identity", 0))
    return Space(latents, lambda z: z.unflatten(1, (3, 4, 4)))


def test_difference_is_target_plus_featured_minus_baseline(identity):
    z = identity.latents
    attribute = arithmetic.ATTRIBUTES["difference"](z, 0, 1, 2, [])
    assert torch.allclose(identity.decode((z[0] + attribute)[None])[0].flatten(), z[0] + z[2] - z[1])


def test_every_attribute_is_exact_where_cats_are_humans_plus_a_constant():
    generator = data.generator("humans", 0)
    humans = torch.rand(9, 3, generator=generator) @ torch.rand(3, 40, generator=generator)  # eight pairs span them all
    z = torch.cat([humans + 3, humans])  # cat k is row k, its twin row 9 + k
    known = [(k, 9 + k) for k in range(9) if k != 5]
    for name in ("difference", "mean"):
        assert torch.allclose(z[0] + arithmetic.ATTRIBUTES[name](z, 0, 9, 14, known), z[5], atol=1e-5)
    # the map shrinks towards the mean cat, but must get nearer to the answer than that is
    mapped = z[0] + arithmetic.ATTRIBUTES["map"](z, 0, 9, 14, known)
    assert (z[5] - mapped).norm() < 0.7 * (z[5] - z[:9].mean(0)).norm()


def test_isolated_difference_has_no_part_along_other_attributes():
    z = torch.rand(8, 20, generator=data.generator("isolated", 0))
    known = [(0, 4), (1, 5), (2, 6)]
    attribute = arithmetic.ATTRIBUTES["isolated"](z, 0, 7, 3, known)
    for human in (4, 5, 6):
        assert abs(float((z[human] - z[7]) @ attribute)) < 1e-4
    assert attribute.norm() > 0.1


def test_known_pairs_never_hold_the_answer(monkeypatch, faces):
    found = analogies.find_analogies(faces.names)
    looked_at = []

    def spy(z, target, baseline, featured, known):
        looked_at.append({cat for cat, _ in known})
        return z[0] * 0

    monkeypatch.setitem(arithmetic.ATTRIBUTES, "spy", spy)
    analogies.compose(arithmetic.pixel_space(faces.images), found, "spy")
    assert len(looked_at) == 72
    assert all(answer not in cats and len(cats) == 8 for answer, cats in zip(found.answers(), looked_at))


# ---------------------------------------------------------------- scores


def test_errors_are_mean_squares():
    pictures, pool = torch.rand(3, 3, 8, 8), torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    expected = torch.stack([(data.to_float(pool) - picture).square().mean((1, 2, 3)) for picture in pictures])
    assert torch.allclose(arithmetic.squared_errors(pictures, pool), expected, atol=1e-6)


def test_ranks_count_ties_against_us_and_leave_sources_out():
    errors = torch.tensor([[0.1, 0.1, 0.3, 0.05, 0.1], [0.0, 0.0, 0.0, 0.0, 0.0], [0.4, 0.3, 0.2, 0.1, 0.0]])
    # truth 0 ties with 1 and 4 and loses to 3; then 3 and 4 are left out
    assert arithmetic.ranks(errors[:1], [0], [[]]) == [4]
    assert arithmetic.ranks(errors[:1], [0], [[3, 4]]) == [2]
    assert arithmetic.ranks(errors[1:], [2, 4], [[0], [4]]) == [4, 1]


def test_identical_pictures_tie_with_the_truth():
    pool = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8).repeat(2, 1, 1, 1)
    errors = arithmetic.squared_errors(data.to_float(pool[:1]), pool)
    assert arithmetic.ranks(errors, [0], [[]]) == [2]


def test_similarity_is_perfect_for_the_truth_and_local_in_the_region(faces):
    picture = data.to_float(faces.images[0])
    region = torch.zeros(64, 64, dtype=torch.bool)
    region[:32] = True
    perfect = arithmetic.similarity(picture, picture, region)
    assert perfect["mse_to_truth"] == 0 and perfect["ssim_to_truth"] == pytest.approx(1, abs=1e-4)
    spoiled = picture.clone()
    spoiled[:, 50:] = 1 - spoiled[:, 50:]
    outside = arithmetic.similarity(spoiled, picture, region)
    assert outside["mse_in_region"] == 0 < outside["mse_to_truth"] and outside["ssim_to_truth"] < 1


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    "query, expected",
    [
        ("grinning face", "grinning face"),  # exact, though other names contain it
        ("Smiling Face With HEART-SHAPED eyes", "smiling face with heart shaped eyes"),
        ("😍", "smiling face with heart shaped eyes"),
        ("☹️", "frowning face"),
        ("star eyes", "grinning face with star eyes"),  # the only name that contains it
    ],
)
def test_names_in_any_spelling_or_as_a_character(faces, query, expected):
    assert faces.names[names.find(faces.names, query)] == expected


def test_skin_tones_of_a_character(faces):
    plain, light, dark = (names.find(faces.names, query) for query in ("🙎", "🙎🏻", "🙎🏿"))
    assert plain == names.find(faces.names, "person with pouting face") == light - 1 == dark - 5


@pytest.mark.parametrize("query, nearest", [("grining face", "grinning face"), ("cat face with", "cat face with tears of joy"), ("🚂", "steam|face"), ("", "did you mean")])
def test_unclear_names_list_the_nearest(faces, query, nearest):
    with pytest.raises(UserError, match=f"did you mean.*({nearest})|{nearest}"):
        names.find(faces.names, query)


# ---------------------------------------------------------------- the scripts


PART1 = dict(source="twemoji", copies=1, epochs=1, latent=4)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    autoencoder.main(autoencoder.Config(**PART1, keyword="cat face", out=folder, plots=folder))
    return folder


def test_main_scores_beside_answers_without_a_network(network, tmp_path):
    metrics = composite.main(composite.Config(source="twemoji", model=network, latent=4, out=tmp_path / "run", plots=tmp_path / "plots"))
    assert metrics["truth"] == "smiling cat face with heart shaped eyes" and metrics["truth_in_training"] in (True, False)
    for answer in (metrics, metrics["unchanged_target"], metrics["pixel_arithmetic"], metrics["pca_arithmetic"]):
        assert answer["mse_to_truth"] > 0 and answer["ssim_to_truth"] < 1 and 1 <= answer["rank_of_truth"] <= 3778
    assert metrics["unchanged_target"]["mse_to_truth"] == pytest.approx(0.0405, abs=1e-4)
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == metrics
    assert len(list((tmp_path / "plots").glob("composite_*.png"))) == 3


@pytest.mark.parametrize("method", ["mean", "isolated", "map"])
def test_other_methods_and_no_truth(network, tmp_path, method):
    config = composite.Config(source="twemoji", target="dog face", featured="😍", method=method, model=network, latent=4, out=tmp_path, plots=tmp_path)
    metrics = composite.main(config)
    assert metrics["truth"] is None and "mse_to_truth" not in metrics


def test_strength_0_is_the_reconstruction_of_the_target(network):
    model = autoencoder.load(network)
    images = data.load_originals("twemoji", "cat face").images[:3]
    space = Space(autoencoder.encode_all(model, images, torch.device("cpu")), lambda z: autoencoder.decode_all(model, z, torch.device("cpu")))
    z = space.latents
    shifted = z[0] + 0.0 * arithmetic.difference(z, 0, 1, 2, [])
    assert torch.equal(space.decode(shifted[None]), space.decode(z[:1]))


def test_missing_network_trains_part_1_first(command, tmp_path, monkeypatch):
    trained = []

    def quick(config):
        trained.append(config.out)
        return main(autoencoder.Config(**PART1, keyword="cat face", out=config.out))

    main = autoencoder.main
    monkeypatch.setattr(autoencoder, "main", quick)
    status, output, error = command(composite, "--source", "twemoji", "--latent", "4")
    assert status == 0, error
    assert "training Part 1 first" in output and len(trained) == 1


def spoil(folder, file: str, content) -> None:
    path = folder / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def without_weights(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")  # a pickle's name must not be tried


def truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def foreign(folder):
    save_file({"weight": torch.zeros(3)}, folder / "model.safetensors")


def not_finite(folder):
    weights = load_file(folder / "model.safetensors")
    weights["encoder.0.weight"][0] = float("nan")
    save_file(weights, folder / "model.safetensors")


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def pickled(folder):
    torch.save(Trap(), folder / "model.safetensors")


@pytest.mark.parametrize(
    "damage, arguments, message",
    [
        (None, ["--target", "grining face"], "did you mean grinning face"),
        (None, ["--featured", "cat face with"], "matches 6 emoji; did you mean cat face with tears of joy, cat face with wry smile"),
        (None, ["--strength", "nan"], "--strength is nan"),
        (None, ["--latent", "8"], "has a latent of 4, not 8"),
        (lambda folder: spoil(folder, "run.json", (folder / "run.json").read_text().replace('"source": "twemoji"', '"source": "hub"')), [], "was trained on hub"),
        (lambda folder: spoil(folder, "run.json", "{}"), [], "does not say what"),
        (lambda folder: spoil(folder, "config.json", '{"latent": 10000000000, "dropout": 0.2, "initialization": "he"}'), [], "config.json is no model's of this project"),
        (lambda folder: spoil(folder, "config.json", "no JSON"), [], "cannot be used"),
        (without_weights, [], "holds no model.safetensors"),
        (truncated, [], "cannot be used"),
        (foreign, [], "cannot be used"),
        (not_finite, [], "not finite"),
        (pickled, [], "cannot be used"),
    ],
)
def test_bad_input(command, network, tmp_path, damage, arguments, message):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in network.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    if damage:
        damage(folder)
    status, _, error = command(composite, "--source", "twemoji", "--model", folder, "--latent", "4", *arguments)
    assert status == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "sprung").exists() and not list(tmp_path.glob("runs/composite/*.json"))


def test_held_out_names_never_reach_training(tmp_path, faces, monkeypatch):
    monkeypatch.setattr(best, "PCA_IMAGES", 256)
    config = analogies.Config(source="twemoji", epochs=1, steps=1, latent=4, out=tmp_path)
    assert sorted(k for group in analogies.folds() for k in group) == list(range(9))
    held_out = [list(arithmetic.TWINS)[k] for k in analogies.folds()[0]]
    spaces = analogies.trained_spaces(config, faces, 0, held_out, torch.device("cpu"))
    assert set(spaces) == {"report", "best", "PCA", "pixels"}
    folder = next((tmp_path / "networks").glob("report-*"))
    run = json.loads((folder / "run.json").read_text())
    assert set(run["config"]["hold_out"]) == set(held_out)
    splits = data.load(data.DataConfig(source="twemoji", hold_out=tuple(held_out)))
    assert not {splits.originals.names[i] for part in (splits.train, splits.val, splits.test) for i in part.emoji} & set(held_out)
    with pytest.raises(UserError, match="other options .--epochs 1, not 2"):
        analogies.trained_spaces(replace(config, epochs=2), faces, 0, held_out, torch.device("cpu"))
    # a network that saw them is refused
    (folder / "run.json").write_text((folder / "run.json").read_text().replace(f'"{held_out[0]}",', ""))
    with pytest.raises(UserError, match="should be held out"):
        analogies.trained_spaces(config, faces, 0, held_out, torch.device("cpu"))


def test_drawn_twins_never_look_at_the_held_out_cat(faces):
    found = analogies.find_analogies(faces.names)
    images = faces.images.clone()
    images[found.cats[3]] = torch.randint(0, 256, images[0].shape, dtype=torch.uint8, generator=data.generator("noise", 0))
    others = [i for i in range(len(images)) if i != found.cats[3]]
    spaces = [analogies.drawn_space(originals, found, [3], 16) for originals in (faces, replace(faces, images=images))]
    assert torch.equal(spaces[0].latents[others], spaces[1].latents[others])
    assert torch.equal(spaces[0].decode(spaces[0].latents[:2]), spaces[1].decode(spaces[0].latents[:2]))


def test_a_drawn_twin_keeps_the_cats_head_and_takes_the_features(faces):
    found = analogies.find_analogies(faces.names)
    pictures = data.to_float(faces.images)
    cats, humans = pictures[found.cats], pictures[found.humans]
    neutral, frown = (pictures[faces.names.index(name)] for name in ("face without mouth", "frowning face"))
    drawn = twins.draw_twins(torch.stack([neutral, frown]), cats, humans)
    mouth = (slice(None), slice(44, 58), slice(16, 48))
    assert drawn[1][mouth].amax(0).min() < 0.5 < drawn[0][mouth].amax(0).min()  # dark lines only where there is a mouth
    ears = (slice(None), slice(2, 10), slice(2, 14))
    assert (drawn[0][ears] - cats.median(0).values[ears]).abs().mean() < 0.02


def test_unknown_hold_out_is_an_error(faces):
    with pytest.raises(UserError, match="hold-out.*cheshire cat"):
        data.without(faces, ["cheshire cat"])


def test_a_source_without_cats_names_what_is_missing(faces):
    with pytest.raises(UserError, match="1 emoji.*weary cat face"):
        analogies.find_analogies([name for name in faces.names if name != "weary cat face"])


def test_drawn_twins_beat_pixel_arithmetic_on_held_out_cats(faces):
    found = analogies.find_analogies(faces.names)
    composites = [analogies.compose(analogies.drawn_space(faces, found, [j], 128), found, "difference", [j]) for j in range(9)]
    order = [row for j in range(9) for row, (_, answer) in enumerate(found.pairs) if answer == j]
    pictures = torch.cat(composites)[torch.tensor(order).argsort()]
    ranks, mse = analogies.score(pictures, faces, found)
    assert sum(rank == 1 for rank in ranks) >= 45 and mse < 0.04


def test_benchmark_on_tiny_networks(tmp_path, monkeypatch):
    for name in ("learning_curves", "reconstructions"):  # of 16 networks; looked at elsewhere
        monkeypatch.setattr(autoencoder.figures, name, lambda *drawn: "none")
    monkeypatch.setattr(autoencoder, "Config", partial(autoencoder.Config, copies="none"))  # a quarter of the time
    monkeypatch.setattr(best, "PCA_IMAGES", 256)
    config = analogies.Config(source="twemoji", seeds=2, epochs=1, steps=1, latent=4, out=tmp_path, plots=tmp_path)
    metrics = analogies.main(config)
    rows = {(row["method"], row["held_out"], row["pool"]): row for row in metrics["rows"]}
    assert len(rows) == len(metrics["rows"]) == 4 * len(analogies.METHODS)
    assert set(metrics["rows"][0]) == {"method", "held_out", "pool", "top1_mean", "top1_std", "mrr_mean", "mse_to_truth", "seeds"}
    pixel = rows["pixel arithmetic", True, "faces"]
    assert pixel["top1_mean"] == pytest.approx(0.361, abs=0.001) and pixel["mse_to_truth"] == pytest.approx(0.0691, abs=1e-4)
    assert pixel == {**rows["pixel arithmetic", False, "faces"], "held_out": True}
    assert rows["drawn twins", True, "faces"]["top1_std"] == 0  # nothing in it is random
    assert rows["unchanged target", True, "faces"]["mse_to_truth"] == pytest.approx(0.0598, abs=1e-4)
    for pool in ("faces", "all"):
        assert all(rows[method, True, pool]["mrr_mean"] >= rows[method, True, pool]["top1_mean"] for method, _, _ in analogies.METHODS)
    assert len(list(tmp_path.glob("analogies_*.png"))) == 2
