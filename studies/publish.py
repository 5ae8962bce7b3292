"""A folder in pretrained/ from a finished run: weights small enough to commit, with their record, card and checksum.

    python -m studies.publish best        # of runs/best-styles; also coursework and multitask

Weights are float16: `--evaluate` gives the record's numbers again. `huggingface_hub.upload_folder(repo_id="you/net",
folder_path="pretrained/best")` puts them on the Hub, `composite.py --model hub:you/net` opens them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab import cli  # before torch: lab sets the environment

import tyro
from safetensors.torch import save

from lab import networks, pretrained, runs, sources
from lab.cli import UserError


@dataclass(frozen=True)
class Network:
    """A network in pretrained/, and the finished run that it is taken from."""

    command: str  # that trains it
    run: Path  # where this leaves it
    limitations: str


NETWORKS = {
    "coursework": Network(
        "python autoencoder.py", Path("runs/autoencoder"),
        "Its reconstructions are blurred, and worse than those of a PCA with 128 components. Copies of its test "
        "pictures were in training, so its test error says nothing about emoji it has not seen.",
    ),
    "best": Network(
        "python autoencoder.py --also openmoji noto --preset best --split unseen --out runs/best-styles "
        "--plots runs/best-styles",
        Path("runs/best-styles"),
        "It is for faces at 64x64 pixels on white. Composites in its latent were not shown to be better than those of "
        "pixels. Photographs come out as smears.",
    ),
    "multitask": Network(
        "python multiTaskModel.py", Path("runs/multitask"),
        "It knows 18 happy and 5 sad emoji of one style and nothing else: every picture gets one of two answers, often "
        "a confident and wrong one. Copies of its test pictures were in training. It says nothing about people.",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Config:
    """Make a folder in pretrained/ from a finished run."""

    network: tyro.conf.Positional[Literal[tuple(NETWORKS)]]  # which it is
    run: Path | None = None  # folder of the finished run; default: where its command leaves it
    out: Path = Path("pretrained")  # folder of all published networks


def card(title: str, network: Network, folder: Path, run: Path, metrics: dict, weights: bytes) -> str:
    """The model card: what the network is, whose pictures it was made from, its numbers, and its limitations.
    Raises UserError for pictures without a licence."""
    options, about, script = pretrained.recorded_options(run), runs.read_run(run), network.command.split()[1]
    styles = [options.source, *options.also, *filter(None, [options.hold_out_style])]
    if unlicensed := [style for style in styles if style not in sources.STYLES]:
        raise UserError(f"{run} was trained on {unlicensed[0]}, which has no licence; train it on other pictures")
    numbers = {name: value for name, value in metrics.items() if name.endswith("mse") or name == "test_accuracy"}
    return "\n".join([
        f"# {title}", "",
        f"`lab.networks.load({str(folder)!r})` loads this network, `python {script} --evaluate {folder}` tests it",
        "again. An MSE is a mean per image, pixels in [0, 1].", "",
        "| | |", "| --- | --- |",
        f"| command | `{about['command']}` |",
        f"| seed | {about['config']['seed']} |",
        f"| weights | float16 in the file, float32 when loaded; {len(weights) / 1e6:.1f} MB |",
        f"| SHA-256 | `{hashlib.sha256(weights).hexdigest()}` of {networks.WEIGHTS} |",
        *(f"| {name.replace('_', ' ')} | {value:.4g} |" for name, value in numbers.items()), "",
        "**Pictures** that it was trained and tested on, scaled to 64x64 pixels, on white:", "",
        *(f"- {sources.credit(style)}" for style in styles), "",
        "Its output resembles them: credit the artists, and follow their licences. The code has the MIT licence.", "",
        f"**Limitations.** {network.limitations}", "",
    ])  # fmt: skip


def main(config: Config) -> None:
    """Write the folder. Raises UserError for an unfinished run, or pictures without a licence."""
    network, folder = NETWORKS[config.network], config.out / config.network
    run = config.run or network.run
    metrics = runs.read_json(run / runs.METRICS, f"first run `{network.command}`")
    weights = save({name: tensor.half().contiguous() for name, tensor in networks.load(run).state_dict().items()})
    files = {name: (run / name).read_bytes() for name in (networks.SETTINGS, runs.RUN, runs.METRICS)}
    files |= {
        networks.WEIGHTS: weights,
        "README.md": card(pretrained.TITLES[config.network], network, folder, run, metrics, weights).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    print(f"wrote {folder}, {len(weights) / 1e6:.1f} MB")


if __name__ == "__main__":
    cli.run(main, Config)
