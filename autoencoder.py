"""Part 1: a convolutional autoencoder, 64x64x3 pixels to 128 numbers and back, on emoji faces.

    python autoencoder.py                                       # the original's order: copy, then split
    python autoencoder.py --resume                              # go on after a kill, to the same bits
    python autoencoder.py --split emoji --out runs/unseen       # test emoji never seen in training
    python autoencoder.py --preset best --split emoji --out runs/best  # a network that beats PCA on unseen emoji
    python autoencoder.py --preset best --split emoji --out runs/best --beside runs/unseen  # drawn beside another one
    python autoencoder.py --evaluate pretrained/report          # its test numbers again, without training
    python autoencoder.py --source openmoji --also twemoji --out runs/openmoji  # another art style, and one more to train on

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
    """Train the original's autoencoder and print its test error beside PCA's and the mean image's."""

    evaluate: Path | None = None  # folder of a finished run: test its network again, without training
    beside: Path | None = None  # folder of another trained network to show as a row
    out: Path = Path("runs/autoencoder")  # folder of the record and the weights


@dataclass(frozen=True, kw_only=True)
class BestConfig(BestRun):
    """Train the best preset's autoencoder and print its test error beside PCA's and the mean image's."""

    refine_steps: int = 30  # steps that improve each test image's latent for a second test error; 0: none
    evaluate: Path | None = None  # folder of a finished run: test its network again, without training
    beside: Path | None = None  # folder of another trained network to show as a row
    out: Path = Path("runs/autoencoder")  # folder of the record and the weights

    def __post_init__(self):
        super().__post_init__()
        at_least(0, refine_steps=self.refine_steps)


if __name__ == "__main__":
    command_line.answer(Config, BestConfig)  # --help and mistakes: before the imports that take seconds

import torch

import data
from common import charts, figures
from lab import baselines, evaluation, networks, presets, records, trained, training
from lab.contract import decode_all, encode_all


def rows(network: presets.Trained, metrics: dict, images: torch.Tensor, other, device) -> list:
    """(label, pictures) of each row of the figure: (N, 3, 64, 64) originals, and what networks and PCA make of them.

    `other` is None, or another network and its metrics.
    """

    def row(model, its: dict) -> tuple[str, torch.Tensor]:
        whose = "original's network" if its["preset"] == "report" else f"{its['preset']} preset"
        if its["network"] not in networks.ARCHITECTURES:
            whose = Path(its["network"]).name
        label = f"{whose}\ntest MSE {its['test_mse']:.4f}"
        return label, decode_all(model, encode_all(model, images, device), device)

    pca = f"PCA, {network.pca.n_components_} numbers\ntest MSE {metrics['pca_mse']:.4f}"
    return [
        ("picture", images),
        *([row(*other)] if other else []),
        (pca, baselines.reconstruct(network.pca, images)),
        row(network.model, metrics),
    ]


def rows_by_style(network: presets.Trained, splits: data.Splits, metrics: dict, config, device) -> tuple[list, list]:
    """The rows of the figure of all styles, and the names above: of the first five test emoji that all styles have."""
    originals, styles = splits.originals, list(metrics["styles"])
    tested = data.examples(splits.test, len(splits.test)).tolist()
    columns = [[originals.counterpart(i, style) for style in styles] for i in tested]
    columns = [column for column in columns if None not in column][:4]
    rows = []
    for style, emoji in zip(styles, zip(*columns)):
        images, errors = originals.images[list(emoji)], metrics["styles"][style]
        label = f"{style},\nnever in training" if style == config.hold_out_style else style
        decoded = decode_all(network.model, encode_all(network.model, images, device), device)
        rows += [
            (label, images),
            (f"PCA\ntest MSE {errors['pca_mse']:.4f}", baselines.reconstruct(network.pca, images)),
            (f"network\ntest MSE {errors['test_mse']:.4f}", decoded),
        ]
    return rows, [originals.names[column[0]] for column in columns]


def draw(network: presets.Trained, splits: data.Splits, metrics: dict, other, config, device) -> None:
    """Learning curves, and reconstructions of the first five test emoji, upright and in their own colours."""
    emoji = data.examples(splits.test)
    titles = [splits.originals.names[i] for i in emoji]
    lines = {f"PCA, {config.latent} components": metrics["pca_mse"], "mean image": metrics["mean_image_mse"]}
    prefix = "autoencoder" if config.preset == "report" else f"autoencoder_{config.preset}"
    shown = rows(network, metrics, splits.originals.images[emoji], other, device)
    print("figure", charts.learning_curves(network.history, config.plots / f"{prefix}_curves.png", lines))
    print("figure", figures.reconstructions(shown, titles, config.plots / f"{prefix}_reconstructions.png"))
    if splits.elsewhere:
        of_styles = rows_by_style(network, splits, metrics, config, device)
        print("figure", figures.reconstructions(*of_styles, config.plots / f"{prefix}_styles.png"))


def main(config: Config | BestConfig) -> dict:
    """Train, evaluate, draw and record. Returns the metrics that go into metrics.json.

    With --evaluate no more than the test numbers of the run there, in its source's style; nothing is written.
    """
    if config.evaluate:
        run, network, splits, device = evaluation.reopened(config, Config, BestConfig)
        return evaluation.beside_record(config.evaluate, trained.test_errors(network, splits.test, run, device))
    device = training.choose_device(config.device)
    config = presets.settled(config, device, records.resumed_config(config))
    splits = data.load(config)
    other = trained.beside(config.beside, config, splits.originals) if config.beside else None
    with records.recording(config, splits.originals, device) as record:
        network, metrics = trained.train_and_save(config, splits, device, record)
        draw(network, splits, metrics, other, config, device)
        return record.finish(metrics)


if __name__ == "__main__":
    command_line.run(main, Config, BestConfig)
