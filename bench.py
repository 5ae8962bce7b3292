"""The side-by-side: our networks against a plain implementation, PCA and the mean image, in error, time and memory.

    python bench.py                # all of one style, 40 minutes to 2 hours on 2 cores
    python bench.py --quick        # some minutes, to see that it works; its numbers mean nothing
    python bench.py --only styles  # added to that record: the best preset with several art styles, about an hour
    python bench.py --only curves  # error against seconds, 5 minutes: that part of the record, and the figure

Every run is a whole process of its own, timed from outside; where time is compared the runs take turns. Then once more
as on a processor with AVX2 alone, without bfloat16, and beside other processes that keep the machine busy.
Art styles need `pip install -r requirements-noto.txt`.
Writes runs/bench/ and plots/bench.png, and prints the tables that the README shows.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Literal

from common import command_line
from common.errors import at_least
from studies.processes import AVX2, BEST, EMOJI, Bench, beside_others

SIZES = (1_000, 10_000, 40_000)  # images, for the throughput


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure errors, seconds, memory and throughput of every method, in one call."""

    seeds: int = 5  # split seeds for unseen emoji, from 0 upwards
    avx2_seeds: int = 3  # the same, on the processor as one with AVX2 alone
    repeats: int = 3  # of each process whose time is compared
    epochs: int = 30  # of the plain implementation and of the report preset
    steps: int = 1800  # of the best preset
    styles_steps: int | None = None  # of the best preset with several art styles; default: its own
    budgets: tuple[float, ...] = (5, 15, 45)  # seconds of training: what less than the best preset's time buys
    quick: bool = False  # two epochs, few steps, one repeat, everything in runs/
    only: Literal["curves", "styles"] | None = None  # make one part of the record; the rest of it stays

    out: Path = Path("runs/bench")  # folder of results.json and of the single runs' records
    plots: Path = Path("plots")  # folder of the figure

    def __post_init__(self):
        at_least(
            1, seeds=self.seeds, avx2_seeds=self.avx2_seeds, repeats=self.repeats, epochs=self.epochs, steps=self.steps
        )
        for seconds in self.budgets or (0,):
            at_least(1, budgets=seconds)


if __name__ == "__main__":
    command_line.answer(Config)  # --help and mistakes: before the imports that take seconds

import torch

import data
from common import charts, files
from lab import presets, records
from lab.mixture import Mixture, Recipe
from lab.options import BestPreset, Preset, ReportPreset
from lab.training import Budget, reconstruction_loss, to_device, train
from studies import art_styles

CPU = torch.device("cpu")


# ---------------------------------------------------------------- what is run


def throughput(size: int, config: Preset, batches: int) -> float:
    """Training images per second with `size` images in memory; every batch is drawn from all of them."""
    shape, random = (size, 3, data.SIZE, data.SIZE), data.generator("throughput", 0)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    part, device = data.Part(images, torch.arange(size)), CPU
    if config.preset == "report":
        stream = presets.endless(data.batches(part, config.batch_size, random))
    else:
        recipe = Recipe(0.0, config.shift, config.mixing)
        stream = Mixture(part, images[:0], recipe, device).batches(config.batch_size, random)
    model = to_device(presets.build(config), device)
    run = model, stream, reconstruction_loss, presets.optimizers(config, model, device)
    train(*run, Budget(steps=2), device, precision=config.precision)  # draws the order of the whole epoch
    started = time.perf_counter()
    train(*run, Budget(steps=batches), device, precision=config.precision)
    return batches * config.batch_size / (time.perf_counter() - started)


def throughputs(repeats: int, batches: int) -> dict[str, list[float]]:
    """By method, medians for each of SIZES; the sizes take turns, so that a slow minute hits them all."""
    best = presets.settled(BestPreset(split="emoji"), CPU)
    settings = {"report preset": (ReportPreset(), batches), "best preset, encoder alone": (best, 2 * batches)}
    rates = {}
    for method, (config, count) in settings.items():
        rounds = [[throughput(size, config, count) for size in SIZES] for _ in range(repeats)]
        rates[method] = [median(column) for column in zip(*rounds)]
    return rates


def in_turns(bench: Bench, config: Config, kinds: dict[str, tuple[str, ...]]) -> dict[str, list[dict]]:
    """Repeats of the plain implementation and of runs with these options, one of each after the other."""
    runs = {name: [] for name in ("plain", *kinds)}
    for repeat in range(config.repeats):
        runs["plain"].append(bench.plain(repeat, config.epochs))
        for name, options in kinds.items():
            runs[name].append(bench.ours(f"{name}-{repeat}", *options))
    return runs


# ---------------------------------------------------------------- what is said of it


def row(method: str, unseen: list[float], order: float | None, runs: list[dict]) -> dict:
    """A row of the table, `order` the MSE in the original's order; times and memory are medians over `runs`."""

    def middle(name: str) -> float | None:
        return median(run[name] for run in runs) if runs else None

    times = {name: middle(name) for name in ("train_seconds", "process_seconds", "peak_mb")}
    return {"method": method, "unseen_mse": unseen, "report_order_mse": order, **times, "images_per_second": None}


def each(runs: list[dict], name: str) -> list[float]:
    return [run[name] for run in runs]


def to_plain(runs: list[dict], plains: list[dict]) -> float:
    """The median ratio of the whole processes' seconds, pair by pair."""
    return median(run["process_seconds"] / plain["process_seconds"] for run, plain in zip(runs, plains))


def ratios_of(unseen: list[dict], turns: dict[str, list[dict]], bests: list[dict]) -> dict:
    """The ratios by which a mode is judged."""
    whole = median(each(turns["plain"], "process_seconds"))
    return {
        "refined to PCA, per seed": [run["refined_mse"] / run["pca_mse"] for run in unseen],
        "encoder alone to PCA, per seed": [run["test_mse"] / run["pca_mse"] for run in unseen],
        "report preset to plain, whole process": to_plain(turns["report"], turns["plain"]),
        "best preset to plain, whole process": median(each(bests, "process_seconds")) / whole,
        "precision of the best preset": unseen[0]["precision"],
    }


def curve(run: dict) -> list[list[float]]:
    """Points (seconds since the process started, test MSE) along a run; its lines count from its record's start."""
    before = run["process_seconds"] - run["seconds"]
    return [[before + line["seconds"], line["val_loss"]] for line in run["lines"]]  # of the test set: studies/curve.py


def table(rows: list[dict]) -> str:
    """The rows as a Markdown table."""
    columns = "method | unseen emoji | original's order | training s | process s | peak MB | images/s at 1k, 10k, 40k"
    lines = [f"| {columns} |", "| --- " * 7 + "|"]
    for entry in rows:
        unseen, order = entry["unseen_mse"], entry["report_order_mse"]
        spread = f" ± {stdev(unseen):.4f}" if len(unseen) > 1 else ""
        times = [entry[name] for name in ("train_seconds", "process_seconds", "peak_mb")]
        cells = [
            entry["method"],
            f"{mean(unseen):.4f}{spread}" if unseen else "",
            "" if order is None else f"{order:.4f}",
            *("" if value is None else f"{value:.0f}" for value in times),
            ", ".join(f"{rate:.0f}" for rate in entry["images_per_second"] or []),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


# ---------------------------------------------------------------- the parts


def as_it_is(config: Config) -> tuple[list[dict], dict]:
    """Rows and ratios on the processor as it is."""
    bench = Bench(config.out)
    epochs, steps = ("--epochs", str(config.epochs)), (*BEST, "--steps", str(config.steps))
    print("original's order, in turns")
    first = (*BEST, "--steps", "1", "--refine-steps", "0")
    kinds = {"report": epochs, "auto": ("--precision", "auto", *epochs), "first": first}
    turns = in_turns(bench, config, kinds)
    best = bench.ours("best", *steps)
    print("unseen emoji")
    seeds = [("--seed", str(seed)) for seed in range(config.seeds)]
    report_unseen = [bench.ours(f"report-unseen-{seed[1]}", *EMOJI, *seed, *epochs) for seed in seeds]
    best_unseen = [bench.ours(f"best-unseen-{seed[1]}", *EMOJI, *seed, *steps) for seed in seeds]
    plain, report, auto = turns["plain"], turns["report"], turns["auto"]
    bests = best_unseen + [best]
    rows = [
        row("mean image", each(report_unseen, "mean_image_mse"), report[0]["mean_image_mse"], []),
        row("PCA-128, on the faces", each(report_unseen, "pca_mse"), report[0]["pca_mse"], []),
        row("PCA-128, on the best preset's images", each(best_unseen, "pca_mse"), best["pca_mse"], []),
        row("plain implementation", [], plain[0]["test_mse"], plain),
        row("report preset", each(report_unseen, "test_mse"), report[0]["test_mse"], report),
        row(f"report preset, {auto[0]['precision']}", [], auto[0]["test_mse"], auto),
        row("best preset, encoder alone", each(best_unseen, "test_mse"), best["test_mse"], bests),
        row("best preset, refined latents", each(best_unseen, "refined_mse"), best["refined_mse"], bests),
    ]
    ratios = ratios_of(best_unseen, turns, bests) | {
        "report preset, auto precision, to plain, whole process": to_plain(auto, plain),
        "below the original's 0.0168, to plain": to_plain(turns["first"], plain),
        "test MSE of those runs": max(each(turns["first"], "test_mse")),
    }
    return rows, ratios


def as_with_avx2(config: Config) -> tuple[list[dict], dict]:
    """Rows and ratios as on a processor with AVX2 alone, without bfloat16."""
    bench = Bench(config.out / "avx2", AVX2)
    epochs, steps = ("--epochs", str(config.epochs)), (*BEST, "--steps", str(config.steps))
    print("original's order, in turns, with AVX2 alone")
    turns = in_turns(bench, config, {"report": epochs})
    print("unseen emoji, with AVX2 alone")
    unseen = [bench.ours(f"best-unseen-{s}", *EMOJI, "--seed", str(s), *steps) for s in range(config.avx2_seeds)]
    rows = [
        row("PCA-128, on the best preset's images", each(unseen, "pca_mse"), None, []),
        row("plain implementation", [], turns["plain"][0]["test_mse"], turns["plain"]),
        row("report preset", [], turns["report"][0]["test_mse"], turns["report"]),
        row("best preset, encoder alone", each(unseen, "test_mse"), None, unseen),
        row("best preset, refined latents", each(unseen, "refined_mse"), None, unseen),
    ]
    return rows, ratios_of(unseen, turns, unseen)


def curves(config: Config) -> dict:
    """Error against seconds on unseen emoji: (seconds since the process started, test MSE) along runs and at the ends
    of smaller budgets, and PCA's test MSEs."""
    print("curves, unseen emoji")
    bench, script = Bench(config.out / "curves"), ("-m", "studies.curve")
    plain = bench.plain(0, config.epochs, "--unseen")
    report = bench.ours("report", *EMOJI, "--epochs", str(config.epochs), script=script)
    best = bench.ours("best", *EMOJI, *BEST, "--steps", str(config.steps), script=script)
    budgets = [bench.ours(f"budget-{s}", *EMOJI, *BEST, "--seconds", str(s), script=script) for s in config.budgets]
    return {
        **machine(),
        "curves": {
            "plain implementation": [list(point) for point in zip(plain["seconds"], plain["mse"])],
            "report preset": curve(report),
            "best preset": curve(best),
        },
        "ends": {"best preset, smaller budgets": [curve(run)[-1] for run in budgets]},
        "pca": {"PCA-128, on the faces": report["pca_mse"], "PCA-128, on the best preset's images": best["pca_mse"]},
    }


def machine() -> dict:
    """What the seconds depend on."""
    return {"processor": records.processor(), "threads": torch.get_num_threads(), "torch": torch.__version__}


def main(config: Config) -> dict:
    """Run everything but art styles, or one part; returns what results.json holds."""
    if config.quick:
        tiny = {"seeds": 2, "avx2_seeds": 2, "repeats": 1, "epochs": 2, "steps": 6, "styles_steps": 6, "budgets": (1,)}
        folders = {"out": config.out / "quick", "plots": config.out / "quick"}
        config = Config(**tiny, quick=True, only=config.only, **folders)
    files.writable(config.out, config.plots)
    with files.locked(config.out):
        path, remedy = config.out / "results.json", "--only adds to the record of a whole run; make that first"
        results = files.read_json(path, remedy) if config.only else measure(config)
        if config.only != "styles":
            results["against_seconds"] = drawn = curves(config)
            files.write_json(path, results)
            figure = config.plots / "bench.png"
            print("figure", charts.error_against_seconds(drawn["curves"], drawn["ends"], drawn["pca"], figure))
        if config.only == "styles":
            art_styles.require()
            its, workers = Bench(config.out / "styles"), torch.get_num_threads()
            found = art_styles.measure(its, config.seeds, config.styles_steps, workers)
            print(*art_styles.lines(found), sep="\n")
            results["styles"] = {**machine(), "precision": presets.settled(BestPreset(), CPU).precision, **found}
            files.write_json(path, results)
    return results


def measure(config: Config) -> dict:
    """Everything but the curves, in the order in which no run disturbs a later one; recorded and printed."""
    rows, ratios = as_it_is(config)
    old_rows, old_ratios = as_with_avx2(config)
    print("beside busy processes")
    others = {} if config.quick else beside_others(Bench(config.out))
    print("throughput")  # last: a process that is started by a large one counts as large itself
    rates = throughputs(config.repeats, 2 if config.quick else 14)
    for entry in rows:
        entry["images_per_second"] = rates.get(entry["method"])
    for title, its_rows, its_ratios in (("as it is", rows, ratios), ("with AVX2 alone", old_rows, old_ratios)):
        print(f"{title}\n{table(its_rows)}")
        for name, value in its_ratios.items():
            print(f"{name}: {', '.join(f'{v:.3f}' for v in value) if isinstance(value, list) else value}")
    for name, seconds in others.items():
        print(f"{name}, beside 0, 1 and 2 busy processes: {', '.join(f'{s:.1f}' for s in seconds)} s")
    results = {**machine(), "quick": config.quick, "rows": rows, "ratios": ratios}
    results |= {"avx2": {"rows": old_rows, "ratios": old_ratios}, "beside_busy_processes": others}
    files.write_json(config.out / "results.json", results)
    return results


if __name__ == "__main__":
    command_line.run(main, Config)
