"""Latent arithmetic in a style that a network has never seen, nor a cat in any style: the original's network, the best
preset, and on its latents the deep analogy of Reed et al. 2015, "Deep visual analogy-making", equation 5.
"""

from pathlib import Path
from typing import Callable

import torch
from torch import nn

import data
from lab import families, presets, trained, training
from lab.arithmetic import COUNTERPARTS
from lab.contract import Autoencoder, decode_all, encode_all
from lab.families import Analogies
from lab.options import BestRun, ReportRun, Run
from studies.cat_analogies import Options, require_kept

HIDDEN = 256  # units of the network that makes an attribute fit its target
STEPS = 1000  # of its training
BATCH = 64  # analogies per step
LEARNING_RATE = 1e-3  # of Adam
ORIGINAL = "original's network"  # what its arithmetic is called
Compose = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # target, baseline, featured to composites


def run_of(preset: str, config: Options, styles: list[str], folder: Path, device: torch.device) -> Run:
    """The training of a preset's network on the faces of `styles` but the cats, with everything decided."""
    kind, options = {
        "report": (ReportRun, {"epochs": config.epochs}),
        "best": (BestRun, {"steps": config.steps, "precision": config.precision, "split": "emoji"}),
    }[preset]
    run = kind(
        source=styles[0], also=tuple(styles[1:]), keyword=data.KEYWORD, hold_out=tuple(COUNTERPARTS),
        latent=config.latent, device=config.device, out=folder, plots=folder, **options,
    )  # fmt: skip
    return presets.settled(run, device)


def network(preset: str, config: Options, pictures: list[data.Originals], device: torch.device) -> Autoencoder:
    """A network that has seen the faces of these styles but the cats, trained and kept in `config.out`.

    Raises UserError for one that is there, but is not what would be trained now.
    """
    styles = [each.source for each in pictures]
    folder = config.out / "networks" / f"{preset}-{'-'.join(styles)}"
    run = run_of(preset, config, styles, folder, device)
    model, _ = trained.network(run)
    require_kept(run, pictures[0].source)
    return model.to(device)


def arithmetic_in(model: Autoencoder, device: torch.device, change: nn.Module | None = None) -> Compose:
    """target + (featured - baseline) in a latent, with what `change` adds to fit it to the target."""

    def compose(*sources: torch.Tensor) -> torch.Tensor:
        target, baseline, featured = (encode_all(model, (part * 255).round().byte(), device) for part in sources)
        attribute = featured - baseline
        with torch.no_grad():
            more = 0 if change is None else change(torch.cat([attribute, target], 1))
        return decode_all(model, target + attribute + more, device)

    return compose


def known_analogies(pictures: data.Originals) -> list[torch.Tensor]:
    """The tables of a style's skin tones and genders: no cat is in them."""
    return [table for table_of in (families.skin_tones, families.genders) if len(table := table_of(pictures))]


def deep_analogy(model: Autoencoder, pictures: list[data.Originals], device: torch.device) -> nn.Module:
    """What to add to an attribute, from (N, 2 x latent) attributes and targets: learned on analogies without cats.

    Its loss is the squared distance to the truth's latent.
    """
    generator = data.generator("deep analogy", 0)
    torch.manual_seed(data.seed_for("weights of the deep analogy", 0))
    change = nn.Sequential(
        nn.Linear(2 * model.latent, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, model.latent),
    )  # fmt: skip
    latents = [encode_all(model, each.images, device) for each in pictures]
    tables = [(z, table) for z, each in zip(latents, pictures) for table in known_analogies(each)]
    optimizer = torch.optim.Adam(change.parameters(), LEARNING_RATE)
    for step in range(STEPS):
        z, table = tables[step % len(tables)]
        drawn: Analogies = families.draw(table, BATCH, generator)
        target, baseline, featured, truth = (z[part] for part in vars(drawn).values())
        attribute = featured - baseline
        missed = target + attribute + change(torch.cat([attribute, target], 1)) - truth
        optimizer.zero_grad()
        missed.square().mean().backward()
        optimizer.step()
    return change.eval()


def methods(config: Options, pictures: list[data.Originals]) -> dict[str, Compose]:
    """The rows of a style that networks make which have seen the other styles, `pictures`, and no cat."""
    device = training.choose_device(config.device)
    report, best = (network(preset, config, pictures, device) for preset in ("report", "best"))
    return {
        ORIGINAL: arithmetic_in(report, device),
        "best preset": arithmetic_in(best, device),
        "best preset, deep analogy": arithmetic_in(best, device, deep_analogy(best, pictures, device)),
    }
