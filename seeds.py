"""A part over several seeds: how far a number hangs on one split and one start.

    python seeds.py autoencoder --out runs/seeds/unseen -- --split emoji     # after --, the part's own options
    python seeds.py autoencoder --out runs/seeds/best -- --preset best --split emoji
    python seeds.py composite --out runs/seeds/composite -- --model runs/seeds/unseen/{seed}  # a network per seed

A seed decides the split, the copies, the weights and the order, so a spread is over all of them. Each run stays in a
folder of --out, with its figures; one that is finished is not made again. Writes metrics.json: the values of every
number over the seeds, their mean and standard deviation, and the difference to PCA.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from common import command_line
from common.errors import UserError, at_least


@dataclass(frozen=True, kw_only=True)
class Config:
    """Run a part with the seeds 0, 1 and so on, and record how its numbers spread."""

    part: tyro.conf.Positional[Literal["autoencoder", "multiTaskModel", "composite"]]  # the script
    options: tyro.conf.Positional[tuple[str, ...]] = ()  # after --: its own options; {seed} stands for the seed
    seeds: int = 5  # how many, from seed 0 upwards
    out: Path = Path("runs/seeds")  # folder of the runs and of the record

    def __post_init__(self):
        at_least(2, seeds=self.seeds)
        names = {option.partition("=")[0] for option in self.options}
        if ours := sorted(names & {"--seed", "--out", "--plots", "--resume", "--overwrite"}):
            raise UserError(f"{' and '.join(ours)} after -- would be seeds.py's to give; leave it out")


if __name__ == "__main__":
    command_line.answer(Config)  # --help and mistakes: before the imports that take seconds

import numpy as np

from common import files
from lab import baselines

HERE = Path(__file__).parent


def command(config: Config, seed: int) -> list[str]:
    """The run of one seed, in a folder of its own."""
    folder = config.out / str(seed)
    options = [option.replace("{seed}", str(seed)) for option in config.options]
    places = ["--seed", str(seed), "--out", str(folder), "--plots", str(folder), "--overwrite"]
    return [sys.executable, str(HERE / f"{config.part}.py"), *options, *places]


def read(path: Path) -> dict:
    """A record. Raises UserError if there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); remove its folder and run again") from None


def numbers(metrics: dict, prefix: str = "") -> dict[str, float]:
    """The numbers of a record, those in a dictionary with its name and a dot before theirs."""
    found = {}
    for name, value in metrics.items():
        if isinstance(value, dict):
            found |= numbers(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[f"{prefix}{name}"] = value
    return found


def measured(config: Config, seed: int) -> dict[str, float]:
    """The numbers of one seed's run, which is made unless it is finished. Raises UserError if it fails."""
    record = config.out / str(seed) / "metrics.json"
    if not record.exists() and (status := subprocess.run(command(config, seed)).returncode):
        raise UserError(f"seed {seed} ended with status {status}; mend what it says, the finished seeds are kept")
    return numbers(read(record))


def summary(values: dict[str, list[float]]) -> dict:
    """Mean and standard deviation of every number, and the network's MSE minus PCA's with its corrected interval."""
    result = {"values": values, "mean": {name: float(np.mean(its)) for name, its in values.items()}}
    result["std"] = {name: float(np.std(its, ddof=1)) for name, its in values.items()}
    if {"test_mse", "pca_mse", "test", "train"} <= set(values):
        difference = np.subtract(values["test_mse"], values["pca_mse"])
        mean, half = baselines.mean_and_interval(difference, values["test"][0] / values["train"][0])
        result |= {"minus_pca": mean, "minus_pca_interval": [mean - half, mean + half]}
    return result


def main(config: Config) -> dict:
    """Make the runs that are missing, print and record. Returns the metrics."""
    files.writable(config.out)
    started = time.monotonic()
    asked = {"part": config.part, "options": list(config.options)}
    with files.locked(config.out):
        about = config.out / "run.json"
        if about.exists() and read(about).get("config") != asked:
            raise UserError(f"{config.out} holds the seeds of another command; give another --out")
        files.write_json(about, {"config": asked})
        runs = [measured(config, seed) for seed in range(config.seeds)]
        shared = [name for name in runs[0] if all(name in run for run in runs)]
        metrics = summary({name: [run[name] for run in runs] for name in shared})
        for name in ("test_mse", "pca_mse", "mean_image_mse", "mse_to_truth", "pca_arithmetic.mse_to_truth"):
            if name in shared:
                print(f"{name.replace('_', ' '):28} {metrics['mean'][name]:.4f} ± {metrics['std'][name]:.4f}")
        first = read(config.out / "0" / "run.json")
        kept = {name: first[name] for name in ("processor", "threads", "versions")}
        files.write_json(about, {"command": " ".join(["python", *sys.argv]), "config": asked, **kept})
        metrics |= {"seeds": config.seeds, "seconds": round(sum(run.get("seconds", 0.0) for run in runs), 1)}
        files.write_json(config.out / "metrics.json", metrics)
    print(f"{config.seeds} seeds in {time.monotonic() - started:.0f} s; record {config.out / 'metrics.json'}")
    return metrics


if __name__ == "__main__":
    command_line.run(main, Config)
