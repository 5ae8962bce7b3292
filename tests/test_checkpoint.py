"""A checkpoint is used only if every tensor and every field in it is what this training would have written."""

import json
import zlib
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from lab.optimizers import Muon
from lab.checkpoint import Checkpoint, checksum
from common.errors import UserError

START = {"step": 0, "rows": [], "done": 0.0}


@pytest.fixture
def training(tmp_path):
    """A training after a step, saved: builds it anew, as after a kill, and tells what came of its checkpoint."""
    taken = []
    record = SimpleNamespace(
        checkpoint_path=lambda run: tmp_path / "checkpoint.safetensors", about=lambda run: "about", seconds=lambda: 1.0,
        add=lambda row: row, restored=lambda history, seconds: taken.append(history),
    )  # fmt: skip

    def build():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)).to(memory_format=torch.channels_last)
        weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
        biases = [parameter for parameter in model.parameters() if parameter.dim() == 1]
        optimizers = [Muon(weights, 0.01), torch.optim.AdamW(biases, fused=True)]
        return (
            model,
            optimizers,
            [torch.Generator().manual_seed(1)],
            Checkpoint(record, None, lambda row: print(f"{row['loss']:.3f}")),
        )

    def step(model, optimizers, generators):
        model(torch.rand(4, 3, 4, 4, generator=generators[0])).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    *parts, checkpoint = build()
    assert checkpoint.restore(*parts, START) == START
    step(*parts)
    checkpoint.add({"loss": 0.5})
    checkpoint.save({"step": 1, "rows": [{"loss": 0.5}], "done": 0.1}, finished=False)
    step(*parts)
    return SimpleNamespace(build=build, step=step, path=checkpoint.path, after=parts[0].state_dict(), taken=taken)


def change(path, tensors=lambda tensors: None, fields=lambda fields: None) -> None:
    """Write the checkpoint with changes, its checksum right."""
    with safe_open(path, "pt") as file:
        content, about = (
            {name: file.get_tensor(name).clone() for name in file.keys()},
            json.loads(file.metadata()["training"]),
        )
    about.pop("checksum")
    tensors(content)
    fields(about)
    save_file(content, path, {"training": json.dumps({**about, "checksum": checksum(content, about)})})


def test_a_checkpoint_goes_on_to_the_same_bits(training):
    change(training.path)
    *parts, checkpoint = training.build()
    assert checkpoint.restore(*parts, START)["step"] == 1 and training.taken == [[{"loss": 0.5}]]
    training.step(*parts)
    assert all(torch.equal(value, training.after[name]) for name, value in parts[0].state_dict().items())


AVERAGE = "optimizer.1.0.exp_avg"
TENSORS = {
    "a smaller average": (lambda tensors: tensors.update({AVERAGE: tensors[AVERAGE][:1].clone()}), AVERAGE),
    "a larger average": (lambda tensors: tensors.update({AVERAGE: torch.zeros(10**6)}), AVERAGE),
    "a double average": (lambda tensors: tensors.update({AVERAGE: tensors[AVERAGE].double()}), AVERAGE),
    "no average": (lambda tensors: tensors.pop(AVERAGE), f"lacks {AVERAGE}"),
    "a step of integers": (lambda tensors: tensors.update({"optimizer.1.0.step": torch.tensor(1)}), "step"),
    "Muon's average of another shape": (
        lambda tensors: tensors.update({"optimizer.0.0.average": torch.zeros(2)}),
        "optimizer.0.0.average",
    ),
    "one more state": (
        lambda tensors: tensors.update({"optimizer.1.9.exp_avg": torch.zeros(2)}),
        "strange optimizer.1.9.exp_avg",
    ),
    "weights of halves": (
        lambda tensors: tensors.update({"model.2.weight": tensors["model.2.weight"].half()}),
        "model.2.weight",
    ),
    "no weights": (lambda tensors: tensors.pop("model.2.weight"), "lacks model.2.weight"),
    "a short generator": (
        lambda tensors: tensors.update({"generator.0": tensors["generator.0"][:-8].clone()}),
        "generator.0",
    ),
    "a generator of nonsense": (lambda tensors: tensors["generator.0"].fill_(255), "mt19937"),
}
FIELDS = {
    "history no list": lambda fields: fields.update(history="row"),
    "history of numbers": lambda fields: fields.update(history=[1, 2]),
    "rows without a loss": lambda fields: fields.update(history=[{}]),
    "rows of texts": lambda fields: fields.update(history=[{"loss": "small"}]),
    "rows that differ": lambda fields: fields.update(history=[{"loss": 1.0}, {"epoch": 1}]),
    "seconds a text": lambda fields: fields.update(seconds="long"),
    "progress a list": lambda fields: fields.update(progress=[]),
    "progress of other names": lambda fields: fields["progress"].update(further=1),
    "progress of other kinds": lambda fields: fields["progress"].update(step="first"),
    "progress of other rows": lambda fields: fields["progress"].update(rows=[3]),
    "finished a text": lambda fields: fields.update(finished="no"),
    "a field missing": lambda fields: fields.pop("seconds"),
    "another run": lambda fields: fields.update(about="other"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*TENSORS, *FIELDS])
def test_a_crafted_checkpoint_changes_nothing(training, name):
    tensors, message = TENSORS.get(name, (lambda tensors: None, ""))
    change(training.path, tensors, FIELDS.get(name, lambda fields: None))
    *parts, checkpoint = training.build()
    before = {name: value.clone() for name, value in parts[0].state_dict().items()}
    with pytest.raises(UserError, match="checkpoint.safetensors cannot be used .*; delete it") as error:
        checkpoint.restore(*parts, START)
    assert message in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in parts[0].state_dict().items())
    assert not any(optimizer.state for optimizer in parts[1]) and not training.taken


def write(path, text: str) -> None:
    save_file({"model.x": torch.zeros(1)}, path, {"training": text})


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: write(path, "[" * 200_000),
        lambda path: write(path, "[]"),
        lambda path: write(path, json.dumps({"checksum": zlib.crc32(b"")})),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_a_damaged_checkpoint_is_one_line(training, damage):
    damage(training.path)
    *parts, checkpoint = training.build()
    with pytest.raises(UserError, match="cannot be used"):
        checkpoint.restore(*parts, START)


def test_other_fields_under_the_old_checksum_are_noticed(training):
    content = training.path.read_bytes()
    assert content.count(b'\\"step\\": 1') == 1
    training.path.write_bytes(content.replace(b'\\"step\\": 1', b'\\"step\\": 7'))
    *parts, checkpoint = training.build()
    with pytest.raises(UserError, match="not what was written"):
        checkpoint.restore(*parts, START)
