"""The experiments that the coursework recommends but does not do, each with a verdict on its hypotheses.

    python -m studies.experiments dropout             # or another name of studies/hypotheses.py
    RAY_ADDRESS=... python -m studies.experiments latent --ray  # on a cluster; needs requirements-ray.txt

A network is trained and tested on unseen emoji, beside a PCA of the same training images. Every setting has the same
seeds; a seed decides the fold and the weights, so differences are paired. Writes runs/experiments/NAME.json and
plots/experiment_NAME.png; finished trials are kept in runs/experiments/trials/. styles needs requirements-noto.txt."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Iterator, Literal

import torch
import tyro
from tqdm import tqdm

from lab import cli, figures, runs, training
from lab.cli import UserError
from studies.hypotheses import EXPERIMENTS
from studies.trial import Trial, fold_of, measure, trial_of
from studies.verdicts import comparison, judge, labelled, summary, table

Key = tuple[str, int]  # a setting and a seed


@dataclass(frozen=True, kw_only=True)
class Config:
    """Vary one setting of a network on unseen emoji and judge what the coursework expects of it."""

    name: tyro.conf.Positional[Literal[tuple(EXPERIMENTS)]]  # which experiment
    source: str = "twemoji"  # twemoji, openmoji, noto, hub, or the path of your own parquet file or folder
    seeds: int = 5  # folds and weights, from seed 0 upwards
    steps: int | None = None  # of training, instead of the experiment's own: to see that it works
    workers: int | None = None  # processes, each of one thread and about 1 GB; default: one per core
    device: str = "auto"  # auto takes CUDA, MPS or the CPU; or cpu, cuda, mps
    ray: bool = False  # run the trials on the Ray cluster that RAY_ADDRESS names, by default one on this machine
    out: Path = Path("runs/experiments")  # folder of the records and the finished trials
    plots: Path = Path("plots")  # folder of the figure

    def __post_init__(self):
        cli.require_range(2, 1000, seeds=self.seeds)
        cli.require_range(1, 10**6, workers=self.workers, steps=self.steps)


def start_worker() -> None:
    """Leave Ctrl-C to the parent, which ends its workers, and end when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(threading.RLock())  # its own, a semaphore, would stay behind
    threading.Thread(target=lambda: (multiprocessing.parent_process().join(), os._exit(1)), daemon=True).start()


@contextlib.contextmanager
def process_pool(workers: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """Processes, by default one per core, that end with this one: at Ctrl-C at once. Raises UserError if one dies."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), start_worker) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            remedy = "what is finished is kept: run again with more free memory (experiments: with fewer --workers)"
            raise UserError(f"a worker process died, perhaps of too little memory; {remedy}") from None
        except (KeyboardInterrupt, GeneratorExit):
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def in_processes(trials: dict[Key, Trial], workers: int | None) -> Iterator[tuple[Key, dict]]:
    """Each trial's metrics as they come. A process opens the pictures once, for all its trials."""
    with process_pool(workers) as pool:
        futures = {pool.submit(measure, trial): key for key, trial in trials.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()


def on_ray(trials: dict[Key, Trial]) -> Iterator[tuple[Key, dict]]:
    """Each trial's metrics as they come from the cluster that RAY_ADDRESS names; this project's files go with them."""
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # else it looks for a missing cluster for 15 minutes
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray; pip install -r requirements-ray.txt") from None
    os.environ.setdefault("RAY_ADDRESS", "local")
    shipped = {"working_dir": str(Path(__file__).parents[1]), "excludes": ["runs", "plots", ".git", ".venv"]}
    try:
        ray.init(runtime_env=shipped, log_to_driver=False, logging_level="warning")
    except (OSError, ValueError, ray.exceptions.RayError) as error:
        reason = f"no Ray cluster lets us in at {os.environ['RAY_ADDRESS']} ({str(error).partition('. ')[0]})"
        raise UserError(f"{reason}; if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN") from None
    pending = {ray.remote(measure).remote(trial): key for key, trial in trials.items()}
    try:
        while pending:
            for finished in ray.wait(list(pending))[0]:
                yield pending.pop(finished), ray.get(finished)
    finally:
        ray.shutdown()


def compute(trials: dict[Key, Trial], config: Config) -> dict[Key, dict]:
    """The metrics of all trials. Each is kept in a file that its settings name, and not computed again."""
    folder = config.out / "trials"
    digests = {key: hashlib.sha256(json.dumps(trial.recorded()).encode()).hexdigest() for key, trial in trials.items()}
    paths = {key: folder / f"{digest[:16]}.json" for key, digest in digests.items()}
    results = {key: runs.read_json(path, "remove it")["metrics"] for key, path in paths.items() if path.exists()}
    missing = {key: trial for key, trial in trials.items() if key not in results}
    print(f"{len(trials) - len(missing)} of {len(trials)} trials are on file in {folder}")
    with contextlib.closing(on_ray(missing) if config.ray else in_processes(missing, config.workers)) as computed:
        for key, metrics in computed:
            runs.write_json(paths[key], {"trial": trials[key].recorded(), "metrics": metrics})
            results[key] = metrics
            errors = f"test MSE {metrics['mse'][-1]:.4f}, PCA {metrics['pca_mse']:.4f}"
            print(f"{key[0]}, seed {key[1]}: {errors}, {metrics['seconds']} s", flush=True)
    return results


def draw(record: dict, path: Path) -> Path:
    """The figure of a record."""
    return figures.experiment(labelled(record["rows"]), record["hypotheses"], record["varied"], path)


def main(config: Config) -> dict:
    """Compute what is not on file yet, print, record and draw. Returns the record. Raises UserError."""
    (config.out / "trials").mkdir(parents=True, exist_ok=True)
    experiment, seeds = EXPERIMENTS[config.name], range(config.seeds)
    changes = {"source": config.source, "device": str(training.choose_device(config.device))}
    changes |= {"steps": config.steps, "epochs": None} if config.steps else {}
    settings = {name: trial_of(setting, **changes) for name, setting in experiment.settings.items()}
    for trial in settings.values():
        fold_of(trial)  # too few emoji are an error now, not in a worker
    trials = {(name, seed): replace(trial, seed=seed) for seed in seeds for name, trial in settings.items()}
    results = compute(trials, config)
    values = {name: [results[name, seed] for seed in seeds] for name in settings}
    rows = [summary(name, trial.recorded(), values[name]) for name, trial in settings.items()]
    judged = [judge(each, values, settings[each.setting].split) for each in experiment.hypotheses]
    print(table(rows, experiment.varied))
    for outcome in judged:
        print(f"{outcome['letter']}, {outcome['text']}: {comparison(outcome)}, uncorrected: {outcome['verdict']}")
    record = {
        "command": runs.command_line(), "varied": experiment.varied, "seeds": config.seeds,
        "torch": torch.__version__, "processor": runs.processor(), "rows": rows, "hypotheses": judged,
    }  # fmt: skip
    runs.write_json(config.out / f"{config.name}.json", record)
    print("figure", draw(record, config.plots / f"experiment_{config.name}.png"))
    return record


if __name__ == "__main__":
    cli.run(main, Config)
