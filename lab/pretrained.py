"""The user's own networks, and trained ones: those of finished runs and of the repository."""

import hashlib
import importlib.util
import itertools
import sys
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lab import networks, runs, training
from lab.cli import OWN_FILES, UserError, explain
from lab.classes import MultiTaskAutoencoder
from lab.networks import Autoencoder, decode_all, encode_all
from lab.options import DataOptions, RunOptions, resolve_defaults
from lab.pictures import SIZE, Part, Pictures
from lab.sources import resolve_source

PROJECT = Path(__file__).parents[1]
TITLES = {"coursework": "Coursework's network", "best": "Best preset", "multitask": "Happy or sad"}  # in pretrained/
WITH_EVALUATE = {"evaluate", "preset", "network", "device", "source"}  # options that may be given with --evaluate


def folder_of(name: str) -> Path:
    """The folder of a network in pretrained/, from the working folder if that is the project's: it goes on record."""
    return (Path() if PROJECT == Path.cwd() else PROJECT) / "pretrained" / name


def load(name: str) -> Autoencoder:
    """A network in pretrained/. Raises UserError if it is missing."""
    return networks.load(folder_of(name))


@cache  # a file that is edited while a run lasts does not change the run
def import_own(name: str) -> type[Autoencoder]:
    """The class in the user's `file.py:Class`. Raises UserError, or what the file raises."""
    file, _, class_name = name.rpartition(":")
    if not file.endswith(".py") or not Path(file).is_file():
        choices = f"{', '.join(networks.ARCHITECTURES)}, or my_file.py:MyClass"
        raise UserError(f"--network {name} is unknown, or its file is not there; it takes {choices}")
    path = Path(file).resolve()
    specification = importlib.util.spec_from_file_location(f"own_{path.stem}", path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # where dataclasses look for it
    sys.path.append(str(path.parent))  # for what it imports from its own folder
    OWN_FILES.add(str(path))
    specification.loader.exec_module(module)
    network = getattr(module, class_name, None)
    if not (isinstance(network, type) and issubclass(network, Autoencoder)):
        raise UserError(f"--network {name}: {file} has no class {class_name} that is a lab.networks.Autoencoder")
    network.architecture = f"{class_name}@{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    return network


def require(name: str, found: object, *wanted: tuple | str) -> None:
    """Raise UserError unless what a network gives has the shapes `wanted`; for other objects, the types."""
    values = found if isinstance(found, tuple) else (found,)
    kinds = tuple(tuple(each.shape) if isinstance(each, torch.Tensor) else type(each).__name__ for each in values)
    if kinds != wanted:
        raise UserError(f"{name} gives {', '.join(map(str, kinds))}, not {', '.join(map(str, wanted))}")


def try_own(options: RunOptions) -> None:
    """Do with the user's network and two images what a run does. Raises UserError if that cannot be done."""
    import_own(options.network)
    images = torch.rand(2, 3, SIZE, SIZE) * torch.rand(2, 3, 1, 1)  # of different colours
    part = Part(images[: options.batch_size], torch.zeros(2).long())
    try:
        model = training.build(options, None).eval()
        own_loss = type(model).loss is not Autoencoder.loss
        require("self.latent", model.latent, "int")
        for images in (part.images[:1].to(options.device), part.images.to(options.device)):
            made, numbers = tuple(images.shape), (len(images), options.latent)
            require("encode", latents := model.encode(images), numbers)
            require("decode", model.decode(latents), made)
            require("reconstruct", model.reconstruct(images), made, numbers)
            require("loss(images)", model.loss(images), "dict")
            for key in ("loss", "mse")[: 1 + own_loss]:
                require(f"loss(images)[{key!r}]", model.loss(images).get(key), ())
        if options.augment == "adversarial" and own_loss:
            raise UserError("--augment adversarial trains with the MSE, not with its own loss; leave it out")
        steppers, batches = training.optimizers(options, model)[0], itertools.repeat(part[:])
        training.train(model, batches, training.network_loss, steppers, 1, precision=options.precision)
        with TemporaryDirectory() as folder:
            networks.save(model, part, Path(folder))
            opened = networks.load(folder, options.network).to(options.device)
        one_by_one = torch.cat([encode_all(opened, image[None]) for image in part.images])
        made = decode_all(opened, one_by_one), decode_all(model, encode_all(model, part.images))
        if not torch.allclose(*made, atol=0.01):
            raise UserError("opened again, single images look different: keep tensors as buffers, use no randomness")
    except (Exception, SystemExit) as error:  # whatever it is, it comes of their network
        reason = explain(error) or f"{type(error).__name__}: {error}"
        raise UserError(f"--network {options.network} is not as docs/extending.md says: {reason}") from error


def recorded_options(folder: Path, kind: type = DataOptions) -> DataOptions:
    """The options of the run in `folder` that decide its result, as a dataclass `kind`. Raises UserError."""
    run = runs.read_json(folder / runs.RUN, "it says how the network was trained: give another folder")
    try:
        names = {field.name for field in fields(kind)} - runs.IRRELEVANT
        options = {name: value for name, value in run["config"].items() if name in names} | {"source": run["source"]}
        options |= {name: tuple(options[name]) for name in ("hold_out", "also")}
        return kind(**options, **({"out": folder} if issubclass(kind, RunOptions) else {}))
    except (KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(f"{folder}/{runs.RUN} does not say how the network was trained ({error})") from None


def open_run(folder: Path, own: str | None, kind: type = DataOptions) -> tuple[Autoencoder, DataOptions, dict]:
    """The network of the finished run in `folder`, its options and its metrics. Raises UserError."""
    model, options = networks.load(folder, own), recorded_options(folder, kind)
    return model, options, runs.read_json(folder / runs.METRICS, "give the folder of a finished run")


def reopen(config: RunOptions) -> tuple[Autoencoder, RunOptions, dict]:
    """The same of the run in `config.evaluate`. Raises UserError for options that are not from its record."""
    given = {field.name for field in fields(config) if getattr(config, field.name) != getattr(type(config), field.name)}
    if given := " and ".join(sorted(f"--{name.replace('_', '-')}" for name in given - WITH_EVALUATE)):
        raise UserError(f"--evaluate takes all options from the record in {config.evaluate}; leave {given} out")
    model, options, metrics = open_run(config.evaluate, config.network, type(config))
    source = options.source if config.source == type(config).source else config.source
    return model, resolve_defaults(replace(options, source=source)), metrics


def compare_pictures(folder: Path, pictures: Pictures) -> None:
    """Say so in one line if the run in `folder` was made with other pictures, as far as it has them on record."""
    run = runs.read_run(folder) or {}
    if run.get("pictures", pictures.digest if run.get("source") == pictures.source else None) != pictures.digest:
        print(f"note: the network in {folder} was trained on other pictures than {pictures.source} has now")


def compare(folder: Path, numbers: dict[str, float], record: dict, pictures: Pictures) -> dict[str, float]:
    """Print test numbers on `pictures` next to those on record in `folder`. Returns the numbers."""
    compare_pictures(folder, pictures)
    for name, value in numbers.items():
        print(f"{name.replace('_', ' '):26} {value:.4f}, on record {record.get(name, float('nan')):.4f}")
    return numbers


def load_reference(folder: Path, config: RunOptions, pictures: Pictures) -> tuple[Autoencoder, dict]:
    """The network in `folder` and its metrics, to show beside that of `config`. Raises UserError if its data differ."""
    model, there, metrics = open_run(folder, config.network)
    asked = vars(config) | {"keyword": pictures.keyword, "source": resolve_source(pictures.source)}
    names = [field.name for field in fields(DataOptions) if field.name not in ("also", "hold_out_style")]  # untested
    changed = [name for name in names if getattr(there, name) != asked[name]]
    other = [f"--{name.replace('_', '-')} {getattr(there, name)}, not {asked[name]}" for name in changed]
    other += ["happy and sad emoji alone"] if isinstance(model, MultiTaskAutoencoder) else []
    if other:
        raise UserError(f"--reference {folder} was trained on other data ({', '.join(other)}); give one of the same")
    return model, metrics
