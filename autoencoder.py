"""Part 1: a convolutional autoencoder, 64x64x3 pixels to 128 numbers and back, on emoji faces.

    python autoencoder.py                                       # the report's order: copy, then split
    python autoencoder.py --resume                              # go on after a kill, to the same bits
    python autoencoder.py --split emoji --out runs/unseen       # test emoji never seen in training
    python autoencoder.py --preset best --split emoji --out runs/best  # a network that beats PCA on unseen emoji

Writes runs/autoencoder/ (record, weights, latents) and plots/autoencoder_*.png.
Expect a test MSE of about 0.014 (PCA with 128 components: 0.005) after 40 to 75 s on 2 cores, whatever the processor;
the best preset takes 2 to 3 minutes on 2 cores that compute in bfloat16, 4 to 5 on others.
"""

from dataclasses import dataclass
from pathlib import Path

from common import command_line
from common.errors import at_least
from lab.options import BestRun, ReportRun


@dataclass(frozen=True, kw_only=True)
class Config(ReportRun):
    """Train the report's autoencoder and print its test error beside PCA's and the mean image's."""

    out: Path = Path("runs/autoencoder")  # folder of the record and the weights


@dataclass(frozen=True, kw_only=True)
class BestConfig(BestRun):
    """Train the best preset's autoencoder and print its test error beside PCA's and the mean image's."""

    refine_steps: int = 30  # steps that improve each test image's latent for a second test error; 0: none
    out: Path = Path("runs/autoencoder")  # folder of the record and the weights

    def __post_init__(self):
        super().__post_init__()
        at_least(0, refine_steps=self.refine_steps)


if __name__ == "__main__":
    command_line.answer(Config, BestConfig)  # --help and mistakes: before the imports that take seconds

import data
from common import figures
from lab import presets, records, trained, training
from lab.contract import decode_all, encode_all


def draw(network: presets.Trained, splits: data.Splits, errors: dict, config: Config | BestConfig, device) -> None:
    """Learning curves, and five test images beside their reconstructions."""
    chosen = data.examples(splits.test)
    images = splits.test.images[chosen]
    outputs = decode_all(network.model, encode_all(network.model, images, device), device)
    titles = [splits.originals.names[i] for i in splits.test.emoji[chosen]]
    lines = {f"PCA, {config.latent} components": errors["pca_mse"], "mean image": errors["mean_image_mse"]}
    prefix = "autoencoder" if config.preset == "report" else f"autoencoder_{config.preset}"
    for path in (
        figures.learning_curves(network.history, config.plots / f"{prefix}_curves.png", lines),
        figures.reconstructions(images, outputs, titles, config.plots / f"{prefix}_reconstructions.png"),
    ):
        print("figure", path)


def main(config: Config | BestConfig) -> dict:
    """Train, evaluate, draw and record. Returns the metrics that go into metrics.json."""
    device = training.choose_device(config.device)
    config = presets.settled(config, device, records.resumed_config(config))
    splits = data.load(config)
    with records.recording(config, splits.originals, device) as record:
        network, metrics = trained.train_and_save(config, splits, device, record)
        draw(network, splits, metrics, config, device)
        return record.finish(metrics)


if __name__ == "__main__":
    command_line.run(main, Config, BestConfig)
