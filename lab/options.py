"""The options of a training, all of them on record, and the two presets as tables of defaults."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import ClassVar, Literal

from lab.cli import UserError, require_range

KEYWORD = "face"  # the coursework's


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which pictures, and how they are copied and split."""

    source: str = "twemoji"  # twemoji, openmoji, noto, hub (the coursework's dataset), or your parquet file or folder
    also: tuple[str, ...] = ()  # further styles to train on; an emoji held out is held out in all of them
    hold_out_style: str | None = None  # a style that is only tested on, never trained on
    keyword: str | None = None  # word that names contain, "" for all; default: face, or all if none of yours has it
    skip_bad: bool = False  # leave out pictures that cannot be decoded, instead of stopping
    hold_out: tuple[str, ...] = ()  # names of emoji to leave out
    augment: Literal["coursework", "none", "adversarial"] = "coursework"  # none: the copies are exact
    copies: int | Literal["none"] = 4  # copies of each picture
    split: Literal["coursework", "unseen"] = "coursework"  # copy, then split; unseen: split the emoji, then copy
    seed: int = 0  # random seed

    def __post_init__(self):
        require_range(0, 2**63, seed=self.seed)
        require_range(1, 2**63, copies=None if self.copies == "none" else self.copies)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(DataOptions):
    """How a network is trained. An option left out has its preset's value, in brackets: coursework; best."""

    preset: Literal["coursework", "best"] = "coursework"  # sets the defaults in brackets: (coursework; best)
    network: str | None = None  # convolutional, residual, informed, or my_file.py:MyClass (convolutional; residual)
    latent: int = 128  # numbers an image is compressed to
    epochs: int | None = None  # passes over the training images (30, Part 2: 10; not in best)
    steps: int | None = None  # training steps (instead of --epochs; 1800, or 3000 with --also)
    batch_size: int | None = None  # images per step (64; 32, or 16 with --also)
    learning_rate: float | None = None  # of Adam; of Muon at its peak (1e-3; 0.015, or 0.02 with --also)
    weight_decay: float | None = None  # L2 penalty of Adam; of Muon (1e-5; 0.2)
    precision: Literal["auto", "float32", "bfloat16"] | None = None  # auto: what is faster here (float32; auto)
    pca_images: int | None = None  # images that PCA is fitted to (all; 2048, augmented)
    dropout: float | None = None  # probability that training drops a latent number (0.2, Part 2: 0; not in best)
    initialization: Literal["he", "pytorch"] | None = None  # pytorch is the coursework's (he; not in best)
    other_pictures: float | None = None  # share of a batch without faces (only in best: 0, unseen 0.25)
    shift: float | None = None  # largest shift, in image sides; scaling: twice that (only in best: 0, unseen 0.015)
    mixing: float | None = None  # probability of MixUp or CutMix (only in best: 0, unseen 0.7)
    refine_steps: int | None = None  # steps that optimize each test image's latent (only in best: 30)

    changed_defaults: ClassVar[dict] = {}  # of the coursework preset, where a script's are others

    def __post_init__(self):
        super().__post_init__()
        require_range(1, 2**12, latent=self.latent)  # at most a third of the numbers of an image
        require_range(1, 2**63, epochs=self.epochs, steps=self.steps, batch_size=self.batch_size)
        rates = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
        require_range(0, 1e6, **rates, refine_steps=self.refine_steps)
        require_range(0, 1, other_pictures=self.other_pictures, shift=self.shift, mixing=self.mixing)
        require_range(0, 0.999, dropout=self.dropout)
        require_range(2, 2**63, pca_images=self.pca_images)


@dataclass(frozen=True, kw_only=True)
class RunOptions(TrainingOptions):
    """Where the training is made, and what it writes."""

    device: str = "auto"  # auto takes CUDA, MPS or the CPU; or cpu, cuda, mps
    out: Path  # folder of the record
    plots: Path = Path("plots")  # folder of the figures
    resume: bool = False  # continue the unfinished run in --out, with the same options
    overwrite: bool = False  # replace the run in --out


COURSEWORK = {  # what each option of this preset is where it is left out
    "network": "convolutional", "dropout": 0.2, "initialization": "he", "epochs": 30, "steps": None,
    "batch_size": 64, "learning_rate": 1e-3, "weight_decay": 1e-5, "precision": "float32", "pca_images": None,
}  # fmt: skip


def best_defaults(options: TrainingOptions) -> dict:
    """The same of the best preset."""
    defaults = {
        "network": "residual", "steps": 1800, "batch_size": 32, "learning_rate": 0.015, "weight_decay": 0.2,
        "precision": "auto", "pca_images": 2048, "other_pictures": 0.0, "shift": 0.0, "mixing": 0.0, "refine_steps": 30,
    }  # fmt: skip
    if options.split == "unseen":
        defaults |= {"other_pictures": 0.25, "shift": 0.015, "mixing": 0.7}
    if options.also:  # more to learn: smaller batches, more of them
        defaults |= {"network": "informed", "steps": 3000, "batch_size": 16, "learning_rate": 0.02}
    return defaults


def resolve_defaults(options: TrainingOptions) -> TrainingOptions:
    """The options with the preset's value for each that was left out. Raises UserError for the other preset's."""
    coursework = COURSEWORK | options.changed_defaults | ({"epochs": None} if options.steps else {})
    defaults = best_defaults(options) if options.preset == "best" else coursework
    names = {field.name for field in fields(TrainingOptions)} - {field.name for field in fields(DataOptions)}
    foreign = [n for n in names - {"preset", "latent", *defaults} if getattr(options, n) is not None]
    if foreign or (options.epochs and options.steps):
        what = " and ".join(f"--{name.replace('_', '-')}" for name in foreign or ("epochs", "steps"))
        raise UserError(f"{what} is not for --preset {options.preset} with these options; leave it out")
    return replace(options, **{name: value for name, value in defaults.items() if getattr(options, name) is None})
