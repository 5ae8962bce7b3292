"""The side by side: our presets against a plain implementation, PCA and the mean image, in error, time and memory.

    python -m studies.bench                # all of one style, about an hour on 2 cores
    python -m studies.bench --styles       # add to its record: several styles in training; about an hour

Every run is a process of its own, timed from outside; where times are compared, the runs take turns: leave the machine
alone. Needs Linux or macOS, and for styles `pip install -r requirements-noto.txt`. Writes runs/bench/: results.json,
and a folder per run."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lab import cli, runs
from lab.cli import UserError
from lab.sources import STYLES, rows_of

PROJECT = Path(__file__).parent.parent
TIMES = ("train_seconds", "process_seconds", "peak_mb")
STYLE_ERRORS = ("test_mse", "refined_mse", "pca_mse")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure the errors, seconds and memory of every method, in one call."""

    seeds: int = 5  # split seeds for unseen emoji, from 0 upwards
    repeats: int = 3  # of each process whose time is compared
    epochs: int = 30  # of the plain implementation and of the coursework preset
    steps: int | None = None  # of the best preset; default: its own
    styles: bool = False  # measure several styles in training, and leave the rest of the record as it is
    out: Path = Path("runs/bench")  # folder of results.json and of the runs

    def __post_init__(self):
        cli.require_range(1, 10**6, seeds=self.seeds, repeats=self.repeats, epochs=self.epochs, steps=self.steps)

    @property
    def best(self) -> list[str]:
        """Options of the best preset."""
        return ["--preset", "best", *(["--steps", str(self.steps)] if self.steps else [])]


def run_process(*arguments: str, threads: int | None = None) -> dict[str, float]:
    """Run Python: its wall-clock seconds and peak memory in MB. Raises UserError if it fails, after printing why."""
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    started, output = time.perf_counter(), {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    child = subprocess.Popen([sys.executable, *arguments], cwd=PROJECT, env=environment, errors="replace", **output)
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    if status != 0:
        print(printed[-2000:])
        raise UserError(f"{' '.join(arguments)} failed; the end of its output is above")
    print(f"  {seconds:.1f} s: {' '.join(arguments)}", flush=True)
    return {"process_seconds": seconds, "peak_mb": usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)}


def run_ours(config: Config, name: str, *options: str, threads: int | None = None) -> dict:
    """A run of Part 1: its metrics, its machine, seconds and memory."""
    folder = str((config.out / name).resolve())
    where = ("--out", folder, "--plots", folder, "--overwrite")
    timing = run_process("autoencoder.py", *where, *options, threads=threads)
    metrics, about = (json.loads(Path(folder, file).read_text(encoding="utf-8")) for file in (runs.METRICS, runs.RUN))
    *_, last = Path(folder, runs.LOG).read_text(encoding="utf-8").splitlines()
    machine = {"processor": about["processor"], "threads": about["threads"], "torch": about["versions"]["torch"]}
    machine["precision"] = metrics["precision"]
    return {**metrics, **timing, "train_seconds": json.loads(last)["seconds"], "machine": machine}


def run_plain(config: Config, name: str) -> dict:
    """A run of the plain implementation: its result, seconds and memory."""
    result = (config.out / f"{name}.json").resolve()
    timing = run_process("-m", "studies.plain", str(result), "--epochs", str(config.epochs))
    return {**json.loads(result.read_text(encoding="utf-8")), **timing}


def measure(config: Config) -> dict:
    """The rows and ratios, and the machine that they were measured on."""
    epochs, network = ("--epochs", str(config.epochs)), ("--network", "convolutional")
    plain, coursework, best, unseen, unseen_network, unseen_best = ([] for _ in range(6))
    for i in range(config.repeats):
        plain.append(run_plain(config, f"plain-{i}"))
        coursework.append(run_ours(config, f"coursework-{i}", *epochs))
        best.append(run_ours(config, f"best-{i}", *config.best))
    leaky_network = run_ours(config, "network", *config.best, *network)
    for seed in range(config.seeds):
        fold = ("--split", "unseen", "--seed", str(seed))
        unseen.append(run_ours(config, f"coursework-unseen-{seed}", *fold, *epochs))
        unseen_network.append(run_ours(config, f"network-unseen-{seed}", *fold, *config.best, *network))
        unseen_best.append(run_ours(config, f"best-unseen-{seed}", *fold, *config.best))
    rows = []
    for method, error, tested, own, timed in (
        ("mean image", "mean_image_mse", unseen, coursework[0], []),
        ("PCA-128, on the faces", "pca_mse", unseen, coursework[0], []),
        ("PCA-128, on the best preset's images", "pca_mse", unseen_best, best[0], []),
        ("plain implementation", "test_mse", [], plain[0], plain),
        ("coursework preset", "test_mse", unseen, coursework[0], coursework),
        ("coursework's network, trained as the best preset", "test_mse", unseen_network, leaky_network, []),
        ("best preset, encoder alone", "test_mse", unseen_best, best[0], best),
        ("best preset, refined latents", "refined_mse", unseen_best, best[0], best),
    ):
        errors = {"unseen_mse": [run[error] for run in tested], "coursework_mse": own[error]}
        times = {name: median(run[name] for run in timed) if timed else None for name in TIMES}
        rows.append({"method": method, **errors, **times})
    ratios = {
        "refined to PCA, per seed": [run["refined_mse"] / run["pca_mse"] for run in unseen_best],
        "encoder alone to PCA, per seed": [run["test_mse"] / run["pca_mse"] for run in unseen_best],
    }
    return {**best[0]["machine"], "rows": rows, "ratios": ratios}


def measure_styles(config: Config) -> dict:
    """Errors on unseen emoji by style: with all styles in training, over the seeds; and with that one never seen."""
    options = {f"styles-{seed}": ("--also", *STYLES[1:], "--seed", str(seed)) for seed in range(config.seeds)}
    for style in STYLES:
        rows_of(style)  # a missing package is an error now, and drawings are rendered once for all runs
        source, *also = (other for other in STYLES if other != style)
        options[f"without-{style}"] = ("--source", source, "--also", *also, "--hold-out-style", style)
    shared = ("--split", "unseen", *config.best)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # no times are compared: side by side, one thread each
        made = pool.map(lambda name: run_ours(config, name, *shared, *options[name], threads=1), options)
        found = dict(zip(options, made))
    results = {**found["styles-0"]["machine"], "in_training": {}, "never_seen": {}}
    for style in STYLES:
        unseen = found[f"without-{style}"]["styles"][style]
        seen = [found[f"styles-{seed}"]["styles"][style] for seed in range(config.seeds)]
        results["never_seen"][style] = {name: unseen[name] for name in STYLE_ERRORS}
        results["in_training"][style] = {name: [errors[name] for errors in seen] for name in STYLE_ERRORS}
    return results


def main(config: Config) -> dict:
    """Measure everything except styles, or these, and print it. Returns what results.json holds."""
    config.out.mkdir(parents=True, exist_ok=True)
    path, remedy = config.out / "results.json", "--styles adds to the record of a whole run; make that first"
    results = runs.read_json(path, remedy) if config.styles or path.exists() else {}
    measured = {"styles": measure_styles(config)} if config.styles else measure(config)
    print(json.dumps(measured, indent=1))
    runs.write_json(path, results := results | measured)
    return results


if __name__ == "__main__":
    cli.run(main, Config)
