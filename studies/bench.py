"""Seconds and memory side by side: the plain implementation and our two presets, in the coursework's order.

    python -m studies.bench                # ten minutes on 2 cores

Every run is a process of its own, timed from outside, and the runs take turns: leave the machine alone. Needs Linux or
macOS. Writes runs/bench/: results.json, and a folder per run."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lab import cli, runs
from lab.cli import UserError

PROJECT = Path(__file__).parent.parent
TIMES = ("train_seconds", "process_seconds", "peak_mb")
ERRORS = ("test_mse", "refined_mse", "pca_mse", "mean_image_mse")
MACHINE = ("processor", "threads", "versions")  # of a run's record


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure the seconds and the memory of a plain implementation and of both presets."""

    repeats: int = 3  # runs of each; the record has their medians
    epochs: int = 30  # of the plain implementation and of the coursework preset
    steps: int = 1800  # of the best preset
    out: Path = Path("runs/bench")  # folder of results.json and of the runs

    def __post_init__(self):
        cli.require_range(1, 10**6, repeats=self.repeats, epochs=self.epochs, steps=self.steps)


def run_process(*arguments: str) -> dict[str, float]:
    """Run Python: its wall-clock seconds and peak memory in MB. Raises UserError if it fails, after printing why."""
    started, output = time.perf_counter(), {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    child = subprocess.Popen([sys.executable, *arguments], cwd=PROJECT, errors="replace", **output)
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    if status != 0:
        print(printed[-2000:])
        raise UserError(f"{' '.join(arguments)} failed; the end of its output is above")
    print(f"  {seconds:.1f} s: {' '.join(arguments)}", flush=True)
    return {"process_seconds": seconds, "peak_mb": usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)}


def run_preset(folder: Path, *options: str) -> dict:
    """A run of Part 1: its metrics, its machine, seconds and memory."""
    timing = run_process("autoencoder.py", "--out", str(folder), "--plots", str(folder), "--overwrite", *options)
    metrics, about = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (runs.METRICS, runs.RUN))
    *_, last = (folder / runs.LOG).read_text(encoding="utf-8").splitlines()
    return metrics | timing | {"train_seconds": json.loads(last)["seconds"], **{name: about[name] for name in MACHINE}}


def run_plain(folder: Path, *options: str) -> dict:
    """A run of the plain implementation: its result, seconds and memory."""
    timing = run_process("-m", "studies.plain", f"{folder}.json", *options)
    return {**json.loads(Path(f"{folder}.json").read_text(encoding="utf-8")), **timing}


def main(config: Config) -> dict:
    """Run the methods in turns, and print and record their medians. Returns what results.json holds."""
    epochs, steps = ("--epochs", str(config.epochs)), ("--preset", "best", "--steps", str(config.steps))
    config.out.mkdir(parents=True, exist_ok=True)
    ways = {"plain": (run_plain, epochs), "coursework": (run_preset, epochs), "best": (run_preset, steps)}
    made = {name: [] for name in ways}
    for i in range(config.repeats):
        for name, (run, options) in ways.items():
            made[name].append(run((config.out / f"{name}-{i}").resolve(), *options))
    methods = {
        name: {error: same[0][error] for error in ERRORS if error in same[0]}
        | {key: median(run[key] for run in same) for key in TIMES}
        for name, same in made.items()
    }
    machine = {name: made["best"][0][name] for name in (*MACHINE, "precision")}
    results = {"command": runs.command_line(), "config": {"repeats": config.repeats}, **machine, "methods": methods}
    print(json.dumps(results, indent=1))
    runs.write_json(config.out / "results.json", results)
    return results


if __name__ == "__main__":
    cli.run(main, Config)
