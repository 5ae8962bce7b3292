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
UNSEEN, BEST = ("--split", "unseen"), ("--preset", "best")
TIMES = ("train_seconds", "process_seconds", "peak_mb")
STYLE_ERRORS = ("test_mse", "refined_mse", "pca_mse")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure the errors, seconds and memory of every method, in one call."""

    seeds: int = 5  # split seeds for unseen emoji, from 0 upwards
    repeats: int = 3  # of each process whose time is compared
    epochs: int = 30  # of the plain implementation and of the coursework preset
    steps: int = 1800  # of the best preset
    style_steps: int | None = None  # of the best preset with several styles; default: its own
    styles: bool = False  # measure several styles in training, and leave the rest of the record as it is
    out: Path = Path("runs/bench")  # folder of results.json and of the runs

    def __post_init__(self):
        cli.require_range(1, 10**6, seeds=self.seeds, repeats=self.repeats, epochs=self.epochs, steps=self.steps)
        cli.require_range(1, 10**6, style_steps=self.style_steps)


def run_process(config: Config, name: str, *arguments: str, threads: int | None = None) -> dict[str, float]:
    """Run Python: its wall-clock seconds and peak memory in MB. Raises UserError if it fails, after printing why."""
    environment = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *arguments], cwd=PROJECT, env=os.environ | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
    )  # fmt: skip
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) != 0:
        print(output[-2000:])
        raise UserError(f"{' '.join(arguments)} failed; the end of its output is above")
    print(f"  {name}: {seconds:.1f} s", flush=True)
    return {"process_seconds": seconds, "peak_mb": usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)}


def run_ours(config: Config, name: str, *options: str, threads: int | None = None) -> dict:
    """A run of Part 1: its metrics, its machine, seconds and memory."""
    folder = (config.out / name).resolve()
    where = ("--out", str(folder), "--plots", str(folder), "--overwrite")
    timing = run_process(config, name, "autoencoder.py", *where, *options, threads=threads)
    metrics, about = (json.loads((folder / file).read_text(encoding="utf-8")) for file in (runs.METRICS, runs.RUN))
    *_, last = (folder / runs.LOG).read_text(encoding="utf-8").splitlines()
    machine = {"processor": about["processor"], "threads": about["threads"], "torch": about["versions"]["torch"]}
    return {**metrics, **timing, "train_seconds": json.loads(last)["seconds"], "machine": machine}


def run_plain(config: Config, name: str) -> dict:
    """A run of the plain implementation: its result, seconds and memory."""
    result = (config.out / f"{name}.json").resolve()
    timing = run_process(config, name, "-m", "studies.plain", str(result), "--epochs", str(config.epochs))
    return {**json.loads(result.read_text(encoding="utf-8")), **timing}


def values(group: list[dict], name: str) -> list[float]:
    return [run[name] for run in group]


def row(method: str, error: str, unseen: list[dict], coursework: dict | None, timed: list[dict]) -> dict:
    """A row of the table: this error of runs in both splits, and medians of times and memory over the `timed` runs."""
    times = {name: median(values(timed, name)) if timed else None for name in TIMES}
    errors = {"unseen_mse": values(unseen, error), "coursework_mse": coursework and coursework[error]}
    return {"method": method, **errors, **times}


def measure(config: Config) -> dict:
    """The rows and ratios, and the machine that they were measured on. Prints them."""
    epochs, steps = ("--epochs", str(config.epochs)), (*BEST, "--steps", str(config.steps))
    plain, coursework = [], []
    for i in range(config.repeats):
        plain.append(run_plain(config, f"plain-{i}"))
        coursework.append(run_ours(config, f"coursework-{i}", *epochs))
    best = run_ours(config, "best", *steps)
    seeds = [(str(seed), *UNSEEN, "--seed", str(seed)) for seed in range(config.seeds)]
    kinds = {"coursework": epochs, "convolutional": (*steps, "--network", "convolutional"), "best": steps}
    unseen = {kind: [run_ours(config, f"{kind}-unseen-{seed}", *how, *options) for seed, *how in seeds]
              for kind, options in kinds.items()}  # fmt: skip
    bests = [best, *unseen["best"]]
    rows = [
        row("mean image", "mean_image_mse", unseen["coursework"], coursework[0], []),
        row("PCA-128, on the faces", "pca_mse", unseen["coursework"], coursework[0], []),
        row("PCA-128, on the best preset's images", "pca_mse", unseen["best"], best, []),
        row("plain implementation", "test_mse", [], plain[0], plain),
        row("coursework preset", "test_mse", unseen["coursework"], coursework[0], coursework),
        row("coursework's network, trained as the best preset", "test_mse", unseen["convolutional"], None, []),
        row("best preset, encoder alone", "test_mse", unseen["best"], best, bests),
        row("best preset, refined latents", "refined_mse", unseen["best"], best, bests),
    ]
    ratios = {
        "refined to PCA, per seed": [run["refined_mse"] / run["pca_mse"] for run in unseen["best"]],
        "encoder alone to PCA, per seed": [run["test_mse"] / run["pca_mse"] for run in unseen["best"]],
        "precision of the best preset": best["precision"],
    }
    print(*rows, *(f"{name}: {value}" for name, value in ratios.items()), sep="\n")
    return {**best["machine"], "rows": rows, "ratios": ratios}


def measure_styles(config: Config) -> dict:
    """Errors on unseen emoji by style: with all styles in training, over the seeds; and with that one never seen."""
    options = {f"styles-{seed}": ("--also", *STYLES[1:], "--seed", str(seed)) for seed in range(config.seeds)}
    for style in STYLES:
        rows_of(style)  # a missing package is an error now, and drawings are rendered once for all runs
        source, *also = (other for other in STYLES if other != style)
        options[f"without-{style}"] = ("--source", source, "--also", *also, "--hold-out-style", style)
    shared = (*UNSEEN, *BEST, *(("--steps", str(config.style_steps)) if config.style_steps else ()))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # no times are compared: side by side, one thread each
        made = pool.map(lambda name: run_ours(config, name, *shared, *options[name], threads=1), options)
        found = dict(zip(options, made))
    in_training, never_seen = {}, {}
    for style in STYLES:
        seen = [found[f"styles-{seed}"]["styles"][style] for seed in range(config.seeds)]
        unseen = found[f"without-{style}"]["styles"][style]
        in_training[style] = {name: values(seen, name) for name in STYLE_ERRORS}
        never_seen[style] = {name: unseen[name] for name in STYLE_ERRORS}
        for where, errors in (("in training", seen), ("never seen", [unseen])):
            parts = ", ".join(f"{each['refined_mse'] / each['pca_mse']:.2f}" for each in errors)
            print(f"{style}, {where}: {parts} of PCA's error, with refined latents")
    about = {**found["styles-0"]["machine"], "precision": found["styles-0"]["precision"]}
    return {**about, "in_training": in_training, "never_seen": never_seen}


def main(config: Config) -> dict:
    """Measure everything except styles, or these. Returns what results.json holds."""
    config.out.mkdir(parents=True, exist_ok=True)
    path, remedy = config.out / "results.json", "--styles adds to the record of a whole run; make that first"
    results = runs.read_json(path, remedy) if config.styles or path.exists() else {}
    results |= {"styles": measure_styles(config)} if config.styles else measure(config)
    runs.write_json(path, results)
    return results


if __name__ == "__main__":
    cli.run(main, Config)
