"""A training's state in a file, from which a killed run goes on, bit for bit as if nothing had happened.

Only tensors and JSON, as safetensors: never a pickle.
"""

import copy
import json
import time
import zlib
from typing import Callable, Sequence

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from common import files
from common.errors import UserError

SAVING_TIME = 0.01  # the part of the time, at most, that is spent on saving


def checksum(tensors: dict[str, torch.Tensor], training: dict) -> int:
    value = zlib.crc32(json.dumps(training, sort_keys=True).encode())
    for name in sorted(tensors):
        value = zlib.crc32(tensors[name].numpy(), value)
    return value


class Checkpoint:
    """The file of one training. `history` are the training's rows so far, those of a killed process included."""

    def __init__(self, record, run: dict | None, show: Callable[[dict], None]):
        """`record` is a lab.records.Record. `run` tells apart the trainings of a script that makes many, not shown."""
        self.record, self.history, self.show = record, [], show if not run else lambda row: None
        self.run, self.path, self.about = run or {}, record.checkpoint_path(run), record.about(run)
        self.due = 0.0

    def add(self, row: dict) -> None:
        """Record and show a row."""
        self.history.append(self.record.add({**self.run, **row}))
        self.show(self.history[-1])

    def restore(
        self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], generators: Sequence[torch.Generator],
        progress: dict | None = None,
    ) -> dict:  # fmt: skip
        """Name what is saved from now on, and set it to the state of a killed process if there is one.

        Returns the progress saved with it, of the names and kinds of `progress`, or else that. Raises UserError, before
        anything is changed, for a damaged file, another run's, or one whose tensors are not those of the training.
        """
        self.parts, progress = (model, optimizers, generators), progress or {}
        if not self.path.exists():
            return progress
        try:
            tensors, training = self.read({name: type(value) for name, value in progress.items()})
            check(tensors, model, *([], []) if training["finished"] else (optimizers, generators))
            for row in training["history"]:
                self.show(row)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{self.path} cannot be used ({reason}); delete it to start that training again") from None
        model.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
        if not training["finished"]:
            for i, optimizer in enumerate(optimizers):
                restore_optimizer(optimizer, f"optimizer.{i}.", tensors)
            for i, generator in enumerate(generators):
                generator.set_state(tensors[f"generator.{i}"])
        self.history += training["history"]
        self.record.restored(self.history, training["seconds"])
        return training["progress"]

    def read(self, progress: dict[str, type]) -> tuple[dict[str, torch.Tensor], dict]:
        """The tensors of the file, and what it says of them. Raises ValueError for what this training did not write."""
        with safe_open(self.path, "pt") as file:
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
            text = (file.metadata() or {}).get("training", "{}")
        training = json.loads(text)
        kinds = {
            "about": str, "finished": bool, "progress": progress, "history": tuple[dict, ...],
            "seconds": float, "checksum": int,
        }  # fmt: skip
        if not files.fits(training, kinds) or training.pop("checksum") != checksum(tensors, training):
            raise ValueError("its content is not what was written")
        if training["about"] != self.about:
            raise ValueError("it is another run's, or of other pictures")
        for rows in (
            training["history"],
            *(value for value in training["progress"].values() if isinstance(value, list)),
        ):
            if not all(files.fits(row, {name: int | float | str for name in rows[0]}) for row in rows):
                raise ValueError("its rows are none")
        return tensors, training

    def save(self, progress: dict, finished: bool) -> None:
        """Save, unless saving took too long lately; a finished training always, but only what evaluation needs."""
        started = time.monotonic()
        if not finished and started < self.due:
            return
        model, optimizers, generators = self.parts
        state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        if not finished:
            for i, optimizer in enumerate(optimizers):
                for j, values in optimizer.state_dict()["state"].items():
                    state |= {f"optimizer.{i}.{j}.{name}": value for name, value in values.items()}
            state |= {f"generator.{i}": generator.get_state() for i, generator in enumerate(generators)}
        tensors = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
        training = {
            "about": self.about, "finished": finished, "progress": progress, "history": self.history,
            "seconds": self.record.seconds(),
        }  # fmt: skip
        with files.written_whole(self.path) as path:
            path.write_bytes(
                save(tensors, {"training": json.dumps({**training, "checksum": checksum(tensors, training)})})
            )
        self.due = started + (time.monotonic() - started) / SAVING_TIME


def check(
    tensors: dict, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], generators: Sequence[torch.Generator]
) -> None:
    """Raise ValueError unless the tensors are, in name, shape and type, those of this training.

    Some optimizers believe what they are given, and write behind the end of a tensor that is too small.
    """
    expected = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for i, optimizer in enumerate(optimizers):
        other = copy.deepcopy(optimizer)
        for parameter in (parameter for group in other.param_groups for parameter in group["params"]):
            parameter.grad = torch.zeros_like(parameter)
        other.step()  # then it has the state that an optimizer has
        for j, values in other.state_dict()["state"].items():
            expected |= {f"optimizer.{i}.{j}.{name}": value for name, value in values.items()}
    expected |= {f"generator.{i}": generator.get_state() for i, generator in enumerate(generators)}
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in expected or name not in tensors:
            raise ValueError(f"it {'lacks' if name in expected else 'has a strange'} {name}")
        if (tensors[name].shape, tensors[name].dtype) != (expected[name].shape, expected[name].dtype):
            raise ValueError(f"its {name} is of another shape or type")
    for i, generator in enumerate(generators):
        torch.Generator(generator.device).set_state(
            tensors[f"generator.{i}"]
        )  # a state may be none in spite of its shape


def restore_optimizer(optimizer: torch.optim.Optimizer, prefix: str, tensors: dict[str, torch.Tensor]) -> None:
    """Put the saved state back. This replaces the optimizer's `param_groups`, whose options are not saved."""
    state = {}
    for j, parameter in enumerate(parameter for group in optimizer.param_groups for parameter in group["params"]):
        start = f"{prefix}{j}."
        values = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
        # Safetensors are in plain order, but fused Adam reads its averages in the memory order of the parameter.
        state[j] = {
            name: torch.empty_like(parameter, device="cpu").copy_(value) if value.shape == parameter.shape else value
            for name, value in values.items()
        }
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
