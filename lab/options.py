"""The options of a training, and where it is recorded. Needs no torch, so that `--help` need not wait for it.

All that decides what a training gives is a field of a preset: an option of the command line and a field of the record,
so what ran is on record.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.errors import UserError, at_least, at_most
from common.options import DataConfig

Precision = Literal["auto", "float32", "bfloat16"]
Method = Literal["difference", "mean", "isolated", "map", "learned"]  # how a composite's attribute is found
LARGEST_LATENT = 2**12  # a third of the numbers of an image
PRETRAINED = Path("pretrained")  # folder of the networks that come with the repository


@dataclass(frozen=True, kw_only=True)
class ReportPreset(DataConfig):
    """The original's network and training."""

    preset: Literal["report"] = "report"  # report or best; `--preset best --help` lists the options of that one
    network: str = "convolutional"  # its architecture, or a network of your own as my_file.py:MyClass
    latent: int = 128  # numbers an image is compressed to
    dropout: float = 0.2  # probability that a latent number is dropped in training
    initialization: Literal["he", "pytorch"] = "he"  # the original's was pytorch's default, which learns slower

    epochs: int = 30  # passes over the training images
    batch_size: int = 64  # images per step
    learning_rate: float = 1e-3  # of Adam
    weight_decay: float = 1e-5  # L2 penalty of Adam
    precision: Precision = "float32"  # auto: bfloat16 where the processor computes in it; bfloat16: in any case

    def __post_init__(self):
        super().__post_init__()
        at_least(1, latent=self.latent, epochs=self.epochs, batch_size=self.batch_size)
        at_most(LARGEST_LATENT, latent=self.latent)
        at_least(0, dropout=self.dropout, learning_rate=self.learning_rate, weight_decay=self.weight_decay)
        if self.dropout >= 1:
            raise UserError(f"--dropout is {self.dropout}; it must be below 1")


@dataclass(frozen=True, kw_only=True)
class BestPreset(DataConfig):
    """A start at PCA, a convolutional residual, Muon, and fresh augmentation at every step.

    What is left open depends on whether the tested emoji are unseen, and on whether several art styles are trained on.
    """

    preset: Literal["best"] = "best"  # report or best; `--preset report --help` lists the options of that one
    network: str = "auto"  # residual; informed with --also; or a network of your own as my_file.py:MyClass
    latent: int = 128  # numbers an image is compressed to
    pca_images: int = 2048  # augmented images to which the PCA at the start is fitted

    steps: int | None = None  # training steps: 1800, or 3000 with --also, unless --seconds is given
    seconds: float | None = None  # plan for so many seconds of training instead of steps
    batch_size: int | None = None  # images per step: 32, or 16 with --also
    muon_learning_rate: float | None = None  # of the convolutions, at its peak: 0.015, or 0.02 with --also
    muon_weight_decay: float = 0.2  # of the convolutions
    linear_learning_rate: float = 2e-4  # of the PCA's matrices: they start where they should be
    bias_learning_rate: float = 1e-3  # of biases
    precision: Precision = "auto"  # bfloat16 where the processor computes in it, else float32

    train_on: Literal["auto", "faces", "all"] = "auto"  # other pictures among the faces; auto: for unseen emoji
    other_pictures: float | None = None  # part of a batch that is no faces; 0.25 if there are any
    shift: float | None = None  # shifts of up to so many sides, twice as much scale; 0.015 for unseen emoji, else 0
    mixing: float | None = None  # probability of MixUp or CutMix; 0.7 for unseen emoji, else 0

    def __post_init__(self):
        super().__post_init__()
        at_least(1, latent=self.latent)
        budget = ("steps", "seconds", "batch_size")
        at_least(1, **{name: value for name in budget if (value := getattr(self, name)) is not None})
        rates = ("muon_learning_rate", "muon_weight_decay", "linear_learning_rate", "bias_learning_rate")
        at_least(0, **{name: getattr(self, name) or 0 for name in rates})
        parts = {name: getattr(self, name) or 0 for name in ("other_pictures", "shift", "mixing")}
        at_least(0, **parts)
        at_most(1, **parts)
        at_least(2, pca_images=self.pca_images)
        if self.steps and self.seconds:
            raise UserError("--steps and --seconds are two budgets; give one of them")
        if self.latent >= self.pca_images:
            raise UserError(f"--latent is {self.latent}; it must be below --pca-images, {self.pca_images}")


Preset = ReportPreset | BestPreset


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a run is made and recorded."""

    device: str = "auto"  # auto takes CUDA, MPS or the processor; cpu, cuda or mps decide
    out: Path  # folder of the record
    plots: Path = Path("plots")  # folder of the figures
    resume: bool = False  # go on with the unfinished run in --out, whose options are these
    overwrite: bool = False  # replace the run in --out, whatever it is

    def __post_init__(self):
        super().__post_init__()
        if self.resume and self.overwrite:
            raise UserError("--resume keeps what --overwrite deletes; give one of them")


@dataclass(frozen=True, kw_only=True)
class ReportRun(RunOptions, ReportPreset):
    """A training of the report preset: what autoencoder.py records without options."""


@dataclass(frozen=True, kw_only=True)
class BestRun(RunOptions, BestPreset):
    """A training of the best preset."""


Run = ReportRun | BestRun
