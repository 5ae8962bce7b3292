"""Reconstructions over training, as a picture that moves.

    python film.py                                      # the report's network
    python film.py --split emoji                        # on emoji that it does not train on

Trains as `python autoencoder.py` does, with the same seed to the same weights, and keeps what the network makes of five
test emoji after every third epoch (--every). Writes plots/autoencoder_film.png, an animated PNG, and no weights.
"""

from dataclasses import dataclass
from pathlib import Path

from common import command_line
from common.errors import at_least
from lab.options import ReportPreset


@dataclass(frozen=True, kw_only=True)
class Config(ReportPreset):
    """Film the training of the original's autoencoder."""

    device: str = "auto"  # auto takes CUDA, MPS or the processor; cpu, cuda or mps decide
    every: int = 3  # epochs from frame to frame; the last epoch has one in any case
    plots: Path = Path("plots")  # folder of the film

    def __post_init__(self):
        super().__post_init__()
        at_least(1, every=self.every)


if __name__ == "__main__":
    command_line.answer(Config)  # --help and mistakes: before the imports that take seconds

import data
from common import figures, files
from lab import presets, training
from lab.contract import decode_all, encode_all


def main(config: Config) -> dict:
    """Train, and draw a frame for every so many epochs. Returns each epoch's validation MSE, and the film's path."""
    files.writable(config.plots)
    device = training.choose_device(config.device)
    config = presets.settled(config, device)
    splits = data.load(config)
    shown = data.examples(splits.test)
    images = splits.originals.images[shown]
    frames, losses = [], []

    def filmed(model) -> dict[str, float]:
        val = training.evaluate(model, splits.val, training.reconstruction_loss, device) if splits.val else {}
        losses.append(val.get("loss"))
        error = f", validation MSE {val['loss']:.4f}" if val else ""
        label = f"epoch {len(losses)} of {config.epochs}{error}"
        if len(losses) % config.every == 0 or len(losses) == config.epochs:
            frames.append((label, decode_all(model, encode_all(model, images, device), device)))
        return val

    given = presets.material(config, splits, device)
    presets.fit_network(config, given, device, training.reconstruction_loss, validate=filmed)
    titles = [splits.originals.names[i] for i in shown]
    path = figures.film(images, frames, titles, config.plots / "autoencoder_film.png")
    print("film", path)
    return {"val_mse": losses, "film": str(path)}


if __name__ == "__main__":
    command_line.run(main, Config)
