"""A folder in pretrained/ from a finished run: weights small enough to commit, with their record, card and checksum.

    python publish.py report       # of runs/autoencoder
    python publish.py best         # of runs/best-styles
    python publish.py multitask    # of runs/multitask

Weights are stored as float16 where all test numbers stay within 1% of the record, else as float32.
"""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from common import command_line
from lab.options import PRETRAINED


@dataclass(frozen=True, kw_only=True)
class Config:
    """Make a folder in pretrained/ from a finished run."""

    network: tyro.conf.Positional[Literal["report", "best", "multitask"]]  # which it is
    run: Path | None = None  # folder of the finished run; None: where its command leaves it


if __name__ == "__main__":
    command_line.answer(Config)  # --help and mistakes: before the imports that take seconds

import torch
from safetensors.torch import save

import autoencoder
import multiTaskModel
from common import files, sources
from common.errors import UserError
from lab import networks, trained
from lab.contract import CARD
from lab.pretrained import NETWORKS

SCRIPTS = {"report": autoencoder, "best": autoencoder, "multitask": multiTaskModel}
MOST_BYTES = 25_000_000  # of all folders together
TOLERANCE = 0.01  # of a number on record
KEPT = ("config.json", "run.json", "metrics.json")  # what is taken of a run as it is


def pictures_of(folder: Path) -> list[str]:
    """Whose pictures a run was trained on. Raises UserError for any that may not be published."""
    about = trained.data_config(folder)
    styles = [about.source, *about.also, *filter(None, [about.hold_out_style])]
    for style in styles:
        if style not in sources.SOURCES or not sources.SOURCES[style].licence:
            raise UserError(f"{folder} was trained on {style}, which names no licence; train it on other pictures")
    return [sources.credited(style) for style in styles]


def holds(found: dict, record: dict) -> bool:
    """Whether test numbers are those of the record, but for TOLERANCE."""
    return all(abs(value - record[name]) <= TOLERANCE * abs(record[name]) for name, value in found.items())


def stored(config: Config, run: Path, record: dict) -> tuple[dict[str, bytes], str, dict]:
    """The contents of the files, the type of the weights in them, and the test numbers that these give.

    Raises UserError where not even float32 gives those of the record.
    """
    weights = networks.load(run).state_dict()
    contents = {name: (run / name).read_bytes() for name in KEPT}
    script = SCRIPTS[config.network]
    for kind in (torch.float16, torch.float32):
        contents[networks.WEIGHTS] = save({name: tensor.to(kind).contiguous() for name, tensor in weights.items()})
        with tempfile.TemporaryDirectory() as folder:
            for name, content in contents.items():
                (Path(folder) / name).write_bytes(content)
            found = script.main(script.Config(evaluate=Path(folder)))
        if holds(found, record):
            return contents, str(kind).removeprefix("torch."), found
    raise UserError(f"the network in {run} gives other numbers than its record; train it again")


def card(config: Config, run: dict, contents: dict[str, bytes], kind: str, found: dict, pictures: list[str]) -> str:
    """The model card: what the network is, what it was made from, its numbers, and what it is not good for."""
    network, folder, script = NETWORKS[config.network], PRETRAINED / config.network, SCRIPTS[config.network].__name__
    weights = contents[networks.WEIGHTS]
    settings = json.loads(contents["config.json"])
    rows = {
        "network": f"`{json.dumps(settings)}`",
        "made by": f"`{run['command']}`",
        "seed": run["config"]["seed"],
        "weights": f"{kind} in the file, float32 when opened; {len(weights) / 1e6:.1f} MB",
        "SHA-256": f"`{hashlib.sha256(weights).hexdigest()}` of {networks.WEIGHTS}",
        **{name.replace("_", " "): f"{value:.4f}" for name, value in found.items()},
    }
    lines = [
        f"# {network.title}", "",
        f"{CARD} `lab.networks.load({str(folder)!r})` opens it, and `python {script}.py --evaluate {folder}`",
        "gives its test numbers again. An MSE is a mean per image, pixels in [0, 1].", "",
        "| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items()), "",
        "**Pictures** that it was trained and tested on, scaled to 64x64 pixels and put on white:", "",
        *(f"- {credit}" for credit in pictures), "",
        "What it draws resembles them: credit them, and keep to their licences. The code has the MIT licence.", "",
        f"**Not good for.** {network.unfit}", "",
    ]  # fmt: skip
    return "\n".join(lines)


def main(config: Config) -> dict:
    """Check that the numbers hold, then write the folder. Returns the test numbers."""
    run = config.run or NETWORKS[config.network].run
    remedy = f"first run `{NETWORKS[config.network].command}`"
    record, about = (files.read_json(run / name, remedy) for name in ("metrics.json", "run.json"))
    pictures = pictures_of(run)
    contents, kind, found = stored(config, run, record)
    contents["README.md"] = card(config, about, contents, kind, found, pictures).encode()
    folder = PRETRAINED / config.network
    others = [path for path in PRETRAINED.rglob("*") if path.is_file() and folder not in path.parents]
    size = sum(path.stat().st_size for path in others) + sum(map(len, contents.values()))
    if size > MOST_BYTES:
        raise UserError(f"{PRETRAINED} would have {size} bytes; at most {MOST_BYTES} are committed: remove a network")
    files.writable(folder)
    for name, content in contents.items():
        with files.written_whole(folder / name) as path:
            path.write_bytes(content)
    print(f"wrote {folder}, {kind}; all networks together have {size / 1e6:.1f} MB")
    return found


if __name__ == "__main__":
    command_line.run(main, Config)
