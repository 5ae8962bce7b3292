"""Whole processes, timed from outside: our scripts, the plain implementation, and others that keep the machine busy."""

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Iterator

from common.errors import UserError

HERE = Path(__file__).parent.parent
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}  # makes a newer processor behave like an old one
EMOJI, BEST = ("--split", "emoji"), ("--preset", "best")  # options of autoencoder.py


def process(*arguments: str, environment: dict[str, str] | None = None) -> dict[str, float]:
    """Run a Python script as a process of its own: its wall-clock seconds and its peak memory in MB.

    Raises UserError, after its last lines are printed, if it fails.
    """
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *arguments], cwd=HERE, env=os.environ | (environment or {}),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
    )  # fmt: skip
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) != 0:
        print(output[-2000:])
        raise UserError(f"{' '.join(arguments)} failed; what it said last is above")
    peak = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    return {"process_seconds": seconds, "peak_mb": peak}


@dataclass(frozen=True)
class Bench:
    """Where runs leave their records, and the environment in which they are made."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def ours(self, name: str, *options: str, script: tuple[str, ...] = ("autoencoder.py",)) -> dict:
        """A run of autoencoder.py, or of another script like it: its metrics, its lines, and how the process went."""
        folder = (self.folder / name).resolve()
        where = ("--source", "twemoji", "--out", str(folder), "--plots", str(folder), "--overwrite")
        went = process(*script, *where, *options, environment=self.environment)
        print(f"  {name}: {went['process_seconds']:.1f} s", flush=True)
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        return {**metrics, **went, "lines": [json.loads(line) for line in lines]}

    def plain(self, repeat: int, epochs: int, *options: str) -> dict:
        """A run of the plain implementation."""
        self.folder.mkdir(parents=True, exist_ok=True)
        result = (self.folder / f"plain-{repeat}.json").resolve()
        arguments = ("bench/plain.py", str(result), "--epochs", str(epochs), *options)
        went = process(*arguments, environment=self.environment)
        print(f"  plain-{repeat}: {went['process_seconds']:.1f} s", flush=True)
        return {**json.loads(result.read_text(encoding="utf-8")), **went}


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """The machine with `count` processes on it that do nothing but compute."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def beside_others(bench: Bench) -> dict[str, list[float]]:
    """Seconds of short whole processes beside none, one and two busy processes: medians of three, in turns."""
    short = {
        "report preset, 5 epochs": ("--epochs", "5"),
        "best preset, 60 steps": (*BEST, "--steps", "60", "--refine-steps", "0"),
    }
    seconds = {name: [[], [], []] for name in short}
    for _ in range(3):
        for count in range(3):
            with busy(count):
                for name, options in short.items():
                    went = bench.ours(f"busy-{count}-{options[-1]}", *options)
                    seconds[name][count].append(went["process_seconds"])
    return {name: [median(laps) for laps in columns] for name, columns in seconds.items()}
