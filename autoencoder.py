"""Part 1: a convolutional autoencoder, 64x64x3 pixels to 128 numbers and back, on emoji faces.

    python autoencoder.py                                       # the report's order: copy, then split
    python autoencoder.py --resume                              # go on after a kill, to the same bits
    python autoencoder.py --split emoji --out runs/unseen       # test emoji never seen in training
    python autoencoder.py --preset best --split emoji --out runs/best  # a network that beats PCA with as many numbers

Writes runs/autoencoder/ (record, weights, latents) and plots/autoencoder_*.png.
Expect a test MSE of about 0.014 (PCA with 128 components: 0.005) after about 45 s on 2 cores.
"""

import json
import tempfile
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Literal, Sequence, get_args

import cli  # first: it sees to the environment that the Hub's client reads

import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from sklearn.decomposition import PCA
from torch import nn
from tqdm import tqdm

import baselines
import best
import data
import figures
import files
import records
import training
from checkpoint import Checkpoint
from cli import UserError

LARGEST_LATENT = 2**12  # a third of the numbers of an image


@dataclass(frozen=True, kw_only=True)
class Config(data.DataConfig):
    """Train the report's autoencoder and print its test error beside PCA's and the mean image's."""

    latent: int = 128  # numbers an image is compressed to
    dropout: float = 0.2  # probability that a latent number is dropped in training
    initialization: Literal["he", "pytorch"] = "he"  # the report names none; pytorch's default, the original's, learns slower

    epochs: int = 30  # passes over the training images
    batch_size: int = 64  # images per step
    learning_rate: float = 1e-3  # of Adam
    weight_decay: float = 1e-5  # L2 penalty of Adam

    preset: Literal["report", "best"] = "report"  # best: PCA and a convolutional residual, in about 3 minutes
    train_on: Literal["auto", "faces", "all"] = "auto"  # best preset: other pictures among the faces; auto: for unseen emoji
    steps: int = 1800  # best preset: training steps; the schedule is planned for them
    seconds: float | None = None  # best preset: plan for so many seconds of training instead of steps

    refine_steps: int = 30  # best preset: steps that improve each test image's latent for a second test error; 0: none

    precision: Literal["float32", "bfloat16"] = "float32"  # of the report preset's training; bfloat16 is faster where it is built in
    device: str = "auto"  # auto takes CUDA, MPS or the processor; cpu, cuda or mps decide
    out: Path = Path("runs/autoencoder")  # folder of the record and the weights
    plots: Path = Path("plots")  # folder of the figures
    resume: bool = False  # go on with the unfinished run in --out, whose options are these
    overwrite: bool = False  # replace the run in --out, whatever it is

    def __post_init__(self):
        super().__post_init__()
        cli.at_least(1, latent=self.latent, epochs=self.epochs, batch_size=self.batch_size)
        cli.at_most(LARGEST_LATENT, latent=self.latent)
        cli.at_least(0, dropout=self.dropout, learning_rate=self.learning_rate, weight_decay=self.weight_decay)
        cli.at_least(0, refine_steps=self.refine_steps)
        cli.at_least(1, steps=self.steps, seconds=1 if self.seconds is None else self.seconds)
        if self.dropout >= 1:
            raise UserError(f"--dropout is {self.dropout}; it must be below 1")
        if self.resume and self.overwrite:
            raise UserError("--resume keeps what --overwrite deletes; give one of them")
        if self.preset == "best" and self.latent >= best.PCA_IMAGES:
            raise UserError(f"--latent is {self.latent}; the best preset starts at a PCA and takes less than {best.PCA_IMAGES}")


CHANNELS = (3, 32, 64, 128, 256)  # of the image and after each convolution, which halves the side


MODEL_CARD = """---
{{ card_data }}
---
A model of the emoji autoencoder lab. Load it with `ConvAutoencoder.from_pretrained(folder)` from `autoencoder.py`.
"""


class ConvAutoencoder(nn.Module, PyTorchModelHubMixin, model_card_template=MODEL_CARD):
    """The report's network. `save_pretrained(folder)` and `from_pretrained(folder)` keep it as safetensors."""

    def __init__(self, latent: int = 128, dropout: float = 0.2, initialization: Literal["he", "pytorch"] = "he"):
        super().__init__()
        self.latent = latent
        side = data.SIZE // 2 ** (len(CHANNELS) - 1)
        features = CHANNELS[-1] * side**2
        down, up = [], []
        for wide, narrow in zip(CHANNELS, CHANNELS[1:]):
            down += [nn.Conv2d(wide, narrow, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
            up = [nn.ConvTranspose2d(narrow, wide, 3, stride=2, padding=1, output_padding=1), nn.ReLU(inplace=True), *up]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(features, latent))
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.Sequential(
            nn.Linear(latent, features), nn.Unflatten(1, (CHANNELS[-1], side, side)), *up[:-1], nn.Sigmoid()
        )
        if initialization == "he":  # He et al. 2015: keeps the signal's size through layers of ReLU
            for layer in self.modules():
                if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    nn.init.zeros_(layer.bias)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) images in [0, 1] to (N, latent)."""
        return self.encoder(images)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, latent) to (N, 3, 64, 64) images in [0, 1]."""
        return self.decoder(latents)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.decode(self.dropout(self.encode(images)))


def reconstruction_loss(model: nn.Module, images: torch.Tensor, emoji: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"loss": nn.functional.mse_loss(model(images), images)}


Autoencoder = ConvAutoencoder | best.ResidualAutoencoder


def load(folder: Path) -> Autoencoder:
    """The trained model in `folder`, in evaluation mode. Only safetensors are read, never a pickle.

    Raises UserError for a folder without weights, a config.json that is no model's, or foreign or broken weights.
    """
    weights, settings = folder / "model.safetensors", folder / "config.json"
    if not weights.is_file() or not settings.is_file():
        raise UserError(f"{folder} holds no model.safetensors and config.json; train one with `python autoencoder.py --out {folder}`")
    try:
        content = json.loads(settings.read_text(encoding="utf-8"))
        kinds = {model: {name: option.annotation for name, option in signature(model).parameters.items()} for model in get_args(Autoencoder)}
        model_class = next((model for model in kinds if cli.fits(content, kinds[model])), None)
        if not model_class or not all(1 <= content[name] <= LARGEST_LATENT for name, kind in kinds[model_class].items() if kind is int):
            raise ValueError("its config.json is no model's of this project")
        with torch.device("meta"):  # nothing is allocated for sizes that the weights do not have
            model = model_class(**content)
        # Copies, because the tensors that are read are the file itself, which the next training writes over.
        model.load_state_dict({name: tensor.clone() for name, tensor in load_file(weights).items()}, assign=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"the model in {folder} cannot be used ({error}); train it again") from None
    if not all(parameter.dtype == torch.float32 and parameter.isfinite().all() for parameter in model.parameters()):
        raise UserError(f"the model in {folder} has weights that are not finite or not float32; train it again")
    return model.eval()


@torch.no_grad()
def encode_all(model: Autoencoder, images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(N, latent) on the CPU, from (N, 3, 64, 64) uint8 images."""
    model.eval()
    return torch.cat([model.encode(data.to_float(batch.to(device))).cpu() for batch in images.split(256)])


@torch.no_grad()
def decode_all(model: Autoencoder, latents: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(N, 3, 64, 64) images in [0, 1] on the CPU, from (N, latent)."""
    model.eval()
    return torch.cat([model.decode(batch.to(device)).clamp(0, 1).cpu() for batch in latents.split(256)])


def examples(part: data.Part, count: int = 5) -> torch.Tensor:
    """Indices of the first `count` images of different emoji in `part`: fixed, not chosen by their looks."""
    first = {emoji: index for index, emoji in reversed(list(enumerate(part.emoji.tolist())))}
    return torch.tensor(sorted(first.values())[:count])


def save(model: Autoencoder, originals: data.Originals, device: torch.device, folder: Path) -> None:
    """The weights with the model's config.json, and the latents of all originals."""
    with tempfile.TemporaryDirectory() as temporary:
        model.save_pretrained(temporary)
        contents = {path.name: path.read_bytes() for path in Path(temporary).iterdir()}
    card = folder / "README.md"
    if card.is_file() and "A model of the emoji autoencoder lab." not in card.read_text(encoding="utf-8", errors="replace"):
        del contents["README.md"]  # there is somebody's own
    contents["latents.safetensors"] = to_bytes({"latents": encode_all(model, originals.images, device)})
    for name, content in contents.items():
        with files.written_whole(folder / name) as path:
            path.write_bytes(content)


def fit_report(splits: data.Splits, config: Config, device, record) -> tuple[ConvAutoencoder, list[dict], PCA]:
    """The report's network and training: the model, its history, and a PCA of its training images."""
    torch.manual_seed(data.seed_for("weights", config.seed))
    model = training.to_device(ConvAutoencoder(config.latent, config.dropout, config.initialization), device)
    history = training.train(model, splits, reconstruction_loss, config, device, record)
    return model, history, baselines.fit_pca(splits.train.images, config.latent)


def fit_best(
    splits: data.Splits, config: Config, device, record, make=best.ResidualAutoencoder, losses=reconstruction_loss,
    run: dict | None = None, generators: Sequence[torch.Generator] = (),
) -> tuple[best.ResidualAutoencoder, list[dict], PCA]:  # fmt: skip
    """The best preset's network, as `make(latent)` builds it, and training: the model, its history, the PCA that it started from.

    `run` and `generators` are as for training.train.
    """
    diet = best.diet(splits, config, device)
    pca = baselines.fit_pca(diet.sample(best.PCA_IMAGES, data.generator("PCA", config.seed)).cpu(), config.latent)
    torch.manual_seed(data.seed_for("weights", config.seed))
    model = make(config.latent)
    model.start_at_pca(pca)
    model = training.to_device(model, device)
    checkpoint = Checkpoint(record, run, lambda row: tqdm.write(f"Step {row['step']}, {training.loss_line(row)}"))

    def report(step: int, means: dict[str, float]) -> None:
        parts = {"train": means}
        if len(splits.val):
            parts["val"] = training.evaluate(model, splits.val, losses, device)
            model.train()
        checkpoint.add(training.row(parts, **(run or {}), step=step))

    best.fit(model, diet, losses, config, device, report, checkpoint, generators)
    return model, checkpoint.history, pca


def experiment(splits: data.Splits, config: Config, device: torch.device, record: records.Record) -> dict:
    """Train, evaluate and draw. Returns the metrics."""
    before = record.seconds()
    model, history, pca = (fit_best if config.preset == "best" else fit_report)(splits, config, device, record)
    train_seconds = record.seconds() - before

    errors = {"test_mse": training.evaluate(model, splits.test, reconstruction_loss, device)["loss"]}
    if config.preset == "best" and config.refine_steps:
        refined_loss = partial(best.refined_loss, steps=config.refine_steps)
        errors["refined_mse"] = training.evaluate(model, splits.test, refined_loss, device, gradients=True)["loss"]
    errors |= baselines.errors(pca, splits.test)
    print(f"Final average test MSE: {errors['test_mse']:.4f}")
    if "refined_mse" in errors:
        print(f"with refined latents: {errors['refined_mse']:.4f}")
    print(f"PCA, {config.latent} components: {errors['pca_mse']:.4f}; mean image: {errors['mean_image_mse']:.4f}")

    save(model, splits.originals, device, config.out)
    chosen = examples(splits.test)
    images = splits.test.images[chosen]
    outputs = decode_all(model, encode_all(model, images, device), device)
    titles = [splits.originals.names[i] for i in splits.test.emoji[chosen]]
    lines = {f"PCA, {config.latent} components": errors["pca_mse"], "mean image": errors["mean_image_mse"]}
    prefix = "autoencoder" if config.preset == "report" else f"autoencoder_{config.preset}"
    for path in (
        figures.learning_curves(history, config.plots / f"{prefix}_curves.png", lines),
        figures.reconstructions(images, outputs, titles, config.plots / f"{prefix}_reconstructions.png"),
    ):
        print("figure", path)
    about = ("preset", "split", "augment", "initialization", "precision", "epochs", "seed")
    return {
        "source": splits.originals.source,
        **{name: getattr(config, name) for name in about},
        **splits.counts(),
        "leaked": splits.leaked(),
        "skipped": splits.originals.skipped,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **errors,
        "train_seconds": round(train_seconds, 1),
    }


def main(config: Config) -> dict:
    """Train, evaluate, draw and record. Returns the metrics that go into metrics.json."""
    device = training.choose_device(config.device)
    splits = data.load(config)
    with records.recording(config, splits.originals, device) as record:
        print(data.describe(splits))
        return record.finish(experiment(splits, config, device, record))


if __name__ == "__main__":
    cli.run(main, Config)
