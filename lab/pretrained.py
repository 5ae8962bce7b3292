"""Finished runs and the networks that come with the repository: opened, tested again, shown beside another."""

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path

from lab import networks, runs
from lab.cli import UserError
from lab.classes import MultiTaskAutoencoder
from lab.networks import Autoencoder
from lab.options import DataOptions, TrainingRun, resolve_defaults
from lab.pictures import Pictures

FOLDER = Path("pretrained")
WITH_EVALUATE = {"evaluate", "preset", "network", "device", "source"}  # options that may be given with --evaluate


@dataclass(frozen=True)
class Network:
    """A network in pretrained/, and the finished run that it is taken from."""

    title: str
    command: str  # that trains it
    run: Path  # where this leaves it
    limitations: str


NETWORKS = {
    "coursework": Network(
        "Coursework's network", "python autoencoder.py", Path("runs/autoencoder"),
        "Its reconstructions are blurred, and worse than those of a PCA with 128 components. Copies of its test "
        "pictures were in training, so its test error says nothing about emoji it has not seen.",
    ),
    "best": Network(
        "Best preset",
        "python autoencoder.py --also openmoji noto --preset best --split unseen --out runs/best-styles "
        "--plots runs/best-styles",
        Path("runs/best-styles"),
        "It is for faces at 64x64 pixels on white. Latent arithmetic makes no better composites in its latent, which "
        "is nearly linear in the pixels. Photographs come out as smears.",
    ),
    "multitask": Network(
        "Happy or sad", "python multiTaskModel.py", Path("runs/multitask"),
        "It knows 18 happy and 5 sad emoji of one style and nothing else: every picture gets one of two answers, often "
        "a confident and wrong one. Copies of its test pictures were in training. It says nothing about people.",
    ),
}  # fmt: skip


def load(name: str) -> Autoencoder:
    """A network of NETWORKS. Raises UserError, with the commands that make it, if it is missing."""
    folder = FOLDER / name
    if not (folder / networks.WEIGHTS).is_file():
        made = f"`{NETWORKS[name].command}`, then `python -m studies.publish {name}`"
        raise UserError(f"{folder} is not there yet; make it with {made}")
    return networks.load(folder)


def recorded_options(folder: Path, kind: type = DataOptions) -> DataOptions:
    """The options of the run in `folder` that decide its result, as a dataclass `kind`. Raises UserError."""
    run = runs.read_run(folder)
    try:
        if run is None:
            raise ValueError("there is none")
        names = {field.name for field in fields(kind)} - runs.IRRELEVANT
        options = {name: value for name, value in run["config"].items() if name in names}
        options |= {name: tuple(options[name]) for name in ("hold_out", "also")}
        options["source"] = run["source"]
        return kind(**options, **({"out": folder} if issubclass(kind, TrainingRun) else {}))
    except (KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(f"{folder}/{runs.RUN} does not say how the network was trained ({error})") from None


def reopen(config: TrainingRun) -> tuple[Autoencoder, TrainingRun]:
    """The network of the finished run in `config.evaluate`, and its options. Raises UserError for other options."""
    given = [field.name for field in fields(config) if field.name not in WITH_EVALUATE]
    given = [name for name in given if getattr(config, name) != getattr(type(config), name)]
    if given:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"--evaluate takes all options from the record in {config.evaluate}; leave {names} out")
    model = networks.load(config.evaluate, config.network)
    options = resolve_defaults(recorded_options(config.evaluate, type(config)))
    moved = config.source != type(config).source
    return model, replace(options, source=config.source) if moved else options


def compare_pictures(folder: Path, pictures: Pictures) -> None:
    """Say so in one line if the run in `folder` was made with other pictures, as far as it has them on record."""
    run = runs.read_run(folder) or {}
    if run.get("pictures", pictures.digest if run.get("source") == pictures.source else None) != pictures.digest:
        print(f"note: the network in {folder} was trained on other pictures than {pictures.source} has now")


def compare(folder: Path, numbers: dict[str, float], pictures: Pictures) -> dict[str, float]:
    """Print test numbers on `pictures` next to those on record in `folder`, and whether it had other pictures.
    Returns the numbers. Raises UserError for an unfinished run."""
    compare_pictures(folder, pictures)
    record = runs.read_json(folder / runs.METRICS, f"--evaluate takes a finished run; train {folder} again")
    for name, value in numbers.items():
        there = record.get(name)
        known = isinstance(there, (int, float)) and math.isfinite(there)
        print(f"{name.replace('_', ' '):26} {value:.4f}, on record {f'{there:.4f}' if known else 'no number'}")
    return numbers


def load_reference(folder: Path, config: TrainingRun, pictures: Pictures) -> tuple[Autoencoder, dict]:
    """The network in `folder` and its metrics, to show beside that of `config`: tested on the same images.
    Raises UserError for a network of other data or an unfinished run."""
    model, there = networks.load(folder, config.network), recorded_options(folder)
    training_only = {"also", "hold_out_style"}  # the test images are the same with them and without
    asked = {field.name: getattr(config, field.name) for field in fields(DataOptions)}
    asked |= {"keyword": pictures.keyword}
    other = [f"--{name.replace('_', '-')} {getattr(there, name)}, not {value}" for name, value in asked.items()
             if name not in training_only and getattr(there, name) != value]  # fmt: skip
    if isinstance(model, MultiTaskAutoencoder):
        other.append("happy and sad emoji alone")
    if other:
        raise UserError(f"--reference {folder} was trained on other data ({', '.join(other)}); give one of the same")
    metrics = runs.read_json(folder / runs.METRICS, f"--reference takes a finished run; train {folder} again")
    return model, metrics
