"""The side-by-side: our networks against a plain implementation, PCA and the mean image, in error, time and memory.

    python bench.py                # everything, about 35 minutes on 2 cores
    python bench.py --quick        # a minute, to see that it works; its numbers mean nothing

Every run is a whole process of its own, timed from outside; where time is compared the runs take turns.
Writes bench/results.json and plots/bench.png, and prints the table that the README shows.
"""

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev

import torch

import autoencoder
import best
import cli
import data
import figures
import files
import training

HERE = Path(__file__).parent
REPORTED = 0.0168  # the report's test MSE
SIZES = (1_000, 10_000, 40_000)  # images, for the throughput


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure errors, seconds, memory and throughput of every method, in one call."""

    seeds: int = 5  # split seeds for unseen emoji, from 0 upwards
    repeats: int = 3  # of each process whose time is compared
    epochs: int = 30  # of the plain implementation and of the report preset
    steps: int = 1800  # of the best preset
    budgets: tuple[float, ...] = (5, 15, 45)  # seconds of training: what less than the best preset's time buys
    quick: bool = False  # two epochs, few steps, one repeat

    out: Path = HERE / "bench"  # folder of results.json
    runs: Path = Path("runs/bench")  # folder of the single runs' records
    plots: Path = Path("plots")  # folder of the figure

    def __post_init__(self):
        cli.at_least(1, seeds=self.seeds, repeats=self.repeats, epochs=self.epochs, steps=self.steps)
        for seconds in self.budgets or (0,):
            cli.at_least(1, budgets=seconds)


def process(*arguments: str) -> dict[str, float]:
    """Run a Python script as a process of its own: its wall-clock seconds and its peak memory in MB."""
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, *arguments], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{output[-2000:]}")
    peak = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    return {"process_seconds": seconds, "peak_mb": peak}


def ours(config: Config, name: str, *options: str) -> dict:
    """A run of autoencoder.py: its metrics, its lines, and how the process went."""
    folder = (config.runs / name).resolve()
    went = process("autoencoder.py", "--source", "twemoji", "--out", str(folder), "--plots", str(folder), "--overwrite", *options)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    print(f"  {name}: {went['process_seconds']:.1f} s", flush=True)
    return {**json.loads((folder / "metrics.json").read_text(encoding="utf-8")), **went, "lines": lines}


def plain(config: Config, repeat: int) -> dict:
    """A run of the plain implementation."""
    result = (config.runs / f"plain-{repeat}.json").resolve()
    went = process("bench/plain.py", str(result), "--epochs", str(config.epochs))
    print(f"  plain-{repeat}: {went['process_seconds']:.1f} s", flush=True)
    return {**json.loads(result.read_text(encoding="utf-8")), **went}


def throughput(size: int, preset: str, batches: int) -> float:
    """Training images per second with `size` images in memory; every batch is drawn from all of them."""
    images = torch.randint(0, 256, (size, 3, data.SIZE, data.SIZE), dtype=torch.uint8, generator=data.generator("throughput", 0))
    part, device = data.Part(images, torch.arange(size)), torch.device("cpu")
    if preset == "report":
        model = training.to_device(autoencoder.ConvAutoencoder(), device)
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        loader = iter(data.batches(part, 64, data.generator("order", 0)))
        first = [next(loader) for _ in range(1)]  # draws the order of the whole epoch
        training.one_pass(model, first, autoencoder.reconstruction_loss, device, optimizer)
        started = time.perf_counter()
        training.one_pass(model, (next(loader) for _ in range(batches)), autoencoder.reconstruction_loss, device, optimizer)
        return batches * 64 / (time.perf_counter() - started)
    model = training.to_device(best.ResidualAutoencoder(), device)
    diet = best.Diet(part, images[:0], best.RECIPES["emoji"], device)

    class Budget:
        seed, steps, seconds = 0, 2, None

    best.fit(model, diet, autoencoder.reconstruction_loss, Budget, device, lambda step, means: None)
    Budget.steps = 2 * batches
    started = time.perf_counter()
    best.fit(model, diet, autoencoder.reconstruction_loss, Budget, device, lambda step, means: None)
    return 2 * batches * best.BATCH_SIZE / (time.perf_counter() - started)


def throughputs(repeats: int, batches: int) -> dict[str, list[float]]:
    """Medians for each of SIZES; the sizes take turns, so that a slow minute of the machine hits them all."""
    measured = {preset: [[throughput(size, preset, batches) for size in SIZES] for _ in range(repeats)] for preset in ("report", "best")}
    return {preset: [median(column) for column in zip(*rounds)] for preset, rounds in measured.items()}


def row(method: str, unseen: list[float], report_order: float, runs: list[dict], rates: list[float] | None = None) -> dict:
    """A row of the table; times and memory are medians over `runs`."""

    def middle(name: str) -> float | None:
        return median(run[name] for run in runs) if runs else None

    times = {name: middle(name) for name in ("train_seconds", "process_seconds", "peak_mb")}
    return {"method": method, "unseen_mse": unseen, "report_order_mse": report_order, **times, "images_per_second": rates}


def curve(run: dict) -> list[tuple[float, float]]:
    """(seconds since the process started, validation MSE) along one of our runs; its lines count from its record's start."""
    before = run["process_seconds"] - run["seconds"]
    return [(before + line["seconds"], line["val_loss"]) for line in run["lines"]]


def main(config: Config) -> dict:
    """Run everything; returns what results.json holds."""
    if config.quick:
        config = Config(seeds=2, repeats=1, epochs=2, steps=6, budgets=(1,), out=config.runs, runs=config.runs, plots=config.runs)
    cli.writable(config.out, config.runs, config.plots)
    epochs, steps = ("--epochs", str(config.epochs)), ("--preset", "best", "--steps", str(config.steps))

    print("report's order, in turns")
    plains, reports, halves, firsts = [], [], [], []
    for repeat in range(config.repeats):
        plains.append(plain(config, repeat))
        reports.append(ours(config, f"report-{repeat}", *epochs))
        halves.append(ours(config, f"bfloat16-{repeat}", "--precision", "bfloat16", *epochs))
        firsts.append(ours(config, f"first-{repeat}", "--preset", "best", "--steps", "1", "--refine-steps", "0"))
    bests = [ours(config, "best-0", *steps)]

    print("unseen emoji")
    report_unseen = [ours(config, f"report-unseen-{seed}", "--split", "emoji", "--seed", str(seed), *epochs) for seed in range(config.seeds)]
    best_unseen = [ours(config, f"best-unseen-{seed}", "--split", "emoji", "--seed", str(seed), *steps) for seed in range(config.seeds)]
    print("what a budget buys")
    budgets = [ours(config, f"budget-{seconds}", "--split", "emoji", "--preset", "best", "--seconds", str(seconds)) for seconds in config.budgets]
    print("throughput")
    rates = throughputs(config.repeats, 2 if config.quick else 14)

    def each(runs: list[dict], name: str) -> list[float]:
        return [run[name] for run in runs]

    rows = [
        row("mean image", each(report_unseen, "mean_image_mse"), reports[0]["mean_image_mse"], []),
        row("PCA-128, on the faces", each(report_unseen, "pca_mse"), reports[0]["pca_mse"], []),
        row("PCA-128, on the best preset's images", each(best_unseen, "pca_mse"), bests[0]["pca_mse"], []),
        row("plain implementation", [], plains[0]["test_mse"], plains),
        row("report preset", each(report_unseen, "test_mse"), reports[0]["test_mse"], reports, rates["report"]),
        row("report preset, bfloat16", [], halves[0]["test_mse"], halves),
        row("best preset, encoder alone", each(best_unseen, "test_mse"), bests[0]["test_mse"], bests + best_unseen, rates["best"]),
        row("best preset, refined latents", each(best_unseen, "refined_mse"), bests[0]["refined_mse"], bests + best_unseen),
    ]
    refined = [run["refined_mse"] / run["pca_mse"] for run in best_unseen]
    alone = [run["test_mse"] / run["pca_mse"] for run in best_unseen]
    whole = median(each(plains, "process_seconds"))
    ratios = {
        "refined to PCA, per seed": refined,
        "encoder alone to PCA, per seed": alone,
        "report preset to plain, whole process": median(r["process_seconds"] / p["process_seconds"] for r, p in zip(reports, plains)),
        "report preset in bfloat16 to plain, whole process": median(h["process_seconds"] / p["process_seconds"] for h, p in zip(halves, plains)),
        "below the report's 0.0168, to plain": median(f["process_seconds"] / p["process_seconds"] for f, p in zip(firsts, plains)),
        "test MSE of those runs": max(each(firsts, "test_mse")),
        "best preset to plain, whole process": median(each(bests + best_unseen, "process_seconds")) / whole,
    }
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    results = {"machine": machine, "quick": config.quick, "rows": rows, "ratios": ratios}
    files.write_json(config.out / "results.json", results)
    print(table(rows))
    for name, value in ratios.items():
        print(f"{name}: {', '.join(f'{v:.3f}' for v in value) if isinstance(value, list) else f'{value:.4f}'}")

    curves = {
        "plain implementation, report's order": list(zip(plains[0]["seconds"], plains[0]["val_mse"])),
        "report preset, report's order": curve(reports[0]),
        "report preset, unseen emoji": curve(report_unseen[0]),
        "best preset, unseen emoji": curve(best_unseen[0]),
    }
    ends = [curve(run)[-1] for run in budgets]
    pca = {"PCA-128, unseen emoji": best_unseen[0]["pca_mse"]}
    print("figure", figures.error_against_seconds(curves, {"best preset, smaller budgets": ends}, pca, config.plots / "bench.png"))
    return results


def table(rows: list[dict]) -> str:
    """The rows as a Markdown table."""
    lines = ["| method | unseen emoji | report's order | training s | process s | peak MB | images/s at 1k, 10k, 40k |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for entry in rows:
        unseen = entry["unseen_mse"]
        spread = f" ± {stdev(unseen):.4f}" if len(unseen) > 1 else ""
        cells = [
            entry["method"],
            f"{mean(unseen):.4f}{spread}" if unseen else "",
            f"{entry['report_order_mse']:.4f}",
            *("" if entry[name] is None else f"{entry[name]:.0f}" for name in ("train_seconds", "process_seconds", "peak_mb")),
            ", ".join(f"{rate:.0f}" for rate in entry["images_per_second"] or []),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main, Config)
