"""The options of a training and of its record, and the two presets as tables of defaults.

All that decides a result is an option of the command line and a field of the record.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from lab.cli import UserError, require_range

LARGEST_LATENT = 2**12  # a third of the numbers of an image
KEYWORD = "face"  # the coursework's
DATASET, REVISION = "valhalla/emoji-dataset", "67684cc"  # the coursework's, on the Hub; last changed 5 October 2022

# What a training option is where it is left out. A preset has no other options than those in its table.
COURSEWORK = {
    "network": "convolutional", "dropout": 0.2, "initialization": "he", "epochs": 30, "steps": None, "batch_size": 64,
    "learning_rate": 1e-3, "weight_decay": 1e-5, "precision": "float32", "pca_images": None,
}  # fmt: skip
BEST = {
    "network": "residual", "steps": 1800, "seconds": None, "batch_size": 32, "muon_learning_rate": 0.015,
    "muon_weight_decay": 0.2, "linear_learning_rate": 2e-4, "bias_learning_rate": 1e-3, "precision": "auto",
    "pca_images": 2048, "other_pictures": 0.0, "shift": 0.0, "mixing": 0.0, "refine_steps": 30,
}  # fmt: skip
BEST_UNSEEN = {"other_pictures": 0.25, "shift": 0.015, "mixing": 0.7}  # changes for --split unseen
BEST_STYLES = {"network": "informed", "steps": 3000, "batch_size": 16, "muon_learning_rate": 0.02}  # and for --also


def source_label(source: str) -> str:
    """A source as records name it: the coursework's dataset with its revision."""
    return f"{DATASET}@{REVISION}" if source == "hub" else source


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which pictures, and how they are copied and split."""

    source: str = "twemoji"  # twemoji, openmoji, noto, hub (the coursework's dataset), or your parquet file or folder
    also: tuple[str, ...] = ()  # further styles to train on; an emoji that is held out is held out in all of them
    hold_out_style: str | None = None  # a style that is only tested on, never trained on
    keyword: str | None = None  # which names must contain, "" for all; default: face, or all of yours if none has it
    skip_bad: bool = False  # leave out pictures that cannot be decoded, instead of stopping
    hold_out: tuple[str, ...] = ()  # names that are left out of all parts
    augment: Literal["coursework", "none", "adversarial"] = "coursework"  # flip, rotation, colours; or exact copies
    copies: int | Literal["none"] = 4  # copies of each picture
    split: Literal["coursework", "unseen"] = "coursework"  # copy, then split; unseen: split the emoji, then copy
    seed: int = 0  # random seed

    def __post_init__(self):
        require_range(0, 2**63, seed=self.seed)
        require_range(1, 2**63, copies=None if self.copies == "none" else self.copies)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(DataOptions):
    """How a network is trained. What is None takes the preset's value."""

    preset: Literal["coursework", "best"] = "coursework"  # the coursework's training, or one that beats PCA
    network: str | None = None  # convolutional, residual, informed, or your own as my_file.py:MyClass
    latent: int = 128  # numbers an image is compressed to
    batch_size: int | None = None  # images per step (coursework 64; best 32, with --also 16)
    steps: int | None = None  # training steps (best: 1800, with --also 3000; coursework: instead of --epochs)
    precision: Literal["auto", "float32", "bfloat16"] | None = None  # coursework float32; best auto: what is faster here
    pca_images: int | None = None  # images that PCA is fitted to (coursework: all; best: 2048 augmented ones)

    epochs: int | None = None  # coursework: passes over the training images (30)
    dropout: float | None = None  # coursework: probability that a latent number is dropped in training (0.2)
    initialization: Literal["he", "pytorch"] | None = None  # coursework: he; its own was pytorch, which learns slower
    learning_rate: float | None = None  # coursework: of Adam (1e-3)
    weight_decay: float | None = None  # coursework: L2 penalty of Adam (1e-5)

    seconds: float | None = None  # best: seconds of training instead of steps
    muon_learning_rate: float | None = None  # best: of the convolutions, at its peak (0.015, with --also 0.02)
    muon_weight_decay: float | None = None  # best: of the convolutions (0.2)
    linear_learning_rate: float | None = None  # best: of the PCA's matrices (2e-4)
    bias_learning_rate: float | None = None  # best: of biases (1e-3)
    other_pictures: float | None = None  # best: part of a batch that is not faces (0; 0.25 for --split unseen)
    shift: float | None = None  # best: shifts of up to so many sides, twice as much scale (0.015 for --split unseen)
    mixing: float | None = None  # best: probability of MixUp or CutMix (0.7 for --split unseen)
    refine_steps: int | None = None  # best: steps that improve each test image's latent (30); 0 for none

    changed_defaults: ClassVar[dict] = {}  # where a script's defaults of the coursework preset are others

    def __post_init__(self):
        super().__post_init__()
        counts = ("epochs", "steps", "seconds", "batch_size")
        require_range(1, LARGEST_LATENT, latent=self.latent)
        require_range(1, 2**63, **{name: getattr(self, name) for name in counts})
        rates = ("learning_rate", "weight_decay", "muon_learning_rate", "muon_weight_decay", "linear_learning_rate")
        require_range(0, 2**63, **{name: getattr(self, name) for name in (*rates, "bias_learning_rate", "refine_steps")})
        require_range(0, 1, other_pictures=self.other_pictures, shift=self.shift, mixing=self.mixing)
        require_range(2, 2**63, pca_images=self.pca_images)
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UserError(f"--dropout is {self.dropout}; it must be at least 0 and below 1")


def resolve_defaults(options: TrainingOptions) -> TrainingOptions:
    """The options with the preset's value for each that was left out.

    Raises UserError for an option of the other preset, and for two budgets.
    """
    defaults = COURSEWORK | options.changed_defaults
    if options.preset == "best":
        unseen = BEST_UNSEEN if options.split == "unseen" else {}
        defaults = BEST | unseen | (BEST_STYLES if options.also else {})
    for name in (COURSEWORK | BEST).keys() - defaults.keys():
        if getattr(options, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} is not an option of --preset {options.preset}; leave it out")
    budgets = [name for name in ("epochs", "steps", "seconds") if getattr(options, name) is not None]
    if len(budgets) > 1:
        raise UserError(f"--{' and --'.join(budgets)} are two budgets; give one of them")
    if budgets:
        defaults = defaults | {name: None for name in ("epochs", "steps", "seconds")}
    given = {name: value for name, value in defaults.items() if getattr(options, name) is None}
    options = replace(options, **given)
    if options.preset == "best" and options.latent >= options.pca_images:
        raise UserError(f"--latent is {options.latent}; it must be below --pca-images, {options.pca_images}")
    return options


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a run is made and recorded."""

    device: str = "auto"  # auto takes CUDA, MPS or the processor; or cpu, cuda, mps
    out: Path  # folder of the record
    plots: Path = Path("plots")  # folder of the figures
    resume: bool = False  # continue the unfinished run in --out, which has these options
    overwrite: bool = False  # replace the run in --out


@dataclass(frozen=True, kw_only=True)
class TrainingRun(RunOptions, TrainingOptions):
    """A training and where it is recorded."""
