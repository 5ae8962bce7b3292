"""Part 3: composites by latent arithmetic, scored against the emoji that really exists.

    python composite.py                                   # heart-shaped eyes onto the cat, as in the report
    python composite.py --target 😺 --baseline 😃 --featured 😢 --out runs/crying
    python composite.py --method mean --out runs/mean    # the report's ideas for better composites: mean, isolated, map

z = z_target + strength x (z_featured - z_baseline), decoded by the network that Part 1 left in runs/autoencoder.
Writes runs/composite/ and plots/composite_*.png.
Expect an MSE to the true picture of about 0.027: better than the unchanged target (0.041), no better than PCA arithmetic.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import torch

import arithmetic
import autoencoder
import baselines
import cli
import data
import figures
import names
import records
import training
from cli import UserError

STRIP = [i / 4 for i in range(9)]  # strengths of the strip, 0 to 2


@dataclass(frozen=True, kw_only=True)
class Config:
    """Add an attribute to a picture in latent space, and score the composite."""

    source: str = "auto"  # auto, hub, twemoji, or the path of your own parquet file or image folder
    target: str = "smiling cat face with open mouth"  # the picture to change: a name or the emoji itself
    baseline: str = "grinning face"  # a picture without the attribute
    featured: str = "smiling face with heart-shaped eyes"  # a picture with the attribute
    truth: str = "auto"  # the picture that the composite should be; auto knows it for the nine cats with a human twin

    method: Literal["difference", "mean", "isolated", "map"] = "difference"  # how the attribute is found; see the README
    strength: float = 1.0  # how much of the attribute is added

    model: Path = Path("runs/autoencoder")  # folder of Part 1's trained network; it is trained there if there is none
    latent: int = 128  # numbers of the latent; the network must have as many
    device: str = "auto"  # auto takes CUDA, MPS or the processor; cpu, cuda or mps decide
    out: Path = Path("runs/composite")  # folder of the record
    plots: Path = Path("plots")  # folder of the figures
    overwrite: bool = False  # replace the record in --out, whatever it is of

    def __post_init__(self):
        cli.at_least(1, latent=self.latent)
        cli.at_most(autoencoder.LARGEST_LATENT, latent=self.latent)
        if not abs(self.strength) <= 1000:
            raise UserError(f"--strength is {self.strength}; it must be between -1000 and 1000")


def trained(folder: Path, source: str, latent: int) -> tuple[autoencoder.Autoencoder, data.DataConfig]:
    """The network in `folder` and the data it was trained on; trains Part 1, or goes on with it, if it is not there.

    Raises UserError if it was trained on another source, or has another latent, than asked for.
    """
    if not folder.exists() or records.unfinished(folder):
        print(f"no trained network in {folder}: training Part 1 first")
        autoencoder.main(autoencoder.Config(source=source, latent=latent, out=folder, resume=records.unfinished(folder)))
    model = autoencoder.load(folder)
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        content = {field.name: run["config"][field.name] for field in fields(data.DataConfig)}
        if not cli.fits(content, {field.name: field.type for field in fields(data.DataConfig)}):
            raise ValueError("its config is none of this project")
        config, trained_on = data.DataConfig(**content), run["source"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, UserError) as error:
        raise UserError(f"{folder}/run.json does not say what the network was trained on ({error}); train it again") from None
    if trained_on != records.source_label(source):
        raise UserError(f"the network in {folder} was trained on {trained_on}, not {source}; give another --model or --source")
    if model.latent != latent:
        raise UserError(f"the network in {folder} has a latent of {model.latent}, not {latent}; give --latent {model.latent}")
    return model, config


def network_space(model: autoencoder.Autoencoder, images: torch.Tensor, device: torch.device) -> arithmetic.Space:
    """The latents of a trained network, one per image."""
    return arithmetic.Space(autoencoder.encode_all(model, images, device), lambda latents: autoencoder.decode_all(model, latents, device))


def known_truth(everything: data.Originals, config: Config, target: int, featured: int) -> int | None:
    """Index of the picture that the composite should be, if there is one."""
    if config.truth != "auto":
        return names.find(everything.names, config.truth)
    cats = {human: cat for cat, human in arithmetic.TWINS.items()}
    answer = cats.get(everything.names[featured])
    if everything.names[target] not in arithmetic.TWINS or answer not in everything.names:
        return None
    return everything.names.index(answer)


def known_pairs(everything: data.Originals, config: Config, truth: int | None) -> list[tuple[int, int]]:
    """Indices of the cats and their human twins, but for the truth. Raises UserError if the method needs more of them."""
    pairs = [
        (everything.names.index(cat), everything.names.index(human))
        for cat, human in arithmetic.TWINS.items()
        if {cat, human} <= set(everything.names) and truth != everything.names.index(cat)
    ]
    if config.method != "difference" and len(pairs) < 2:
        raise UserError(f"--method {config.method} learns from cats with a human twin; {everything.source} has none")
    return pairs


def experiment(config: Config, everything: data.Originals, sources, truth: int | None, known, model, data_config, device) -> dict:
    """Compose, score and draw. Returns the metrics."""
    target, baseline, featured = sources
    splits = data.load(data_config)
    # Every picture that the arithmetic looks at, in one small batch; `place` is where each one went.
    used = sorted({*sources, *(i for pair in known for i in pair)})
    place = {original: row for row, original in enumerate(used)}
    images = everything.images[used]
    network = network_space(model, images, device)
    spaces = {
        "composite": network,
        "pixel_arithmetic": arithmetic.pixel_space(images),
        "pca_arithmetic": arithmetic.pca_space(images, baselines.fit_pca(splits.train.images, config.latent)),
    }
    triple = [place[i] for i in sources]
    pairs = [(place[cat], place[human]) for cat, human in known]

    def compose(space: arithmetic.Space, strengths: list[float]) -> torch.Tensor:
        attribute = arithmetic.ATTRIBUTES[config.method](space.latents, *triple, pairs)
        return space.decode(torch.stack([space.latents[triple[0]] + strength * attribute for strength in strengths]))

    answers = {name: compose(space, [config.strength])[0] for name, space in spaces.items()}
    answers["unchanged_target"] = data.to_float(everything.images[target])
    metrics = {"source": everything.source, "method": config.method, "strength": config.strength}
    metrics |= {role: everything.names[i] for role, i in zip(("target", "baseline", "featured"), sources)}
    metrics["truth"] = None if truth is None else everything.names[truth]
    if truth is not None:
        metrics["truth_in_training"] = everything.names[truth] in {splits.originals.names[i] for i in splits.train.emoji}
        scores = score(answers, everything, truth, sources)
        metrics |= scores.pop("composite") | scores

    draw(config, everything, sources, truth, answers["composite"], network, triple, compose(network, STRIP))
    return metrics


def score(answers: dict[str, torch.Tensor], everything: data.Originals, truth: int, sources: list[int]) -> dict[str, dict]:
    """Each answer's scores against the true picture, printed as a table."""
    picture = data.to_float(everything.images[truth])
    target = data.to_float(everything.images[sources[0]])
    region = (picture - target).abs().amax(0) > arithmetic.DIFFERENT
    errors = arithmetic.squared_errors(torch.stack(list(answers.values())), everything.images)
    ranks = arithmetic.ranks(errors, [truth] * len(answers), [sources] * len(answers))
    print(f"truth: {everything.names[truth]}; scores over the picture, and in the region where it differs from the target")
    print(f"{'':18} {'MSE':>7} {'SSIM':>7} {'MSE in':>7} {'SSIM in':>7} {'rank of ' + str(len(everything.names)):>13}")
    scores = {}
    for (name, answer), rank in zip(answers.items(), ranks):
        scores[name] = {**arithmetic.similarity(answer, picture, region), "rank_of_truth": rank}
        mse, ssim, mse_in, ssim_in, _ = scores[name].values()
        print(f"{name.replace('_', ' '):18} {mse:7.4f} {ssim:7.3f} {mse_in:7.4f} {ssim_in:7.3f} {rank:13}")
    return scores


def draw(config, everything, sources, truth, composite, network: arithmetic.Space, triple: list[int], strip: torch.Tensor) -> None:
    """The equation in pictures, target and composite side by side, and the strip of strengths."""
    target, baseline, featured = sources
    pictures = [data.to_float(everything.images[i]) for i in (target, featured, baseline)]
    reconstructions = network.decode(network.latents[[triple[0], triple[2], triple[1]]])
    true_picture = None if truth is None else data.to_float(everything.images[truth])
    titles = [everything.names[i] for i in (target, featured, baseline)]
    for path in (
        figures.equation(pictures, reconstructions, titles, composite, true_picture, config.plots / "composite_equation.png"),
        figures.strip([pictures[0], composite], ["target", "composite"], config.plots / "composite_side_by_side.png"),
        figures.strip(strip, [f"strength {strength:g}" for strength in STRIP], config.plots / "composite_strip.png"),
    ):
        print("figure", path)


def main(config: Config) -> dict:
    """Compose and record. Returns the metrics that go into metrics.json."""
    device = training.choose_device(config.device)
    everything = data.load_originals(config.source, keyword="")
    sources = [names.find(everything.names, name) for name in (config.target, config.baseline, config.featured)]
    truth = known_truth(everything, config, sources[0], sources[2])
    known = known_pairs(everything, config, truth)
    cli.writable(config.out, config.plots)
    model, data_config = trained(config.model, everything.source, config.latent)
    with records.recording(config, everything, device) as record:
        return record.finish(experiment(config, everything, sources, truth, known, model.to(device), data_config, device))


if __name__ == "__main__":
    cli.run(main, Config)
