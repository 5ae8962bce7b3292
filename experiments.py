"""The experiments that the report recommends but does not do, each with a verdict on what the report speculates.

    python experiments.py latent                        # 2f.2: 16 to 512 numbers
    python experiments.py weight                        # 2e: lambda from 0 to 5
    python experiments.py emotions                      # 2f.1: seven classes instead of two
    python experiments.py augmentation                  # 2f.3, 1h and 1a: none, the report's, stronger, adversarial
    python experiments.py data                          # 3c.2 and 2f.3: faces only or all pictures
    python experiments.py dropout                       # 1c: 0, 0.2, 0.5
    RAY_ADDRESS=... python experiments.py latent --ray  # on a cluster; needs requirements-ray.txt

The report's network and training, tested on emoji it has never seen, beside a PCA of the same training images with as many
components. Every setting meets the same seeds; a seed is one of five folds and the weights, so verdicts are on paired differences.
Writes runs/experiments/NAME.json and plots/experiment_NAME.png; finished points are kept in runs/experiments/points/ and not
computed again, whatever stopped the run. Expect 4 to 7 minutes each on 2 cores.
"""

import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Callable, Iterator, Literal

import numpy as np
import torch
import tyro

import baselines
import cli
import figures
import files
import points
from cli import UserError
from points import Point

Key = tuple[str, int]  # a setting and a seed
Runner = Callable[[dict[Key, Point]], Iterator[tuple[Key, dict]]]  # yields each point's metrics as they come


# ---------------------------------------------------------------- what is asked


@dataclass(frozen=True)
class Comparison:
    """Expects `metric` to be `expected` with `setting` than with `reference`."""

    metric: Literal["mse", "balanced_accuracy"]
    setting: str
    expected: Literal["lower", "higher"]
    reference: str


@dataclass(frozen=True)
class Speculation:
    """Something the report says, under a letter, as comparisons that must all come out as expected."""

    letter: str
    text: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Experiment:
    varied: str  # label of the figure's axis
    settings: dict[str, Point]
    speculations: tuple[Speculation, ...]


FACES = Point()  # Part 1: 300 steps, as many as 23 epochs of the report's order on unseen emoji
CLASSIFIER = Point(images="happy or sad", classes="happy or sad", copies=50, dropout=0.0, steps=150)  # Part 2: its 10 epochs
EMOTIONS = replace(CLASSIFIER, images="emotions", classes="emotions", copies=10, steps=300)

EXPERIMENTS = {
    "latent": Experiment(
        "numbers in the latent",
        {str(latent): replace(CLASSIFIER, latent=latent) for latent in (16, 32, 64, 128, 256, 512)},
        (
            Speculation(
                "2f.2",
                "128 numbers are too few for reconstruction and classification: more of them do both better",
                (Comparison("mse", "512", "lower", "128"), Comparison("balanced_accuracy", "512", "higher", "128")),
            ),
            Speculation(
                "2f.2",
                "the test it proposes: larger latents classify better but reconstruct worse",
                (Comparison("balanced_accuracy", "512", "higher", "128"), Comparison("mse", "512", "higher", "128")),
            ),
        ),
    ),
    "weight": Experiment(
        "weight of the classification loss",
        {f"{weight:g}": replace(CLASSIFIER, weight=weight) for weight in (0.0, 0.1, 0.5, 1.0, 5.0)},
        (
            Speculation("2e", "classification competes with reconstruction", (Comparison("mse", "0.5", "higher", "0"),)),
            Speculation("2e", "too high a weight costs reconstruction", (Comparison("mse", "5", "higher", "0.5"),)),
            Speculation("2e", "too low a weight does little for classification", (Comparison("balanced_accuracy", "0.1", "lower", "0.5"),)),
        ),
    ),
    "emotions": Experiment(
        "classes",
        {
            "none": replace(EMOTIONS, classes="none"),
            "happy or sad": replace(EMOTIONS, classes="two emotions"),
            "seven emotions": EMOTIONS,
        },
        (
            Speculation("2f.1", "a harder classification makes for better features", (Comparison("mse", "seven emotions", "lower", "happy or sad"),)),
            Speculation("2f.1", "a hard classification helps the autoencoder", (Comparison("mse", "seven emotions", "lower", "none"),)),
        ),
    ),
    "augmentation": Experiment(
        "augmentation of the training images",
        {name: replace(FACES, augmentation=name) for name in ("none", "report", "strong", "adversarial")},
        (
            Speculation("1h", "augmentation makes the network generalize better", (Comparison("mse", "report", "lower", "none"),)),
            Speculation("2f.3", "augmentation makes reconstruction harder", (Comparison("mse", "report", "higher", "none"),)),
            Speculation("1a", "adversarial examples are worth exploring as augmentation", (Comparison("mse", "adversarial", "lower", "none"),)),
        ),
    ),
    "data": Experiment(
        "training material",
        {
            "faces": FACES,
            "all pictures": replace(FACES, images="all", copies=1),
            "all, no copies": replace(FACES, images="all", copies="none"),
        },
        (
            Speculation("3c.2", "the faces are too few, more emoji would help", (Comparison("mse", "all pictures", "lower", "faces"),)),
            Speculation("2f.3", "with enough originals no augmentation is needed", (Comparison("mse", "all, no copies", "lower", "faces"),)),
        ),
    ),
    "dropout": Experiment(
        "dropout in the latent",
        {f"{dropout:g}": replace(FACES, dropout=dropout) for dropout in (0.0, 0.2, 0.5)},
        (Speculation("1c", "dropout of 0.2 prevents overfitting", (Comparison("mse", "0.2", "lower", "0"),)),),
    ),
}
QUICK = {"seeds": 2, "steps": 3}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Vary one setting of the report's network on unseen emoji and judge what the report speculates about it."""

    name: tyro.conf.Positional[Literal["latent", "weight", "emotions", "augmentation", "data", "dropout"]]  # which experiment
    source: str = "auto"  # auto, hub, twemoji, or the path of your own parquet file or image folder
    seeds: int = 5  # folds and weights, from seed 0 upwards
    quick: bool = False  # two seeds, three steps of training, everything in runs/: to see that it works
    workers: int | None = None  # processes, each of one thread and about 1 GB; default: one per core
    ray: bool = False  # run the points on the Ray cluster that RAY_ADDRESS names instead
    out: Path = Path("runs/experiments")  # folder of the records and the finished points
    plots: Path = Path("plots")  # folder of the figure

    def __post_init__(self):
        cli.at_least(2, seeds=self.seeds)
        cli.at_least(1, workers=1 if self.workers is None else self.workers)


# ---------------------------------------------------------------- running points


def start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it, even if it was killed."""

    def end_with_parent():
        multiprocessing.parent_process().join()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()


def in_processes(missing: dict[Key, Point], workers: int) -> Iterator[tuple[Key, dict]]:
    """Compute the points in `workers` processes. A process opens the pictures once, for all its points."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), start_worker) as pool:
        futures = {pool.submit(points.measure, point): key for key, point in missing.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise UserError("a worker process died, perhaps of too little memory; what is finished is kept: run again with fewer --workers") from None
        except (KeyboardInterrupt, GeneratorExit):
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def on_ray(missing: dict[Key, Point]) -> Iterator[tuple[Key, dict]]:
    """Compute the points on the cores of the cluster that RAY_ADDRESS names; this folder's scripts go there with them."""
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # Ray would look for a missing cluster for a quarter of an hour
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray; pip install -r requirements-ray.txt") from None
    if "RAY_ADDRESS" not in os.environ:
        raise UserError("--ray needs the environment variable RAY_ADDRESS, the address of a Ray cluster, or `local` for this machine")
    scripts = {"working_dir": str(Path(__file__).parent), "excludes": ["runs", "plots", ".git", ".venv"]}
    try:
        ray.init(runtime_env=scripts, log_to_driver=False, logging_level="warning")
    except (OSError, ValueError) as error:
        raise UserError(f"no Ray cluster answers at {os.environ['RAY_ADDRESS']} ({str(error).splitlines()[0]})") from None
    task = ray.remote(points.measure)
    pending = {task.remote(point): key for key, point in missing.items()}
    try:
        while pending:
            for finished in ray.wait(list(pending))[0]:
                yield pending.pop(finished), ray.get(finished)
    finally:
        ray.shutdown()


def stored(path: Path, point: Point) -> dict | None:
    """The metrics in the file of a finished point; None if there is none, or it is not whole, another point's or not as measured."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder where a file belongs; move it away") from None
    kinds = {name: float for name in METRICS if point.classes != "none" or "accuracy" not in name}
    if "balanced_accuracy" in kinds and not point.weight:
        kinds["balanced_accuracy"] = type(None)  # nothing was taught
    whole = cli.fits(content, {"point": dict, "metrics": kinds}) and content["point"] == asdict(point)
    return content["metrics"] if whole and all(math.isfinite(value or 0) for value in content["metrics"].values()) else None


def sweep(wanted: dict[Key, Point], folder: Path, run: Runner) -> dict[Key, dict]:
    """The metrics of all points. Each is kept in a file of its own, named by its settings, and not computed again."""
    places = {key: folder / f"{hashlib.sha256(json.dumps(asdict(point)).encode()).hexdigest()[:16]}.json" for key, point in wanted.items()}
    results = {key: stored(places[key], point) for key, point in wanted.items()}
    missing = {key: point for key, point in wanted.items() if results[key] is None}
    print(f"{len(wanted) - len(missing)} of {len(wanted)} points are on file in {folder}")
    with contextlib.closing(run(missing)) as computed:
        for key, metrics in computed:
            files.write_json(places[key], {"point": asdict(wanted[key]), "metrics": metrics})
            results[key] = metrics
            numbers = ", ".join(f"{name.replace('_', ' ')} {cell(name, [value])}" for name, value in metrics.items() if value is not None)
            print(f"{key[0]}, seed {key[1]}: {numbers}", flush=True)
    return results


# ---------------------------------------------------------------- what came out


def verdict(low: float, high: float, expected: str) -> str:
    """Of the 95% interval of a difference: supported if all of it is on the expected side of 0, contradicted if on the other."""
    if low <= 0 <= high:
        return "undecided"
    return "supported" if (low > 0) == (expected == "higher") else "contradicted"


def judge(speculation: Speculation, values: dict[str, dict[str, list]]) -> dict:
    """The paired differences over the seeds and the verdict; `values` are lists over the seeds, by setting and metric.

    One contradicted comparison contradicts the speculation, all must be supported to support it.
    """
    comparisons = []
    for comparison in speculation.comparisons:
        ours, reference = (values[setting][comparison.metric] for setting in (comparison.setting, comparison.reference))
        differences = [a - b for a, b in zip(ours, reference)]
        mean, half = baselines.mean_and_interval(differences)
        outcome = {"differences": differences, "mean": mean, "interval": [mean - half, mean + half]}
        comparisons.append({**asdict(comparison), **outcome, "verdict": verdict(mean - half, mean + half, comparison.expected)})
    verdicts = {comparison["verdict"] for comparison in comparisons}
    whole = "contradicted" if "contradicted" in verdicts else "undecided" if "undecided" in verdicts else "supported"
    return {"letter": speculation.letter, "text": speculation.text, "verdict": whole, "comparisons": comparisons}


def finding(judged: dict) -> str:
    """The verdict on a speculation and the numbers behind it."""
    parts = [
        f"{c['metric'].replace('_', ' ').replace('mse', 'MSE')} with {c['setting']} minus {c['reference']} {c['mean']:+.4f}"
        f" (95% interval {c['interval'][0]:+.4f} to {c['interval'][1]:+.4f}; expected {c['expected']}: {c['verdict']})"
        for c in judged["comparisons"]
    ]
    return f"{judged['verdict']}. " + "; ".join(parts)


COLUMNS = {
    "mse": "test MSE", "pca_mse": "PCA", "mean_image_mse": "mean image", "copies_mse": "MSE, augmented copies", "train_mse": "training MSE",
    "balanced_accuracy": "balanced accuracy", "majority_balanced_accuracy": "majority class",
}  # fmt: skip


METRICS = (*COLUMNS, "seconds")  # of a point; accuracies only where there are classes


def cell(name: str, values: list) -> str:
    """Mean and spread over the seeds; empty for what was not taught."""
    if None in values:
        return ""
    digits = 1 if name == "seconds" else 3 if "accuracy" in name else 4
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def table(varied: str, values: dict[str, dict[str, list]]) -> str:
    """A row per setting, as Markdown."""
    columns = [name for name in COLUMNS if any(name in metrics for metrics in values.values())]
    lines = [f"| {varied} | " + " | ".join(COLUMNS[name] for name in columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    for setting, metrics in values.items():
        lines.append(f"| {setting} | " + " | ".join(cell(name, metrics.get(name, [None])) for name in columns) + " |")
    return "\n".join(lines)


def refuse_foreign(path: Path, name: str) -> None:
    """Raise UserError if `path` exists and is not the record of the experiment `name`."""
    if not path.exists():
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("experiment") != name:
        raise UserError(f"{path} is no record of this experiment; move it away, or give another --out")


def main(config: Config) -> dict:
    """Compute what is not on file yet, print, record and draw. Returns the metrics."""
    if config.quick:
        print(f"quick: {QUICK['seeds']} seeds, {QUICK['steps']} steps; these numbers say nothing")
        config = replace(config, seeds=QUICK["seeds"], plots=config.out / "quick")
    folder = config.out / "quick" if config.quick else config.out
    cli.writable(folder, config.plots, config.out / "points")
    refuse_foreign(folder / f"{config.name}.json", config.name)
    with files.locked(config.out):
        for place in (config.plots, config.out / "points"):
            files.sweep(place)
        return carry_out(config, folder)


def carry_out(config: Config, folder: Path) -> dict:
    """Compute, print, draw, and record in `folder`. Returns the metrics."""
    experiment = EXPERIMENTS[config.name]
    source = points.pictures(config.source, "face").source
    changes = {"source": source, **({"steps": QUICK["steps"]} if config.quick else {})}
    settings = {name: replace(point, **changes) for name, point in experiment.settings.items()}
    for point in settings.values():
        points.chosen(point)  # too few emoji are an error now, not in a worker

    wanted = {(name, seed): replace(point, seed=seed) for seed in range(config.seeds) for name, point in settings.items()}
    workers = min(config.workers or os.cpu_count() or 1, len(wanted))
    results = sweep(wanted, config.out / "points", on_ray if config.ray else lambda missing: in_processes(missing, workers))
    values = {
        name: {metric: [results[name, seed][metric] for seed in range(config.seeds)] for metric in results[name, 0]} for name in settings
    }
    judged = [judge(speculation, values) for speculation in experiment.speculations]

    print(table(experiment.varied, values))
    for outcome in judged:
        print(f"{outcome['letter']}, {outcome['text']}: {finding(outcome)}")
    print("figure", figures.experiment(values, experiment.varied, config.plots / f"experiment_{config.name}.png"))
    rows = [
        {
            "setting": name,
            "point": {field: value for field, value in asdict(settings[name]).items() if field != "seed"},
            "values": metrics,
            "mean": {metric: None if None in seeds else float(np.mean(seeds)) for metric, seeds in metrics.items()},
            "spread": {metric: None if None in seeds else float(np.std(seeds, ddof=1)) for metric, seeds in metrics.items()},
        }
        for name, metrics in values.items()
    ]
    about = {"command": " ".join(["python", *sys.argv]), "experiment": config.name, "varied": experiment.varied, "torch": torch.__version__}
    metrics = {**about, "source": source, "quick": config.quick, "seeds": config.seeds, "rows": rows, "speculations": judged}
    files.write_json(folder / f"{config.name}.json", metrics)
    return metrics


if __name__ == "__main__":
    cli.run(main, Config)
