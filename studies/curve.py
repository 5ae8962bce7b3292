"""Part 1 as bench.py draws it: the losses along the way are those of the test set, and nothing else is drawn or saved.

    python -m studies.curve --preset best --split unseen --out runs/curve

The test set is evaluated where autoencoder.py evaluates the validation set, so it takes the same time. Training looks
at neither.
"""

from dataclasses import dataclass
from functools import partial

from lab import cli  # before torch: it sets the environment

import data
from lab import runs, training
from lab.options import TrainingRun


@dataclass(frozen=True, kw_only=True)
class Config(TrainingRun):
    """Train an autoencoder and record its test losses along the way."""


def main(config: Config) -> dict:
    """Train, test and record. Returns the metrics that go into metrics.json."""
    config = training.resolve_options(config)
    splits = data.load(config)
    test_loss = partial(training.evaluate, part=splits.test, loss_function=training.reconstruction_loss)
    with runs.opened(config, splits.pictures) as run:
        trained = training.fit(config, splits, run, validate=test_loss)
        return run.finish(training.errors(trained, splits.test, refine_steps=None))


if __name__ == "__main__":
    cli.run(main, Config)
