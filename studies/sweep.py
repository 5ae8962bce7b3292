"""Running many trials, on this machine's cores or a cluster's; what is finished is kept and not computed again."""

import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Callable, Iterator

from common import files
from common.errors import UserError
from studies.findings import cell
from studies.hypotheses import Trial
from studies.verdicts import CURVES, at

Key = tuple[str, int]  # a setting and a seed
Measure = Callable[[Trial], dict]  # a function that processes can be sent by its name
Runner = Callable[[dict[Key, Trial]], Iterator[tuple[Key, dict]]]  # yields each trial's metrics as they come

LISTS = {"steps": tuple[int, ...], **dict.fromkeys(CURVES, tuple[float, ...])}  # of a trial, over its steps
NUMBERS = dict.fromkeys(
    ("pca_mse", "mean_image_mse", "unseen_style_pca_mse", "majority_balanced_accuracy", "seconds"), float
)
PROJECT = Path(__file__).parent.parent


def start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it, even if it was killed."""

    def end_with_parent():
        multiprocessing.parent_process().join()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()


def in_processes(measure: Measure, workers: int, missing: dict[Key, Trial]) -> Iterator[tuple[Key, dict]]:
    """Measure the trials in `workers` processes. A process opens the pictures once, for all its trials."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), start_worker) as pool:
        futures = {pool.submit(measure, trial): key for key, trial in missing.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            kept = "what is finished is kept: run again with fewer --workers"
            raise UserError(f"a worker process died, perhaps of too little memory; {kept}") from None
        except (KeyboardInterrupt, GeneratorExit):
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def on_ray(measure: Measure, missing: dict[Key, Trial]) -> Iterator[tuple[Key, dict]]:
    """Measure the trials on the cores of the cluster that RAY_ADDRESS names; this project's files go with them."""
    # Ray would look for a missing cluster for a quarter of an hour.
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray; pip install -r requirements-ray.txt") from None
    address = os.environ.get("RAY_ADDRESS")
    if address is None:
        needed = "the address of a Ray cluster, or `local` for this machine"
        raise UserError(f"--ray needs the environment variable RAY_ADDRESS, {needed}")
    shipped = {"working_dir": str(PROJECT), "excludes": ["runs", "plots", ".git", ".venv"]}
    try:
        ray.init(runtime_env=shipped, log_to_driver=False, logging_level="warning")
    except (OSError, ValueError) as error:
        raise UserError(f"no Ray cluster answers at {address} ({str(error).splitlines()[0]})") from None
    task = ray.remote(measure)
    pending = {task.remote(trial): key for key, trial in missing.items()}
    try:
        while pending:
            for finished in ray.wait(list(pending))[0]:
                yield pending.pop(finished), ray.get(finished)
    finally:
        ray.shutdown()


def place(folder: Path, trial: Trial) -> Path:
    """The file of a trial in `folder`, named by its settings."""
    return folder / f"{hashlib.sha256(json.dumps(trial.recorded()).encode()).hexdigest()[:16]}.json"


def stored(path: Path, trial: Trial) -> dict | None:
    """The metrics in the file of a finished trial.

    None if there is no file, or it is not whole, another trial's or not as measured. Raises UserError for a folder.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder where a file belongs; move it away") from None
    absent = [*(["accuracy"] if trial.classes == "none" else []), *([] if trial.hold_out_style else ["unseen_style"])]
    kinds = {name: kind for name, kind in (LISTS | NUMBERS).items() if not any(part in name for part in absent)}
    if "balanced_accuracy" in kinds and not trial.weight:
        kinds["balanced_accuracy"] = type(None)  # nothing was taught
    if not files.fits(content, {"trial": dict, "metrics": kinds}) or content["trial"] != json.loads(
        json.dumps(trial.recorded())
    ):
        return None
    metrics = content["metrics"]
    curves = [metrics[name] for name, kind in kinds.items() if kind == LISTS.get(name)]
    whole = metrics["steps"][-1:] == [trial.steps] and len({len(curve) for curve in curves}) == 1
    numbers = [*(metrics[name] for name in kinds if name in NUMBERS), *(number for curve in curves for number in curve)]
    return metrics if whole and all(math.isfinite(number) for number in numbers) else None


def sweep(wanted: dict[Key, Trial], folder: Path, run: Runner) -> dict[Key, dict]:
    """The metrics of all trials. Each is kept in a file of its own, and not computed again. Raises UserError."""
    places = {key: place(folder, trial) for key, trial in wanted.items()}
    results = {key: stored(places[key], trial) for key, trial in wanted.items()}
    missing = {key: trial for key, trial in wanted.items() if results[key] is None}
    print(f"{len(wanted) - len(missing)} of {len(wanted)} trials are on file in {folder}")
    with contextlib.closing(run(missing)) as computed:
        for key, metrics in computed:
            files.write_json(places[key], {"trial": wanted[key].recorded(), "metrics": metrics})
            results[key] = metrics
            known = {name: value for name, value in at(metrics, wanted[key].steps).items() if value is not None}
            numbers = ", ".join(f"{name.replace('_', ' ')} {cell(name, [value])}" for name, value in known.items())
            print(f"{key[0]}, seed {key[1]}: {numbers}", flush=True)
    return results
