"""Part 3: composites by latent arithmetic, scored against the emoji that really exists.

    python composite.py                                   # heart-shaped eyes onto the cat, as in the original
    python composite.py --target 🐶 --featured "heart eyes"  # names, parts of names, short names or the emoji itself
    python composite.py --method learned                  # one that looks like an emoji, on any target
    python composite.py --method mean                     # other ideas for better composites: mean, isolated, map
    python composite.py --model runs/multitask            # in Part 2's latent
    python composite.py --seed 1                          # by another network of Part 1

z = z_target + strength x (z_featured - z_baseline), decoded by the network that Part 1 left in runs/autoencoder.
Writes runs/composite/ and plots/composite_*.png; with other options, all into a folder of its own beside it.
Expect an MSE to the true picture of about 0.027: better than the unchanged target (0.041), no better than PCA.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from common import command_line
from common.errors import UserError, at_least
from lab.options import PRETRAINED, Method, ReportRun

LARGEST_STRENGTH = 1000  # beyond it a composite is a corner of the colour cube
ROLES = ("target", "baseline", "featured")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Add an attribute to a picture in latent space, and score the composite."""

    source: str = "auto"  # that of the network in --model, or hub, twemoji, openmoji, noto, the path of your own
    target: str = "smiling cat face with open mouth"  # the picture to change: its name, short name or character
    baseline: str = "grinning face"  # a picture without the attribute
    featured: str = "smiling face with heart-shaped eyes"  # a picture with the attribute
    truth: str = "auto"  # the picture that the composite should be; auto knows it for nine cats and faces

    # how the attribute is found. difference: featured - baseline, the original's formula; mean: featured made a cat by
    # the mean difference of cats and their humans; isolated: the difference without what it shares with other faces'
    # attributes; map: featured made a cat by a regression, fitted on cats and their humans; learned: no arithmetic, but
    # featured's features in place of the target's, moved by a composer to where its head has them
    method: Method = "difference"
    strength: float = 1.0  # how much of the attribute is added

    model: Path | None = None  # folder of a trained network; None: that of --seed, or else pretrained/report
    network: str = "convolutional"  # architecture to train there; of your own as my_file.py:MyClass, also to load it
    seed: int = 0  # of Part 1's network, which is trained if it is not there
    device: str = "auto"  # auto takes CUDA, MPS or the processor; cpu, cuda or mps decide
    out: Path | None = None  # folder of the record; None: runs/composite, and a name for other options
    plots: Path | None = None  # folder of the figures; None: plots, or for other options the folder of the record
    overwrite: bool = False  # replace the record in --out, whatever it is of

    def __post_init__(self):
        at_least(0, seed=self.seed)
        if not abs(self.strength) <= LARGEST_STRENGTH:
            limits = f"between -{LARGEST_STRENGTH} and {LARGEST_STRENGTH}"
            raise UserError(f"--strength is {self.strength}; it must be {limits}")


if __name__ == "__main__":
    command_line.answer(Config)  # --help and mistakes: before the imports that take seconds

import torch

import data
from common import figures, files, names
from lab import arithmetic, baselines, composites, records, trained, training
from lab.arithmetic import Space
from lab.composites import STEPS, STRENGTHS, Equation
from lab.contract import Autoencoder, encode_all

# ---------------------------------------------------------------- what is asked for


def equation_of(config: Config, everything: data.Originals) -> Equation:
    """The pictures that are asked for. Raises UserError if there are none such, or too few pairs for the method."""
    target, baseline, featured = (composites.taken(everything, role, getattr(config, role)) for role in ROLES)
    truth = composites.known_truth(everything, config.truth, target, featured)
    return composites.equation(everything, target, baseline, featured, truth, config.method)


def settled(config: Config, everything: data.Originals, equation: Equation, own: str | None) -> Config:
    """The config as the record keeps it: names as the source spells them, so that one emoji is one run, and folders.

    `own` is the source of the network, if there is one yet.
    """
    asked = {role: getattr(equation, role) for role in (*ROLES, *(["truth"] if config.truth != "auto" else []))}
    config = replace(config, **{role: label(everything, i) for role, i in asked.items()})
    name = name_of(config, everything.source if own not in (None, everything.source) else "")
    out = config.out or Path("runs") / "-".join(filter(None, ("composite", name)))
    return replace(config, out=out, plots=config.plots or (out if name else Path("plots")))


def label(everything: data.Originals, i: int) -> str:
    """The name of an emoji, with its skin tone if it has one; where the source does not say, with its place."""
    name, code = everything.names[i], everything.codes[i]
    tone = names.tone(code) or ("" if code else str(everything.names[:i].count(name) or ""))
    return f"{name} tone {tone}" if tone else name


def name_of(config: Config, source: str) -> str:
    """What a composite has of its own, as part of a file's name; empty without options. `source`: if not the network's.

    No two that differ in anything share a name, but for odd signs in names of the user's own.
    """
    usual = [names.normalise(getattr(Config, role)) for role in ROLES]
    asked = [getattr(config, role) for role in ROLES]
    target, baseline, featured, truth = map(names.shortest, [*asked, config.truth])
    network = f"seed {config.seed}" if config.model == default_model(config.seed) else f"in {config.model.name}"
    parts = {
        f"{target} plus {featured}": asked != usual,
        f"minus {baseline}": asked[1] != usual[1],
        f"truth {truth}": config.truth != Config.truth,
        config.method: config.method != Config.method,
        f"strength {config.strength}".removesuffix(".0"): config.strength != Config.strength,
        network: config.model != default_model(0),
        f"by {config.network}": config.network != Config.network,
        f"from {Path(source).name}": source,
    }
    return re.sub(r"[^\w.+-]+", "-", " ".join(part for part, own in parts.items() if own))


def default_model(seed: int) -> Path:
    return Path(f"runs/autoencoder-seed-{seed}" if seed else "runs/autoencoder")


def folder_of_network(config: Config) -> Path:
    """That of --model or, without it, of --seed. Says so where it is the repository's, since seed 0 is not trained."""
    trained_here, ready = config.model or default_model(config.seed), PRETRAINED / "report"
    if config.model or trained_here.exists() or config.seed or config.network != Config.network:
        return trained_here
    if config.source not in ("auto", trained.recorded_source(ready)) or not ready.exists():
        return trained_here
    print(f"no trained network in {trained_here} yet: taking the one in {ready}")
    return ready


def opened(config: Config, source: str) -> tuple[Autoencoder, data.DataConfig]:
    """The network in --model and what it was trained on; trained on `source` if there is none. Raises UserError."""
    run = ReportRun(
        source=source, network=config.network, seed=config.seed, device=config.device,
        out=config.model, plots=config.model,
    )  # fmt: skip
    model, trained_on = trained.network(run)
    if config.seed not in (0, trained_on.seed):
        where = f"the network in {config.model} was trained with --seed {trained_on.seed}"
        raise UserError(f"{where}, not {config.seed}; give another --model or --seed")
    return model, trained_on


# ---------------------------------------------------------------- what is shown and recorded


def formula(config: Config) -> tuple[tuple[str, ...], str, str]:
    """The signs before target, featured, baseline and composite, the composite's label, and the formula in words."""
    attribute = arithmetic.FORMULAS[config.method]
    words = f"composite = target + {config.strength:g} × ({attribute})"
    if config.method == "difference" and config.strength == 1:
        return ("", "+", "−", "="), "composite", words
    return ("", "", "", "→"), f"composite\n{config.method}, strength {config.strength:g}", words


def draw(
    config: Config, everything: data.Originals, equation: Equation, spaces: dict, small: Equation, answer: int, scores: dict
) -> None:  # fmt: skip
    """The equation in pictures, target and composite side by side, and the strip of strengths.

    `small` is the equation as indices into the spaces; `scores` and `answer` are what `scored` returns.
    """
    space, learned = spaces["composite"], "latent_arithmetic" in spaces
    shown = (equation.target, equation.featured, equation.baseline)
    pictures = [data.to_float(everything.images[i]) for i in shown]
    inputs = [] if learned else [small.target, small.featured, small.baseline]
    composite, *strip = composites.compose(space, small, config.method, [config.strength, *STRENGTHS])
    signs, about, words = formula(config)
    titles = [*(everything.names[i] for i in shown), about]
    if equation.truth is None:
        end = everything.images[answer], f"nearest emoji (no true picture is known): {everything.names[answer]}"
        notes, apart = [], None
    else:
        end = apart = everything.images[answer], "the true picture"
        notes = [f"MSE {error:.4f}" for error in scores["mse_to_truth_by_strength"]["network"]]
    plots, strengths = config.plots, [f"strength {strength:g}" for strength in STRENGTHS]
    reconstructions = [*space.decode(space.latents[inputs]), composite]
    figures.equation(pictures, reconstructions, titles, signs, end, words, plots / "composite_equation.png")
    row = {"target": pictures[0]}
    if learned:
        row |= {"latent arithmetic": composites.compose(spaces["latent_arithmetic"], small, "difference", [1.0])[0]}
    row |= {f"{'learned ' if learned else ''}composite": composite}
    figures.strip([*row.values()], [*row], plots / "composite_side_by_side.png", apart=apart if learned else None)
    figures.strip(strip, strengths, plots / "composite_strip.png", notes, apart)


def latent_attribute(
    config: Config, network: Space, space: Space, small: Equation, model: Autoencoder, device: torch.device
) -> torch.Tensor:  # fmt: skip
    """(d,) the attribute in the network's latent: of a composite in another `space`, as the network sees it."""
    if space is network:
        return composites.attribute_of(network, small, config.method)
    composite = composites.compose(space, small, config.method, [1.0])
    return encode_all(model, (composite * 255).round().byte(), device)[0] - network.latents[small.target]


def directions(
    config: Config, network: Space, attribute: torch.Tensor, small: Equation, model: Autoencoder, splits: data.Splits,
    device: torch.device,
) -> dict:  # fmt: skip
    """Draw the target moved along the principal directions of the training originals' latents, and the attribute.

    Returns how much of the attribute lies in them: question 3c.1, whether PCA isolates it.
    """
    seen = splits.originals.images[splits.train.emoji.unique()]  # upright and each once, not their copies
    found = composites.principal_directions(encode_all(model, seen, device), attribute)
    rows = composites.walks(network, network.latents[small.target], found, attribute)
    labels = [f"direction {k}\n({part:.0%} of variance)" for k, part in enumerate(found.variance()[: len(rows) - 1], 1)]
    deviations = [f"{step:+d} std" if step else "the target" for step in STEPS]
    strengths = [f"strength {step}" for step in STEPS]
    path = config.plots / "composite_directions.png"
    figures.directions(rows, [*labels, "the attribute"], deviations, strengths, path)
    return composites.isolation(found, attribute)


def described(config: Config, everything: data.Originals, equation: Equation, splits: data.Splits) -> dict:
    """What the record says of a composite beside its network and its scores."""
    metrics = {"source": everything.source, "method": config.method, "strength": config.strength}
    metrics |= {role: everything.names[getattr(equation, role)] for role in ROLES}
    metrics["truth"] = None if equation.truth is None else everything.names[equation.truth]
    if equation.truth is not None:
        metrics["truth_in_training"] = metrics["truth"] in {splits.originals.names[i] for i in splits.train.emoji}
    return metrics


def unknown(metrics: dict, keyword: str) -> list[str]:
    """The pictures that the network was not trained to know, by its recorded keyword. Says so in a line."""
    strangers = [metrics[role] for role in ROLES if names.normalise(keyword) not in metrics[role]]
    if little := ", ".join(map(repr, dict.fromkeys(strangers))):
        print(f"the network knows only emoji with {keyword!r} in their names: expect little of {little}")
    return strangers


def scored(
    config: Config, everything: data.Originals, equation: Equation, spaces: dict[str, Space], small: Equation
) -> tuple[dict, int]:
    """The scores of the composite and of the answers beside it, and the index of the true or else the nearest picture.

    Prints them.
    """
    methods = {name: composites.beside(config.method) for name in spaces} | {"composite": config.method}
    answers = {
        name: composites.compose(space, small, methods[name], [config.strength])[0] for name, space in spaces.items()
    }
    answers["unchanged_target"] = data.to_float(everything.images[equation.target])
    errors = composites.errors_to_all(answers, everything)
    nearest, mse = composites.nearest(errors["composite"], equation)
    metrics = {"nearest_emoji": everything.names[nearest], "mse_to_nearest": mse}
    if equation.truth is None:
        others = f"nearest of the other {len(everything.names) - len(set(equation.sources()))} emoji"
        print(f"no true picture is known; {others}: {everything.names[nearest]!r}, MSE {mse:.4f}")
        return metrics, nearest
    scores = composites.score(answers, errors, everything, equation)
    print(composites.table(scores, everything.names[equation.truth], len(everything.names)))
    truth = data.to_float(everything.images[equation.truth])
    by_strength = composites.errors_by_strength(spaces, small, config.method, truth)
    return metrics | scores.pop("composite") | scores | {"mse_to_truth_by_strength": by_strength}, equation.truth


def main(config: Config) -> dict:
    """Compose, score, draw and record. Returns the metrics that go into metrics.json."""
    device = training.choose_device(config.device)
    config = replace(config, model=folder_of_network(config))
    folders = [config.model, default_model(0)]
    own, *recorded = map(trained.recorded_source, folders)  # networks of other seeds are trained on the same pictures
    source = next(filter(None, (own, *recorded)), "auto") if config.source == "auto" else config.source
    everything = data.load_originals(source, keyword="")
    equation = equation_of(config, everything)
    config = settled(config, everything, equation, own)
    files.writable(config.out, config.plots)
    model, trained_on = opened(config, own or everything.source)
    with records.recording(config, everything, device) as record:
        splits = trained.splits_of(model, trained_on)
        small, images = composites.reduced(equation, everything)
        network = arithmetic.network_space(model.to(device), images, device)
        pca = baselines.fit_pca(splits.train.images, model.latent)
        spaces = {
            "composite": composites.space_of(config.method, network, images),
            "pixel_arithmetic": arithmetic.pixel_space(images),
            "pca_arithmetic": arithmetic.pca_space(images, pca),
        } | ({"latent_arithmetic": network} if config.method == "learned" else {})
        metrics = described(config, everything, equation, splits)
        metrics |= {"latent": model.latent, "network_source": records.source_label(trained_on.source)}
        metrics |= {"network_seed": trained_on.seed, "unknown_to_network": unknown(metrics, trained_on.keyword)}
        scores, answer = scored(config, everything, equation, spaces, small)
        draw(config, everything, equation, spaces, small, answer, scores)
        attribute = latent_attribute(config, network, spaces["composite"], small, model, device)
        metrics["principal_directions"] = directions(config, network, attribute, small, model, splits, device)
        print(f"record in {config.out}/, figures in {config.plots}/composite_*.png")
        return record.finish(metrics | scores)


if __name__ == "__main__":
    command_line.run(main, Config)
