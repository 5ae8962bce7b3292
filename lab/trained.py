"""Trained networks and their folders: trained and saved there, or opened with what they were trained on."""

import json
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import torch

import data
from common import files
from common.errors import UserError
from lab import baselines, classification, networks, presets, records, training
from lab.contract import Autoencoder
from lab.multitask import MultiTaskAutoencoder
from lab.options import Run
from lab.residual import refined_loss

# ---------------------------------------------------------------- training one


def test_errors(trained: presets.Trained, test: data.Part, config: Run, device: torch.device) -> dict[str, float]:
    """Test MSEs of the network, with refined latents if the run asks for them, of PCA and of the mean image."""
    model, loss = trained.model, training.reconstruction_loss
    errors = {"test_mse": training.evaluate(model, test, loss, device)["loss"]}
    if refine_steps := getattr(config, "refine_steps", 0):
        refined = partial(refined_loss, steps=refine_steps)
        errors["refined_mse"] = training.evaluate(model, test, refined, device, gradients=True)["loss"]
    return errors | baselines.errors(trained.pca, test)


def tested(trained: presets.Trained, splits: data.Splits, config: Run, device: torch.device) -> dict[str, dict]:
    """The test errors in every style, the source's first. Prints them."""
    errors = {style: test_errors(trained, test, config, device) for style, test in splits.tests().items()}
    for style, found in errors.items():
        pca = f"PCA, {config.latent} components: {found['pca_mse']:.4f}; mean image: {found['mean_image_mse']:.4f}"
        refined = f"with refined latents: {found['refined_mse']:.4f}" if "refined_mse" in found else ""
        if style == splits.originals.source:
            print(f"Final average test MSE: {found['test_mse']:.4f}")
            print(*filter(None, [refined, pca]), sep="\n")
        else:
            training_has = "never in training" if style == config.hold_out_style else "in training too"
            parts = [f"{style}, a style {training_has}: test MSE {found['test_mse']:.4f}", refined, pca]
            print("; ".join(filter(None, parts)))
    return errors


def train_and_save(
    config: Run, splits: data.Splits, device: torch.device, record: records.Record
) -> tuple[presets.Trained, dict]:
    """Train a network, or go on with it, test it, and save it in `config.out`. Returns it and the run's metrics."""
    print(data.describe(splits))
    before = record.seconds()
    trained = presets.fit(config, splits, device, record)
    train_seconds = record.seconds() - before
    errors = tested(trained, splits, config, device)
    networks.save(trained.model, splits.originals, device, config.out)
    about = ("preset", "network", "split", "augment", "precision", "seed")
    return trained, {
        "source": splits.originals.source,
        **{name: getattr(config, name) for name in about},
        **splits.counts(),
        "leaked": splits.leaked(),
        "skipped": splits.originals.skipped,
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        **errors[splits.originals.source],
        "styles": errors,
        "train_seconds": round(train_seconds, 1),
    }


# ---------------------------------------------------------------- opening one


def network(config: Run) -> tuple[Autoencoder, data.DataConfig]:
    """The network in `config.out` and what it was trained on. If it is not there, it is trained as `config` says.

    A training that was stopped is gone on with. Nothing is drawn. Raises UserError for a network that was trained on
    another source, for a folder that does not say on which, and as `networks.load`.
    """
    folder = config.out
    if not folder.exists() or records.unfinished(folder):
        print(f"no trained network in {folder}: training Part 1 first, which takes a minute or two")
        device = training.choose_device(config.device)
        config = replace(config, resume=folder.exists())
        config = presets.settled(config, device, records.resumed_config(config))
        splits = data.load(config)
        with records.recording(config, splits.originals, device) as record:
            record.finish(train_and_save(config, splits, device, record)[1])
    model, trained_on = networks.load(folder, own=config.network), data_config(folder)
    if trained_on.source != config.source:
        where = f"the network in {folder} was trained on {records.source_label(trained_on.source)}"
        raise UserError(f"{where}, not {config.source}; give another --model or --source")
    return model, trained_on


def data_config(folder: Path) -> data.DataConfig:
    """The data that the network in `folder` was trained on, its source resolved. Raises UserError."""
    return options(folder, data.DataConfig)


def options(folder: Path, *kinds: type[data.DataConfig]) -> data.DataConfig:
    """What decided the run in `folder`, as one of the dataclasses, its source resolved; of several, its preset's.

    What decides no result, such as the device, is as the dataclass has it. Raises UserError.
    """
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        kind = kinds[0] if len(kinds) == 1 else {kind.preset: kind for kind in kinds}[run["config"]["preset"]]
        decisive = [field for field in fields(kind) if field.name not in records.IRRELEVANT - {"source"}]
        content = {field.name: run["config"][field.name] for field in decisive}
        if not files.fits(content, {field.name: field.type for field in decisive}):
            raise ValueError("its config is none of this project")
        label = run["source"]
        if not isinstance(label, str):
            raise ValueError("its source is no text")
        content |= {"source": "hub" if label == records.source_label("hub") else label}
        return kind(**content | {name: tuple(content[name]) for name in ("hold_out", "also")})
    except (OSError, ValueError, KeyError, TypeError, RecursionError, UserError) as error:
        says_not = f"{folder}/run.json does not say what the network was trained on"
        raise UserError(f"{says_not} ({error}); train it again") from None


def recorded_source(folder: Path) -> str | None:
    """The source of the network in `folder`, as it was resolved when that was trained; None if there is no network.

    Whoever goes by it need not ask the Hub again. Raises UserError as `data_config`.
    """
    return data_config(folder).source if (folder / "run.json").exists() else None


def beside(folder: Path, config: Run, originals: data.Originals) -> tuple[Autoencoder, dict]:
    """The network in `folder`, to show beside that of `config`, and its metrics: both are tested on the same images.

    `originals` are what `config` took. Raises UserError for a network of other data, for an unfinished run, and as
    `networks.load`.
    """
    model, there = networks.load(folder, own=config.network), data_config(folder)
    training_alone = {"also", "hold_out_style"}  # the test images are the same with them and without
    asked = {f.name: getattr(config, f.name) for f in fields(data.DataConfig) if f.name not in training_alone}
    asked |= {"source": originals.source, "keyword": originals.keyword}
    other = [
        f"--{name.replace('_', '-')} {getattr(there, name)}, not {value}"
        for name, value in asked.items()
        if getattr(there, name) != value
    ]
    if isinstance(model, MultiTaskAutoencoder):
        other.append("happy and sad emoji alone")
    if other:
        remedy = "only networks of the same training and test emoji are shown side by side"
        raise UserError(f"--beside {folder} was trained on other data ({', '.join(other)}); {remedy}")
    metrics = files.read_json(folder / "metrics.json", f"--beside takes a finished run; train {folder} again")
    kinds = {"preset": str, "network": str, "test_mse": float}
    if not files.fits({name: metrics.get(name) for name in kinds}, kinds):
        raise UserError(f"{folder}/metrics.json does not say its network's error; train it again")
    return model, metrics


def splits_of(model: Autoencoder, config: data.DataConfig) -> data.Splits:
    """The parts of the data on which a network was trained, validated and tested. Raises UserError."""
    try:
        originals = data.without(data.gather(config), config.hold_out)
    except UserError as error:
        reason = str(error).partition(";")[0]
        raise UserError(f"{reason}: the network was trained on that; mend it, or give another --model") from None
    if isinstance(model, MultiTaskAutoencoder):
        originals, _ = classification.classify(originals)
    return data.split(originals, config)
