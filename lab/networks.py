"""The networks by name: the one place where an architecture's name becomes a class, where they are saved and loaded."""

import importlib.util
import json
import tempfile
from inspect import Parameter, signature
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

import data
from common import files
from common.errors import UserError
from common.sources import credited
from lab.contract import CARD, Autoencoder, encode_all
from lab.convolutional import ConvAutoencoder
from lab.multitask import MultiTaskAutoencoder
from lab.residual import InformedAutoencoder, ResidualAutoencoder

ARCHITECTURES = {
    network.architecture: network for network in (ConvAutoencoder, ResidualAutoencoder, InformedAutoencoder)
}
LARGEST = 2**16  # of a size in a config.json: above any sensible one, below what fills the memory with names
WEIGHTS, SETTINGS = "model.safetensors", "config.json"
HUB = "hub:"  # before the name of a repository: without it nothing is ever asked of the Hub


def find(name: str) -> type[Autoencoder]:
    """The class of an architecture: a name in ARCHITECTURES, or `file.py:Class` of the user's own. Raises UserError."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    file, _, class_name = name.rpartition(":")
    if not file.endswith(".py"):
        raise UserError(f"--network {name} is unknown; it takes {', '.join(ARCHITECTURES)}, or my_file.py:MyClass")
    if not Path(file).is_file():
        raise UserError(f"--network {name}: {file} is not there")
    specification = importlib.util.spec_from_file_location(Path(file).stem, file)
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except (SyntaxError, ImportError) as error:
        raise UserError(f"--network {name}: {file} cannot be imported ({error})") from None
    network = getattr(module, class_name, None)
    if not (isinstance(network, type) and issubclass(network, Autoencoder)):
        raise UserError(f"--network {name}: {file} has no class {class_name} that is a lab.contract.Autoencoder")
    network.architecture = name
    return network


def build(name: str, latent: int, options: dict) -> Autoencoder:
    """A new network. Of the `options` it gets those that its constructor names. Raises UserError."""
    network = find(name)
    known = {option: value for option, value in options.items() if option in signature(network).parameters}
    if ignored := sorted(set(options) - set(known)):
        print(f"{name} has no {' and no '.join(ignored)}")
    return network(latent=latent, **known)


def from_settings(settings: dict, own: str | None = None) -> Autoencoder:
    """A network from what its config.json says. Raises ValueError for what is none of ours, nor the user's `own`."""
    settings = dict(settings)
    architecture = settings.pop("architecture", None)
    if architecture == MultiTaskAutoencoder.architecture:
        return MultiTaskAutoencoder(from_settings(settings["autoencoder"], own), settings["classes"])
    if architecture is None or (architecture not in ARCHITECTURES and architecture != own):
        named = f"its config.json names the network {architecture!r:.60}"
        raise ValueError(f"{named}; if it is yours, give it as --network")
    network = find(architecture)
    kinds = {name: option.annotation for name, option in signature(network).parameters.items()}
    kinds = {name: int | float | str if kind is Parameter.empty else kind for name, kind in kinds.items()}
    if set(settings) - set(kinds) or not all(files.fits(value, kinds[name]) for name, value in settings.items()):
        raise ValueError(f"its config.json has not the options of {architecture}")
    sizes = [value for name, value in settings.items() if type(value) is int and kinds[name] is not float]
    if not all(1 <= size <= LARGEST for size in sizes):
        raise ValueError("its config.json has sizes out of all proportion")
    return network(**settings)


def folder_of(where: str | Path) -> Path:
    """The folder of a network: a local one, or, for `hub:owner/name` alone, that of two files had from the Hub."""
    if not str(where).startswith(HUB):
        return Path(where)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path([hf_hub_download(str(where)[len(HUB) :], name) for name in (WEIGHTS, SETTINGS)][0]).parent
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{where} cannot be had from the Hub ({reason}); check the name and the network") from None


def stored_as_float32(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of a tensor; float16, in which weights are published, becomes float32."""
    return tensor.float() if tensor.dtype == torch.float16 else tensor.clone()


def load(where: str | Path, own: str | None = None) -> Autoencoder:
    """The trained network in a folder, in evaluation mode. Only safetensors are read, never a pickle.

    `own` is the user's network, as `file.py:Class`: a config.json alone makes no foreign code run. Raises UserError for
    a folder without weights, a config.json that is no network's, or foreign or broken weights.
    """
    folder = folder_of(where)
    weights, settings = folder / WEIGHTS, folder / SETTINGS
    if not weights.is_file() or not settings.is_file():
        train = f"train one with `python autoencoder.py --out {folder}`"
        raise UserError(f"{folder} holds no {WEIGHTS} and {SETTINGS}; {train}")
    try:
        with torch.device("meta"):  # nothing is allocated for sizes that the weights do not have
            model = from_settings(json.loads(settings.read_text(encoding="utf-8")), own)
        # Copies, because the tensors that are read are the file itself, which the next training writes over.
        tensors = {name: stored_as_float32(tensor) for name, tensor in load_file(weights).items()}
        model.load_state_dict(tensors, assign=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split("\n")[:2])  # torch names the tensor in the second line
        raise UserError(f"the network in {folder} cannot be used ({reason}); train it again") from None
    if not all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in model.parameters()):
        raise UserError(f"the network in {folder} has weights that are not finite or not float32; train it again")
    return model.eval()


def save(model: Autoencoder, originals: data.Originals, device: torch.device, folder: Path) -> None:
    """The weights with the network's config.json and card, and the latents of all originals.

    The card credits the pictures of all `originals`.
    """
    credits = "; ".join(map(credited, dict.fromkeys(originals.styles)))
    with tempfile.TemporaryDirectory() as temporary:
        model.save_pretrained(temporary, model_card_kwargs={"pictures": credits})
        contents = {path.name: path.read_bytes() for path in Path(temporary).iterdir()}
    card = folder / "README.md"
    if card.is_file() and CARD not in card.read_text(encoding="utf-8", errors="replace"):
        del contents["README.md"]  # there is somebody's own
    contents["latents.safetensors"] = to_bytes({"latents": encode_all(model, originals.images, device)})
    for name, content in contents.items():
        with files.written_whole(folder / name) as path:
            path.write_bytes(content)
