"""Part 1 as bench.py draws it: its losses along the way are those of the test set, and nothing is drawn.

    python -m studies.curve --preset best --split emoji --out runs/bench/curve

The test set stands where the validation set does, so that this takes the same time. Nothing is chosen by these losses:
training never looks at them. They show how fast a method comes to the error that the tables give.
"""

from dataclasses import dataclass, replace

import common  # first: it sets the environment that torch reads

import data
from common import command_line
from lab import presets, records, trained, training
from lab.options import BestRun, ReportRun


@dataclass(frozen=True, kw_only=True)
class Config(ReportRun):
    """Train the original's autoencoder and record its test losses along the way."""


@dataclass(frozen=True, kw_only=True)
class BestConfig(BestRun):
    """Train the best preset's autoencoder and record its test losses along the way."""


def main(config: Config | BestConfig) -> dict:
    """Train and record. Returns the metrics that go into metrics.json."""
    device = training.choose_device(config.device)
    config = presets.settled(config, device, records.resumed_config(config))
    splits = data.load(config)
    with records.recording(config, splits.originals, device) as record:
        return record.finish(trained.train_and_save(config, replace(splits, val=splits.test), device, record)[1])


if __name__ == "__main__":
    command_line.run(main, Config, BestConfig)
