"""Every mistake a user can make: one line, exit status 2, nothing overwritten."""

import pytest
import torch

import analogies
import autoencoder
import bench
import composite
import data
import multiTaskModel
from conftest import TEXTS, assert_one_line, configurations, write_parquet
from lab.arithmetic import COUNTERPARTS
from lab.options import LARGEST_LATENT
from studies import cat_analogies

SMALL = ("--source", "twemoji", "--keyword", "cat face", "--copies", "1")
TINY = (*SMALL, "--epochs", "1")
HUGE = "1" + "0" * 30
CATS = [*COUNTERPARTS, "cat face"]

# ---------------------------------------------------------------- options: arguments, and what the line says

BEST = "the best preset of autoencoder.py"
OPTIONS = {
    data: [
        (["--source", "nowhere"], "nowhere is not there"),
        (["--plots", "text.txt"], "text.txt cannot be written"),
        (["--source", "twemoji", "--also", "twemoji"], "twemoji is named twice"),
        (["--source", "twemoji", "--hold-out-style", "twemoji"], "twemoji is named twice"),
        (["--source", "twemoji", "--also", "nowhere"], "nowhere is not there"),
        (["--epochs", "3"], "--epochs"),
        (["surplus"], "surplus"),
    ],
    autoencoder: [
        (["--epoch", "3"], "--epoch"),
        (["--epochs"], "--epochs"),
        (["--epochs", ""], "--epochs"),
        (["--epochs", "many"], "--epochs"),
        (["--epochs", "1e3"], "--epochs"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--batch-size", "-5"], "--batch-size is -5"),
        (["--copies", "0"], "--copies is 0"),
        (["--copies", "-1"], "--copies is -1"),
        (["--copies", "1.5"], "--copies"),
        (["--copies", str(10**9)], "--copies 1000000000 needs 1"),
        (["--copies", HUGE, "--split", "emoji"], f"--copies {HUGE} needs"),
        (["--latent", "-1"], "--latent is -1"),
        (["--latent", "nan"], "--help lists every option"),
        (["--latent", str(10**9)], "--latent is 1000000000; it must be at most 4096"),
        (["--latent", HUGE], f"--latent is {HUGE}; it must be at most 4096"),
        (["--steps", "5"], "--steps, 5, an option of --preset best; --preset report --help lists its own"),
        (["--mixing=1"], ", an option of --preset best"),
        (["--dropout", "1"], "--dropout is 1"),
        (["--dropout", "nan"], "--dropout is nan"),
        (["--dropout", "-0.1"], "--dropout is -0.1"),
        (["--learning-rate", "nan"], "--learning-rate is nan"),
        (["--learning-rate", "inf"], "--learning-rate is inf"),
        (["--weight-decay", "-1"], "--weight-decay is -1"),
        (["--seed", "-1"], "--seed is -1"),
        (["--seed", "one"], "--seed"),
        (["--augment", "strong"], "augment"),
        (["--split", "random"], "split"),
        (["--preset", "worst"], "--preset worst is unknown; it takes report or best"),
        (["--preset"], "--preset"),
        (["--precision", "float16"], "precision"),
        (["--initialization", "zeros"], "initialization"),
        (["--skip-bad", "yes"], "yes"),
        (["--keyword", "zebra crossing"], "no emoji of twemoji matches --keyword 'zebra crossing'"),
        (["--keyword", "\x1b[2J\n"], "matches --keyword '\\x1b[2J\\n'"),
        (["--keyword", "\udcff"], "matches --keyword '\\udcff'"),
        (["--keyword", "-"], "--keyword '-' has no letter"),
        (["--keyword", "pouting cat"], "only 1 distinct names"),
        (["--hold-out", "cheshire cat"], "--hold-out 'cheshire cat' is not among the 10 emoji"),
        (["--hold-out", ""], "--hold-out '' is not among"),
        (["--hold-out", *CATS[:6]], "only 4 distinct names"),
        (["--hold-out", *CATS], "only 0 distinct names"),
        (["--device", ""], "--device is not on this machine"),
        (["--device", "cuda"], "--device cuda"),
        (["--device", "abacus"], "--device abacus"),
        (["--device", "cpu:x"], "--device cpu:x"),
        (["--source", ""], "--source is empty"),
        (["--source", "hub"], "out of reach"),
        (["--source", "nowhere.parquet"], "nowhere.parquet is not there"),
        (["--source", "text.txt"], "not a parquet file"),
        (["--source", "~nobody-has-this-name/pictures"], "~nobody-has-this-name/pictures cannot be read"),
        (["--source", "a" * 5000], "aaa'); give a .parquet file with rows"),
        (["--source", "itself"], "itself is not there"),
        (["--out", "text.txt"], "text.txt cannot be written"),
        (["--out", "text.txt/run"], "text.txt/run cannot be written"),
        (["--out", "itself"], "itself cannot be written"),
        (["--out", "a" * 300], "cannot be written (File name too long)"),
        (["--plots", "text.txt"], "text.txt cannot be written"),
    ],
    BEST: [
        (["--epochs", "5"], "--epochs, 5, an option of --preset report; --preset best --help lists its own"),
        (["--epoch", "5"], "--epoch"),
        (["--latent", "2048"], "--latent is 2048; it must be below --pca-images, 2048"),
        (["--pca-images", "1"], "--pca-images is 1"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--steps", "0"], "--steps is 0"),
        (["--seconds", "0.5"], "--seconds is 0.5"),
        (["--seconds", "nan"], "--seconds is nan"),
        (["--steps", "3", "--seconds", "3"], "--steps and --seconds are two budgets; give one of them"),
        (["--muon-learning-rate", "nan"], "--muon-learning-rate is nan"),
        (["--mixing", "1.5"], "--mixing is 1.5; it must be at most 1"),
        (["--shift", "-0.1"], "--shift is -0.1"),
        (["--other-pictures", "2"], "--other-pictures is 2"),
        (["--refine-steps", "-1"], "--refine-steps is -1"),
        (["--train-on", "some"], "train-on"),
        (["--precision", "float16"], "precision"),
    ],
    multiTaskModel: [
        (["--seeds", "0"], "--seeds is 0"),
        (["--fold-seeds", "0"], "--fold-seeds is 0"),
        (["--classification-weight", "nan"], "--classification-weight is nan"),
        (["--classification-weight", "inf"], "--classification-weight is inf"),
        (["--latent", "5000"], "--latent is 5000"),
        (["--seed", "-3", "--split", "emoji"], "--seed is -3"),
        (["--copies", str(10**9)], "--copies 1000000000 needs"),
        (["--copies", str(10**9), "--split", "emoji"], "--copies 1000000000 needs"),
        (["--hold-out", "cheshire cat"], "--hold-out 'cheshire cat' is not among"),
        (["--hold-out", "crying face", "--compare"], "class sad has 4 emoji"),
        (["--source", "twemoji", "--also", "auto"], "auto is no style"),
        (["--out", "text.txt"], "text.txt cannot be written"),
    ],
    composite: [
        (["--target", ""], "'' matches no emoji"),
        (["--target", "\n"], "'\\n' matches no emoji"),
        (["--featured", "x" * 10**5], "matches no emoji; did you mean another keyword?"),
        (["--baseline", "face"], "'face' may mean 171 emoji"),
        (["--truth", "a cat that is not there"], "matches no emoji"),
        (["--strength", "inf"], "--strength is inf"),
        (["--strength", "1e30"], "--strength is 1e+30"),
        (["--strength", "strong"], "--strength"),
        (["--method", "magic"], "method"),
        (["--latent", "4"], "Unrecognized options: --latent, 4; --help lists every option"),
        (["--model", "text.txt"], "text.txt holds no model.safetensors"),
        (["--model", "empty"], "empty holds no model.safetensors"),
        (["--out", "text.txt"], "text.txt cannot be written"),
    ],
    analogies: [
        (["--seeds", "1"], "--seeds is 1"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--latent", "0"], "--latent is 0"),
        (["--latent", "5000"], "--latent is 5000"),
        (["--source", "strange.parquet"], "needs 18 emoji that this source has not"),
        (["--out", "text.txt"], "text.txt cannot be written"),
    ],
    bench: [
        (["--seeds", "0"], "--seeds is 0"),
        (["--repeats", "0"], "--repeats is 0"),
        (["--steps", "few"], "--steps"),
        (["--budgets"], "--budgets is 0"),
        (["--budgets", "5", "nan"], "--budgets is nan"),
        (["--budgets", "-5"], "--budgets"),
        (["--out", "text.txt"], "text.txt cannot be written"),
        (["--plots", "text.txt"], "text.txt cannot be written"),
    ],
}


ALWAYS = {autoencoder: TINY, BEST: (*SMALL, "--preset", "best"), bench: ()}
CASES = [(script, *case) for script, cases in OPTIONS.items() for case in cases]


@pytest.mark.skipif(torch.cuda.is_available(), reason="one of them asks for a device that is not there")
@pytest.mark.parametrize("script, arguments, message", CASES)
def test_options(command, earlier_records, picture, script, arguments, message):
    write_parquet("strange.parquet", image=[picture] * 6, text=TEXTS)
    always = ALWAYS.get(script, ("--source", "twemoji"))
    assert_one_line(command(autoencoder if script is BEST else script, *always, *arguments), message)


# ---------------------------------------------------------------- what is legal, and what happens later


def test_large_but_legal(command):
    status, _, error = command(
        autoencoder, *TINY, "--latent", "4", "--copies", "none", "--batch-size", HUGE, "--seed", HUGE
    )
    assert status == 0, error


def test_more_numbers_than_pictures_are_finite(faces):
    found = cat_analogies.find_analogies(faces.names)
    space = cat_analogies.drawn_space(faces, found, [], LARGEST_LATENT)
    assert space.latents.isfinite().all() and space.decode(space.latents[:2]).isfinite().all()


@pytest.mark.parametrize("script", [script for script in OPTIONS if script is not BEST])
def test_help_is_no_error(command, script):
    for config in configurations(script):
        preset = ("--preset", config.preset) if len(configurations(script)) > 1 else ()
        status, output, error = command(script, *preset, "--help")
        assert status == 0 and config.__doc__.split(",")[0].strip(".") in " ".join(output.split()) and not error


def test_loss_that_is_not_finite_stops_the_run(command):
    status, _, error = command(autoencoder, *TINY, "--learning-rate", "1e30", "--epochs", "3")
    assert status == 2 and "the loss became" in error
