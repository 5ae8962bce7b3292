"""In which numbers a network is trained: float32, or bfloat16 where the processor computes in it."""

import time
from dataclasses import replace
from functools import lru_cache
from typing import get_args

import torch

from common.threads import one_torch_thread
from lab.options import Precision


@lru_cache(maxsize=1)
@one_torch_thread()
def native_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32: measured, in a few hundredths of a second.

    One that lacks it needs a hundred times as long, so the seconds of one thread decide, however busy the machine is.
    What the processor says of itself would not do: `ONEDNN_MAX_CPU_ISA=AVX2` makes a new one behave like an old one.
    """
    seconds = {}
    for kind in (torch.float32, torch.bfloat16):
        matrix = torch.ones(192, 192, dtype=kind)
        laps = []
        for _ in range(4):
            started = time.thread_time()
            matrix @ matrix
            laps.append(time.thread_time() - started)
        seconds[kind] = min(laps[1:])
    return seconds[torch.bfloat16] < 0.8 * seconds[torch.float32]


def is_native(device: torch.device) -> bool:
    """Whether `device` computes in bfloat16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and native_bfloat16()


def settled(config, device: torch.device, recorded: str | None = None):
    """`config` with its precision decided. Says so where it will be slow.

    A run that is resumed keeps the precision that its record names, `recorded`.
    """
    if config.precision == "auto":
        chosen = recorded if recorded in get_args(Precision)[1:] else "bfloat16" if is_native(device) else "float32"
        config = replace(config, precision=chosen)
    if config.precision == "bfloat16" and not is_native(device):
        goes_on = "this run was started in bfloat16 and keeps it" if recorded else "--precision bfloat16"
        print(f"{goes_on}: this machine only imitates bfloat16, so expect ten times the time of float32")
    return config


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which the layers of a network compute in `precision`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
