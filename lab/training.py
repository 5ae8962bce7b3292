"""How a network is trained and tested: PCA, evaluation, the loop. lab/best.py has the best preset's part."""

import ctypes
import itertools
import math
import platform
from dataclasses import replace
from functools import partial
from typing import Callable, Iterator, NamedTuple

import torch
from threadpoolctl import threadpool_limits
from torch import nn
from tqdm import tqdm

from lab import networks
from lab.cli import UserError
from lab.networks import Autoencoder
from lab.options import RunOptions, TrainingOptions, resolve_defaults
from lab.pictures import DROPOUT, MIXTURE, MIXTURE_SAMPLE, ORDER, SAMPLE, WEIGHTS, Part, Splits
from lab.pictures import generator, seed_for, to_float
from lab.runs import Checkpoint, Run

# A network's losses on a batch: means over its images, with "loss" the one to descend.
LossFunction = Callable[[nn.Module, torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]
reconstruction_loss: LossFunction = lambda model, images, emoji: Autoencoder.loss(model, images)  # the MSE
network_loss: LossFunction = lambda model, images, emoji: model.loss(images)  # the MSE, unless it has its own


def flatten(images: torch.Tensor):
    """(N, 3, H, W) images, uint8 or in [0, 1], as an (N, 3 * H * W) float32 array in [0, 1]."""
    return to_float(images).flatten(1).numpy()


def fit_pca(images: torch.Tensor, components: int):
    """A sklearn PCA of (N, 3, H, W) training images, with at most N components."""
    from sklearn.decomposition import PCA  # takes half a second to import

    solver = "arpack" if components < len(images) else "full"  # arpack is as exact, and computes only what is needed
    with threadpool_limits(1, "blas"):  # on a busy machine, two threads took 8 times as long as one
        return PCA(min(components, len(images)), svd_solver=solver, random_state=0).fit(flatten(images))


def pca_reconstructions(pca, images: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) images through a PCA and back, in [0, 1]."""
    pixels = pca.inverse_transform(pca.transform(flatten(images))).clip(0, 1)
    return torch.from_numpy(pixels).unflatten(1, images.shape[1:])


def baseline_errors(pca, test: Part) -> dict[str, float]:
    """Test MSE per image of a PCA of the training images, and of their mean."""
    pixels = flatten(test.images)
    made = {"pca_mse": flatten(pca_reconstructions(pca, test.images)), "mean_image_mse": pca.mean_}
    errors = {name: float(((image - pixels) ** 2).mean()) for name, image in made.items()}
    return errors | {"pca_components": int(pca.n_components_)}


def mean_losses(batches: list[tuple[dict[str, torch.Tensor], int]]) -> dict[str, float]:
    """Means per image of the losses of batches, each with its number of images. Raises UserError if not finite."""
    count = sum(images for _, images in batches)
    means = {name: sum(losses[name].item() * images for losses, images in batches) / count for name in batches[0][0]}
    if not math.isfinite(means["loss"]):
        raise UserError(f"the loss became {means['loss']}; try a smaller --learning-rate or another --seed")
    return means


@torch.no_grad()
def evaluate(model: nn.Module, part: Part, loss_function: LossFunction) -> dict[str, float]:
    """The losses per image of `part`, without dropout, in float32."""
    device = next(model.eval().parameters()).device
    batches = ((to_float(images.to(device)), emoji.to(device)) for images, emoji in part.batches(256))
    return mean_losses([(loss_function(model, *batch), len(batch[0])) for batch in batches])


def train(
    model: nn.Module, batches: Iterator, loss_function: LossFunction, optimizers: list, steps: int, *, rows: int = 1,
    unit: str = "step", precision: str = "float32", schedule: Callable[[float], float] | None = None,
    checkpoint: Checkpoint | None = None, skip: bool = False, validate: Callable[[nn.Module], dict] | None = None,
) -> list[dict]:  # fmt: skip
    """Train `model` for so many steps, or continue from the checkpoint. Returns the `rows` of the record, per `unit`.
    `schedule` maps the fraction of steps done to a fraction of each learning rate. `skip` drops the
    batches of steps made before. `validate(model)` gives a row's validation losses. Raises UserError if not finite."""
    start = checkpoint.restore() if checkpoint and checkpoint.path.exists() else 0
    batches = itertools.islice(batches, start if skip else 0, None)
    device, losses = next(model.parameters()).device, []
    history = list(checkpoint.history) if checkpoint else []
    peaks = [(group, group["lr"]) for optimizer in optimizers for group in optimizer.param_groups]  # after restore
    model.train()
    for step in tqdm(range(start, steps), initial=start, total=steps, leave=False, disable=None):
        for group, peak in peaks:
            group["lr"] = peak * schedule(step / steps) if schedule else peak
        images, emoji = next(batches)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            found = loss_function(model, to_float(images.to(device)), emoji.to(device))
        found["loss"].backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(({name: loss.detach() for name, loss in found.items()}, len(images)))
        due = (step + 1) * rows // steps
        if due > len(history):
            row = ({"epoch": due} if unit == "epoch" else {}) | {"step": step + 1}
            parts, losses = {"train": mean_losses(losses), "val": validate(model) if validate else {}}, []
            model.train()
            row |= {f"{part}_{name}": value for part, means in parts.items() for name, value in means.items()}
            history.append(checkpoint.add(row) if checkpoint else row)
            if checkpoint:
                checkpoint.save(step + 1, finished=step + 1 == steps)
    return history


def choose_device(name: str) -> torch.device:
    """The device of this name; `auto` is an accelerator, or else the processor. Raises UserError."""
    if name == "auto":
        name = str(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name} cannot be used ({str(error).splitlines()[0]}); try auto") from None


def resolve_options(options: RunOptions) -> RunOptions:
    """The options with all decided: the preset's values, the device and the precision. Raises UserError."""
    options = resolve_defaults(replace(options, device=str(choose_device(options.device))))
    if options.precision != "float32":
        from lab import best

        options = replace(options, precision=best.resolve_precision(options))
    if options.network not in networks.ARCHITECTURES:
        from lab import pretrained

        pretrained.try_own(options)
    return options


def batches_by_epoch(options: TrainingOptions, splits: Splits, order: torch.Generator):
    """(batches without end, a PCA of the training images, the steps) of a training that counts epochs."""
    batches = itertools.chain.from_iterable(splits.train.batches(options.batch_size, order) for _ in itertools.count())
    steps = len(splits.train.batches(options.batch_size, torch.Generator())) * options.epochs
    return batches, fit_pca(splits.train.images, options.latent), steps


def batches_by_step(options: TrainingOptions, splits: Splits, order: torch.Generator):
    """The same of a training that counts steps: batches of one size, and a PCA of a sample."""
    if options.preset == "best":
        from lab.augment import Mixture

        mixture = Mixture(splits, options, choose_device(options.device))
        images = mixture.sample(options.pca_images, generator(MIXTURE_SAMPLE, options.seed))
        batches = (mixture.batch(options.batch_size, order) for _ in itertools.count())
    else:
        chosen = torch.randperm(len(splits.train), generator=generator(SAMPLE, options.seed))[: options.pca_images]
        images = splits.train.images[chosen]
        passes = (torch.randperm(len(splits.train), generator=order).tolist() for _ in itertools.count())
        places = itertools.chain.from_iterable(passes)  # end to end
        batches = (splits.train[[*itertools.islice(places, options.batch_size)]] for _ in itertools.count())
    return batches, fit_pca(images, options.latent), options.steps


def build(options: TrainingOptions, wrap: Callable | None) -> Autoencoder:
    """A new network on its device; `wrap(network)` adds a classifier."""
    torch.manual_seed(seed_for(WEIGHTS, options.seed))
    own = {"dropout": options.dropout, "initialization": options.initialization}
    model = networks.build(options.network, options.latent, **own)
    return to_device(wrap(model) if wrap else model, choose_device(options.device))


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Channels last is the layout in which strided convolutions are fastest, on processors and on CUDA."""
    if platform.libc_ver()[0] == "glibc":
        # Keep freed memory for the next tensors: the kernel would give it back page by page, a tenth of a step's time.
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for a large block
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nothing is returned
    return model.to(device) if device.type == "mps" else model.to(device, memory_format=torch.channels_last)


def optimizers(options: TrainingOptions, model: Autoencoder) -> tuple[list[torch.optim.Optimizer], Callable | None]:
    """The preset's optimizers, Adam for the coursework's, and its schedule of learning rates."""
    fused = next(model.parameters()).device.type != "mps"
    if options.preset == "best":
        from lab import best

        return best.optimizers(options, model, fused), best.one_cycle
    rates = {"lr": options.learning_rate, "weight_decay": options.weight_decay}
    return [torch.optim.Adam(model.parameters(), **rates, fused=fused)], None


class Trained(NamedTuple):
    """What a training leaves."""

    model: Autoencoder  # on its device
    history: list[dict]  # the rows of the record
    pca: object  # of the images that the network saw, with as many components as its latent


def fit(
    options: TrainingOptions, splits: Splits, run: Run | None = None, *, loss_function: LossFunction | None = None,
    wrap: Callable | None = None, training: dict | None = None, validate: Callable | None = None, rows: int = 30,
) -> Trained:  # fmt: skip
    """Train a network as the options say, or continue with it, on record in `run`. `wrap(network)` adds what else is
    trained; `training` tells the trainings of one run apart; `validate(model)` gives the validation losses of a row."""
    order = generator(MIXTURE if options.preset == "best" else ORDER, options.seed)
    batches, pca, steps = (batches_by_epoch if options.epochs else batches_by_step)(options, splits, order)
    model = build(options, wrap)
    model.start_at_pca(pca)
    steppers, schedule = optimizers(options, model)
    loss_function = loss_function or network_loss
    if validate is None and len(splits.val):
        validate = partial(evaluate, part=splits.val, loss_function=loss_function)
    if options.augment == "adversarial":
        from lab.best import adversarial_loss as loss_function
    torch.manual_seed(seed_for(DROPOUT, options.seed))
    skip = not options.epochs and options.preset == "coursework"  # a checkpoint is within a pass: `order` is ahead
    generators = [torch.default_generator] if skip else [order, torch.default_generator]
    history = train(
        model, batches, loss_function, steppers, steps, rows=options.epochs or rows,
        unit="epoch" if options.epochs else "step", precision=options.precision, schedule=schedule,
        checkpoint=Checkpoint(run, training or {}, model, steppers, generators) if run else None, skip=skip,
        validate=validate,
    )  # fmt: skip
    return Trained(model, history, pca)


def reopened(model: Autoencoder, options: TrainingOptions, splits: Splits) -> Trained:
    """A trained network with the PCA of its training, fitted again."""
    parts = (batches_by_epoch if options.epochs else batches_by_step)(options, splits, generator(ORDER, options.seed))
    return Trained(to_device(model, choose_device(options.device)), [], pca=parts[1])


def errors(trained: Trained, test: Part, refine_steps: int | None) -> dict[str, float]:
    """Test MSEs of the network, with refined latents if there are steps for it, of PCA and of the mean image."""
    found = {"test_mse": evaluate(trained.model, test, reconstruction_loss)["loss"]}
    if refine_steps:
        from lab import best

        found["refined_mse"] = evaluate(trained.model, test, partial(best.refined_loss, steps=refine_steps))["loss"]
    return found | baseline_errors(trained.pca, test)
