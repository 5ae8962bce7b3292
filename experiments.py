"""The experiments that the original recommends but does not do, each with a verdict on its hypotheses.

    python experiments.py dropout                       # 1c: 0, 0.2, 0.5
    python experiments.py augmentation                  # 1h, 2f.3 and 1a: none, the original's, adversarial
    python experiments.py data                          # 3c.2 and 2f.3: faces only or all pictures
    python experiments.py styles                        # 3c.2: faces by one, two and three artists
    python experiments.py weight                        # 2e: lambda of 0, 0.5 and 5
    python experiments.py low-weight                    # 2e: lambda of 0.1 and 0.5
    python experiments.py copies                        # 2e and 2f.3: 0, 4 or 50 copies beside a classifier
    python experiments.py emotions                      # 2f.1: seven classes instead of two
    python experiments.py latent                        # 2f.2: 64 to 512 numbers
    python experiments.py data --preset best --out runs/experiments-best --plots plots/best  # the other network
    RAY_ADDRESS=... python experiments.py latent --ray  # on a cluster; needs requirements-ray.txt

A network and its training, tested on emoji it has never seen, beside a PCA of the same training images with as many
components. Every setting meets the same seeds; a seed is one of five folds and the weights, so verdicts are on paired
differences. They are given after 300, 1,000 and 3,000 steps, and the last counts. Writes runs/experiments/NAME.json and
plots/experiment_NAME.png; finished trials are kept in runs/experiments/trials/ and not computed again, whatever stopped
the run. Settings and hypotheses are in studies/hypotheses.py. Expect 15 to 25 minutes each on 2 cores, and more
than an hour for styles with AVX2 alone; styles needs requirements-noto.txt.
"""

import json
import os
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import tyro

from common import command_line
from common.errors import UserError, at_least
from studies.hypotheses import EXPERIMENTS, Trial, of_preset

QUICK = {"seeds": 2, "steps": 3}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Vary one setting of a network on unseen emoji and judge what the original expects of it."""

    name: tyro.conf.Positional[Literal[tuple(EXPERIMENTS)]]  # which experiment
    preset: Literal["report", "best"] = "report"  # whose network and training is varied
    source: str = "auto"  # auto, hub, twemoji, openmoji, noto, or the path of your own parquet file or folder
    seeds: int = 5  # folds and weights, from seed 0 upwards
    quick: bool = False  # two seeds, three steps of training, everything in runs/: to see that it works
    workers: int | None = None  # processes, each of one thread and about 1 GB; default: one per core
    device: str = "auto"  # auto takes CUDA, MPS or the processor; cpu, cuda or mps decide
    ray: bool = False  # run the trials on the Ray cluster that RAY_ADDRESS names instead
    out: Path = Path("runs/experiments")  # folder of the records and the finished trials
    plots: Path = Path("plots")  # folder of the figure

    def __post_init__(self):
        at_least(2, seeds=self.seeds)
        at_least(1, workers=1 if self.workers is None else self.workers)


if __name__ == "__main__":
    command_line.answer(Config)  # --help and mistakes: before the imports that take seconds

import torch

from common import files
from lab import records, training
from studies import experiment_figure, trial
from studies.findings import finding, table
from studies.sweep import Runner, in_processes, on_ray, sweep
from studies.verdicts import judge, row


def refuse_foreign(path: Path, config: Config) -> None:
    """Raise UserError if `path` exists and is not the record of this experiment with this preset."""
    if not path.exists():
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = None
    about = (content.get("experiment"), content.get("preset", "report")) if isinstance(content, dict) else None
    if about != (config.name, config.preset):
        raise UserError(f"{path} is no record of this experiment; move it away, or give another --out")


def settings_of(config: Config) -> dict[str, Trial]:
    """The experiment's settings as trials of seed 0. Raises UserError, before any training, for what has none."""
    device = str(training.choose_device(config.device))
    changes = {"source": trial.pictures(config.source, "face").source, "device": device}
    changes |= {"steps": QUICK["steps"]} if config.quick else {}
    original = EXPERIMENTS[config.name].settings
    settings = {name: replace(of_preset(setting, config.preset), **changes) for name, setting in original.items()}
    if len(set(settings.values())) < len(settings):
        raise UserError(f"the {config.preset} preset has no {config.name} to vary; try --preset report")
    for setting in settings.values():
        trial.chosen(setting)  # too few emoji are an error now, not in a worker
    return settings


def main(config: Config, run: Runner | None = None) -> dict:
    """Compute what is not on file yet, print, record and draw. Returns the metrics.

    `run` computes trials in another way than processes or, with --ray, a cluster.
    """
    if config.quick:
        print(f"quick: {QUICK['seeds']} seeds, {QUICK['steps']} steps; these numbers say nothing")
        config = replace(config, seeds=QUICK["seeds"], plots=config.out / "quick")
    folder = config.out / "quick" if config.quick else config.out
    places = (config.plots, config.out / "trials")
    files.writable(folder, *places)
    refuse_foreign(folder / f"{config.name}.json", config)
    with files.locked(config.out):
        for place in places:
            files.sweep(place)
        return carry_out(config, folder, run)


def carry_out(config: Config, folder: Path, run: Runner | None) -> dict:
    """Compute, print, draw, and record in `folder`. Returns the metrics."""
    experiment, settings, seeds = EXPERIMENTS[config.name], settings_of(config), range(config.seeds)
    wanted = {(name, seed): replace(setting, seed=seed) for seed in seeds for name, setting in settings.items()}
    workers = min(config.workers or os.cpu_count() or 1, len(wanted))
    ours = partial(on_ray, trial.measure) if config.ray else partial(in_processes, trial.measure, workers)
    results = sweep(wanted, config.out / "trials", run or ours)
    values = {name: [results[name, seed] for seed in seeds] for name in settings}
    rows = [row(name, settings[name], values[name]) for name in settings]
    judged = [judge(hypothesis, values) for hypothesis in experiment.hypotheses]

    print(table(experiment.varied, {row["setting"]: row["values"] for row in rows}))
    for outcome in judged:
        print(f"{outcome['letter']}, {outcome['text']}: {finding(outcome)}")
    figure = config.plots / f"experiment_{config.name}.png"
    print("figure", experiment_figure.draw(rows, judged, experiment.varied, figure))
    metrics = {
        "command": " ".join(["python", *sys.argv]),
        "experiment": config.name,
        "preset": config.preset,
        "varied": experiment.varied,
        "torch": torch.__version__,
        "processor": records.processor(),
        "device": rows[0]["trial"]["device"],
        "source": rows[0]["trial"]["source"],
        "quick": config.quick,
        "seeds": config.seeds,
        "rows": rows,
        "hypotheses": judged,
    }
    files.write_json(folder / f"{config.name}.json", metrics)
    return metrics


if __name__ == "__main__":
    command_line.run(main, Config)
