"""How a network is trained and tested: the PCA beside it, optimizers, precision, the one loop, the one evaluation."""

import ctypes
import math
import platform
import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Callable, Iterator

import torch
from torch import nn
from tqdm import tqdm

from lab import networks
from lab.augment import Mixture
from lab.cli import UserError
from lab.networks import Autoencoder, MultiTaskAutoencoder, refine
from lab.options import TrainingOptions, TrainingRun, resolve_defaults
from lab.pictures import DROPOUT, MIXTURE, MIXTURE_SAMPLE, ORDER, SAMPLE, WEIGHTS, Part, Splits
from lab.pictures import generator, seed_for, to_float
from lab.runs import Checkpoint, Run, read_run

# A network's losses on a batch: means over its images, with "loss" the one to descend.
LossFunction = Callable[[nn.Module, torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]
ROWS = 30  # rows of the best preset's record, as many as the coursework has epochs
EPSILON = 8 / 255  # of the adversarial examples: how far a pixel is moved
PROGRESS = "{percentage:3.0f}% |{bar}| {elapsed}<{remaining}"


# ---------------------------------------------------------------- what any reconstruction has to beat


def flatten(images: torch.Tensor):
    """(N, 3, H, W) images, uint8 or in [0, 1], as an (N, 3 * H * W) float32 array in [0, 1]."""
    return to_float(images).flatten(1).numpy()


def fit_pca(images: torch.Tensor, components: int):
    """A sklearn PCA of (N, 3, H, W) training images, with at most N components."""
    from sklearn.decomposition import PCA  # takes half a second to import
    from threadpoolctl import threadpool_limits

    # arpack is as exact as a full decomposition, and computes only the components that are asked for
    solver = "arpack" if components < len(images) else "full"
    with threadpool_limits(1, "blas"):  # on a busy machine, two threads took 8 times as long as one
        return PCA(min(components, len(images)), svd_solver=solver, random_state=0).fit(flatten(images))


def pca_reconstructions(pca, images: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) images through a PCA and back, in [0, 1]."""
    pixels = pca.inverse_transform(pca.transform(flatten(images))).clip(0, 1)
    return torch.from_numpy(pixels).unflatten(1, images.shape[1:])


def baseline_errors(pca, test: Part) -> dict[str, float]:
    """Test MSE per image of a PCA of the training images, and of their mean."""
    pixels = flatten(test.images)

    def mean_square(difference) -> float:
        return float((difference**2).mean())

    errors = {"pca_mse": mean_square(pca_reconstructions(pca, test.images).flatten(1).numpy() - pixels)}
    return errors | {"mean_image_mse": mean_square(pca.mean_ - pixels), "pca_components": int(pca.n_components_)}


# ---------------------------------------------------------------- device and precision


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA, MPS or the processor, whichever is there first. Raises UserError."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    try:
        if not available.get(name.split(":")[0]):
            raise RuntimeError("it is not on this machine")
        return torch.empty(0, device=name).device
    except RuntimeError as error:
        present = ", ".join(kind for kind, there in available.items() if there)
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name} cannot be used ({reason}); this machine has {present}") from None


@lru_cache(maxsize=1)
def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32: measured, in a few hundredths of a second.

    One without it takes a hundred times as long, so the seconds of one thread decide, however busy the machine is. What
    the processor says of itself would not do: `ONEDNN_MAX_CPU_ISA=AVX2` makes a new one behave like an old one.
    """
    threads, seconds = torch.get_num_threads(), {}
    torch.set_num_threads(1)
    for kind in (torch.float32, torch.bfloat16):
        matrix, laps = torch.ones(192, 192, dtype=kind), []
        for _ in range(4):
            started = time.thread_time()
            matrix @ matrix
            laps.append(time.thread_time() - started)
        seconds[kind] = min(laps[1:])
    torch.set_num_threads(threads)
    return seconds[torch.bfloat16] < 0.8 * seconds[torch.float32]


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` computes in bfloat16, instead of imitating it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and cpu_has_bfloat16()


def resolve_options(options: TrainingRun) -> TrainingRun:
    """The options with everything decided: the preset's values, the device, and the precision. Raises UserError.

    A run that is resumed keeps the precision on its record.
    """
    options, device = resolve_defaults(options), choose_device(options.device)
    if options.precision == "auto":
        there = (read_run(options.out) if options.resume else None) or {"config": {}}
        here = "bfloat16" if has_bfloat16(device) else "float32"
        options = replace(options, precision=there["config"].get("precision", here))
    if options.precision == "bfloat16" and not has_bfloat16(device):
        print("this machine only imitates bfloat16: expect ten times the time of float32")
    return replace(options, device=str(device))


# ---------------------------------------------------------------- optimizers


def newton_schulz(matrix: torch.Tensor) -> torch.Tensor:
    """Roughly the nearest orthogonal matrix, by five Newton-Schulz rounds with Jordan's coefficients (2024).

    All rounds work on the small Gram matrix. This form needs float32: in bfloat16 it diverges, which the usual form
    on the whole matrix does not.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / (wide.norm() + 1e-7)
    gram, identity = wide @ wide.T, torch.eye(len(wide), device=wide.device)
    product = identity
    for _ in range(5):
        step = 3.4445 * identity - 4.775 * gram + 2.0315 * gram @ gram
        product, gram = step @ product, step @ gram @ step
    wide = product @ wide
    return wide.T if tall else wide


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalized, for the weights of convolutions and linear layers. Jordan et al. 2024.

    torch.optim.Muon refuses the weights of convolutions, and was about 30 times slower on a processor.
    """

    def __init__(self, parameters, lr: float, momentum: float = 0.95, weight_decay: float = 0.2):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the matrices are small: a second thread only waits
        for group in self.param_groups:
            for parameter in group["params"]:
                average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(average, group["momentum"]).flatten(1)
                size = group["lr"] * max(1, update.shape[0] / update.shape[1]) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(newton_schulz(update).reshape(parameter.shape), alpha=-size)
        torch.set_num_threads(threads)


def one_cycle(done: float, warm_up: float = 0.1) -> float:
    """The best preset's learning rate at `done` of the budget, as a part of its peak: up linearly, down by a cosine."""
    if done < warm_up:
        return (done + 1e-3) / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (done - warm_up) / (1 - warm_up))


def optimizers(options: TrainingOptions, model: Autoencoder) -> list[torch.optim.Optimizer]:
    """Adam for the coursework; for the best preset Muon for matrices, AdamW for biases and the linear path."""
    fused = next(model.parameters()).device.type != "mps"
    if options.preset == "coursework":
        rates = {"lr": options.learning_rate, "weight_decay": options.weight_decay}
        return [torch.optim.Adam(model.parameters(), **rates, fused=fused)]
    linear = [parameter for name, parameter in model.named_parameters() if name in model.linear_path]
    others = [parameter for name, parameter in model.named_parameters() if name not in model.linear_path]
    matrices, biases = ([p for p in others if (p.dim() > 1) == wide] for wide in (True, False))
    rates = ((linear, options.linear_learning_rate), (biases, options.bias_learning_rate))
    groups = [{"params": parameters, "lr": rate} for parameters, rate in rates if parameters]
    return [
        Muon(matrices, options.muon_learning_rate, weight_decay=options.muon_weight_decay),
        torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0, fused=fused),
    ]


# ---------------------------------------------------------------- losses


def reconstruction_loss(model: nn.Module, images: torch.Tensor, emoji: torch.Tensor) -> dict[str, torch.Tensor]:
    """The MSE per image, pixels in [0, 1]."""
    return {"loss": nn.functional.mse_loss(model(images), images)}


def adversarial_loss(model: nn.Module, images: torch.Tensor, emoji: torch.Tensor) -> dict[str, torch.Tensor]:
    """The MSE to the true images, where half of the inputs are adversarial.

    Every pixel is moved by EPSILON to where the MSE rises: the fast gradient sign method, Goodfellow et al. 2015.
    """
    attacked = images[::2].clone().requires_grad_()
    slope = torch.autograd.grad(nn.functional.mse_loss(model(attacked), images[::2]), attacked)[0]
    inputs = images.clone()
    inputs[::2] = (images[::2] + EPSILON * slope.sign()).clamp(0, 1)
    return {"loss": nn.functional.mse_loss(model(inputs), images)}


def refined_loss(steps: int) -> LossFunction:
    """The MSE with latents that are refined by so many steps."""

    def loss(model: Autoencoder, images: torch.Tensor, emoji: torch.Tensor) -> dict[str, torch.Tensor]:
        latents = torch.cat([refine(model, part, steps) for part in images.split(64)])  # in parts, to save memory
        return {"loss": nn.functional.mse_loss(model.decode(latents).clamp(0, 1), images)}

    return loss


class Means:
    """Means per image of the losses of batches."""

    def __init__(self):
        self.sums, self.count = {}, 0

    def add(self, losses: dict[str, torch.Tensor], images: int) -> None:
        """Count a batch of `images` in. Raises UserError if its loss is not finite."""
        numbers = {name: value.item() for name, value in losses.items()}
        if not math.isfinite(numbers["loss"]):
            raise UserError(f"the loss became {numbers['loss']}; try a smaller --learning-rate or another --seed")
        for name, number in numbers.items():
            self.sums[name] = self.sums.get(name, 0.0) + number * images
        self.count += images

    def take(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: value / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


def evaluate(model: nn.Module, part: Part, loss_function: LossFunction, gradients: bool = False) -> dict[str, float]:
    """The losses over all images of `part`, as means per image, without dropout and in float32.

    `gradients` are for loss functions that need them themselves. Raises UserError for a loss that is not finite.
    """
    model.eval()
    means, device = Means(), next(model.parameters()).device
    for images, emoji in part.batches(256):
        with torch.set_grad_enabled(gradients):
            losses = loss_function(model, to_float(images.to(device)), emoji.to(device))
        means.add(losses, len(images))
    return means.take()


# ---------------------------------------------------------------- the loop


@dataclass(frozen=True)
class Budget:
    """How long to train: `steps`, or `seconds` if given. On the way `rows` are recorded, at equal distances."""

    steps: int | None
    seconds: float | None = None
    rows: int = 1
    unit: str = "step"  # epoch: the rows are counted as epochs

    def done(self, step: int, seconds: float) -> float:
        """The part that is used up after so many steps and seconds."""
        return seconds / self.seconds if self.seconds else step / self.steps

    def rows_due(self, step: int, seconds: float) -> int:
        """How many rows should be recorded by then."""
        return int(seconds / self.seconds * self.rows) if self.seconds else step * self.rows // self.steps


def descend(model, images, emoji, loss_function: LossFunction, optimizers: list, precision: str) -> dict:
    """One step of every optimizer. Returns the losses before it."""
    device = next(model.parameters()).device
    images, emoji = to_float(images.to(device)), emoji.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        losses = loss_function(model, images, emoji)
    losses["loss"].backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return losses


def train(
    model: nn.Module, batches: Iterator, loss_function: LossFunction, optimizers: list, budget: Budget, *,
    precision: str = "float32", schedule: Callable[[float], float] = lambda done: 1.0,
    checkpoint: Checkpoint | None = None, validate: Callable[[nn.Module], dict] | None = None, show: bool = False,
) -> list[dict]:  # fmt: skip
    """Train `model` until the budget is used up, or continue from the checkpoint. Returns the rows of the record.

    `batches` never ends. `schedule` is the learning rate over the budget, as a part of each optimizer's own.
    `validate(model)` gives the validation losses of a row. Raises UserError if the loss is not finite.
    """
    progress = checkpoint.restore() if checkpoint else {"step": 0, "seconds": 0.0}
    rows, means = list(checkpoint.history) if checkpoint else [], Means()
    step, started = progress["step"], time.monotonic() - progress["seconds"]
    done, recorded = budget.done(step, progress["seconds"]), budget.rows_due(step, progress["seconds"])
    peaks = [(group, group["lr"]) for optimizer in optimizers for group in optimizer.param_groups]  # after restore
    for row in rows if show else []:
        print(loss_line(row, budget))
    model.train()
    with tqdm(total=1.0, initial=done, leave=False, disable=None, bar_format=PROGRESS) as bar:
        while done < 1:
            for group, peak in peaks:
                group["lr"] = peak * schedule(done)
            images, emoji = next(batches)
            means.add(descend(model, images, emoji, loss_function, optimizers, precision), len(images))
            step, seconds = step + 1, time.monotonic() - started
            done = budget.done(step, seconds)
            bar.update(min(done, 1) - bar.n)
            if (due := budget.rows_due(step, seconds)) > recorded:
                recorded = due
                parts = {"train": means.take(), "val": validate(model) if validate else {}}
                row = {"epoch": due, "step": step} if budget.unit == "epoch" else {"step": step}
                row |= {f"{part}_{name}": value for part, losses in parts.items() for name, value in losses.items()}
                rows.append(checkpoint.add(row) if checkpoint else row)
                if show:
                    tqdm.write(loss_line(rows[-1], budget))
                if checkpoint:
                    checkpoint.save({"step": step, "seconds": time.monotonic() - started}, finished=done >= 1)
                model.train()
    return rows


def loss_line(row: dict, budget: Budget) -> str:
    """A row for the terminal, as the coursework prints it: Train Loss: ..., Val Loss: ..., then accuracies."""
    place = f"Epoch [{row['epoch']}/{budget.rows}]" if budget.unit == "epoch" else f"Step {row['step']}"
    names = [(part, name) for name in ("loss", "accuracy") for part in ("train", "val") if f"{part}_{name}" in row]
    return ", ".join([place, *(f"{part.title()} {name.title()}: {row[f'{part}_{name}']:.4f}" for part, name in names)])


# ---------------------------------------------------------------- a preset's training


@dataclass(frozen=True)
class Trained:
    """What a training leaves."""

    model: Autoencoder  # on its device
    history: list[dict] = field(repr=False)  # the rows of the record
    pca: object = field(repr=False)  # of the images that the network saw, with as many components as its latent


def passes(part: Part, size: int, order: torch.Generator) -> Iterator:
    """Pass after pass over a part, the last batch of each as large as it comes."""
    loader = part.batches(size, order)
    while True:
        yield from loader


def equal_batches(part: Part, size: int, order: torch.Generator) -> Iterator:
    """Passes end to end, in batches of one size."""
    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < size:
            waiting = torch.cat([waiting, torch.randperm(len(part), generator=order)])
        yield part[waiting[:size]]
        waiting = waiting[size:]


def sample(part: Part, count: int | None, seed: int) -> torch.Tensor:
    """`count` of the images, or all of them."""
    if count is None:
        return part.images
    return part.images[torch.randperm(len(part), generator=generator(SAMPLE, seed))[:count]]


def training_batches(options: TrainingOptions, splits: Splits, order: torch.Generator, rows: int | None):
    """(batches without end, a PCA of training images, the budget), as the preset has them."""
    if options.preset == "best":
        mixture = Mixture(splits, options, choose_device(options.device))
        images = mixture.sample(options.pca_images, generator(MIXTURE_SAMPLE, options.seed))
        budget = Budget(options.steps, options.seconds, rows or ROWS)
        return mixture.batches(options.batch_size, order), fit_pca(images, options.latent), budget
    pca = fit_pca(sample(splits.train, options.pca_images, options.seed), options.latent)
    if options.steps:
        return equal_batches(splits.train, options.batch_size, order), pca, Budget(options.steps, None, rows or ROWS)
    steps = math.ceil(len(splits.train) / options.batch_size) * options.epochs
    return passes(splits.train, options.batch_size, order), pca, Budget(steps, None, options.epochs, "epoch")


def build(options: TrainingOptions, pca, classes: int) -> Autoencoder:
    """A new network that starts at PCA if it can, on its device, with a classifier if there are `classes`."""
    torch.manual_seed(seed_for(WEIGHTS, options.seed))
    known = {"dropout": options.dropout, "initialization": options.initialization}
    known = {name: value for name, value in known.items() if value is not None}
    model = networks.build(options.network, options.latent, **known)
    model = MultiTaskAutoencoder(model, classes) if classes else model
    model.start_at_pca(pca)
    return to_device(model, choose_device(options.device))


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Channels last is the layout in which strided convolutions are fastest, on processors and on CUDA."""
    if platform.libc_ver()[0] == "glibc":
        # Keep what tensors free for the next ones; returned to the kernel, it comes back page by page: a tenth of a step.
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for a large block
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nothing is returned
    return model.to(device) if device.type == "mps" else model.to(device, memory_format=torch.channels_last)


def fit(
    options: TrainingOptions, splits: Splits, run: Run | None = None, *, loss_function: LossFunction | None = None,
    classes: int = 0, training: dict | None = None, validate: Callable | None = None, rows: int | None = None,
) -> Trained:  # fmt: skip
    """Train a network as the options say, with a classifier if there are `classes`, or continue with it.

    The record goes into `run`; `training` tells the trainings of one run apart. `validate(model)` gives what a row says
    beside the training losses: by default the losses on the validation images. Raises UserError.
    """
    order = generator(MIXTURE if options.preset == "best" else ORDER, options.seed)
    batches, pca, budget = training_batches(options, splits, order, rows)
    model = build(options, pca, classes)
    descended = loss_function or (adversarial_loss if options.augment == "adversarial" else reconstruction_loss)
    if validate is None and len(splits.val):
        validate = lambda model: evaluate(model, splits.val, loss_function or reconstruction_loss)  # noqa: E731
    device, steppers = next(model.parameters()).device, optimizers(options, model)
    torch.manual_seed(seed_for(DROPOUT, options.seed))
    layers = torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else torch.default_generator
    checkpoint = Checkpoint(run, training or {}, model, steppers, [order, layers]) if run else None
    history = train(
        model, batches, descended, steppers, budget, precision=options.precision,
        schedule=one_cycle if options.preset == "best" else lambda done: 1.0,
        checkpoint=checkpoint, validate=validate, show=run is not None and not training,
    )  # fmt: skip
    return Trained(model, history, pca)


def reopened(model: Autoencoder, options: TrainingOptions, splits: Splits) -> Trained:
    """A trained network with the PCA of its training, fitted again."""
    order = generator(MIXTURE, options.seed)
    device = choose_device(options.device)
    return Trained(to_device(model, device), [], training_batches(options, splits, order, None)[1])


def errors(trained: Trained, test: Part, refine_steps: int | None) -> dict[str, float]:
    """Test MSEs of the network, with refined latents if there are steps for it, of PCA and of the mean image."""
    found = {"test_mse": evaluate(trained.model, test, reconstruction_loss)["loss"]}
    if refine_steps:
        found["refined_mse"] = evaluate(trained.model, test, refined_loss(refine_steps), gradients=True)["loss"]
    return found | baseline_errors(trained.pca, test)


def test(trained: Trained, splits: Splits, options: TrainingOptions) -> dict:
    """The numbers of a run: its sizes, and its test errors in the source's style and by style. Prints the errors."""
    by_style = {style: errors(trained, test, options.refine_steps) for style, test in splits.tests().items()}
    for style, found in by_style.items():
        if style == splits.pictures.source:
            print(f"Final average test MSE: {found['test_mse']:.4f}")
        else:
            trained_on = "never in training" if style == options.hold_out_style else "also in training"
            print(f"{style}, {trained_on}: test MSE {found['test_mse']:.4f}")
        refined = [f"with refined latents: {found['refined_mse']:.4f}"] if "refined_mse" in found else []
        pca = f"PCA, {found['pca_components']} components: {found['pca_mse']:.4f}"
        print(", ".join([*refined, pca, f"mean image: {found['mean_image_mse']:.4f}"]))
    about = ("preset", "network", "split", "augment", "precision", "seed")
    return {
        "source": splits.pictures.source,
        **{name: getattr(options, name) for name in about},
        **splits.counts(),
        "leaked": splits.leaked(),
        "skipped": splits.pictures.skipped,
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        **by_style[splits.pictures.source],
        "styles": by_style,
    }
