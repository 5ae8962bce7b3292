"""Part 3: composites by latent arithmetic, scored against the true picture.

    python composite.py                       # heart-shaped eyes onto the cat
    python composite.py --target 🐶 --featured ":heart_eyes:"
    python composite.py --method transplant   # copies eyes and mouth
    python composite.py --model runs/multitask             # in Part 2's latent
    python composite.py --model runs/seeds --seeds 5 --out runs/composites

z = z_target + strength x (z_featured - z_baseline), decoded by the network in
runs/autoencoder or pretrained/. Writes runs/composite/ and
plots/composite_*.png; with other options, all in one new folder.
Expect an MSE to the true picture of about 0.026; the unchanged target's is
0.041, PCA's is like the network's."""

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).parent))  # `python -I` leaves it out
from lab import cli  # before torch: lab sets the environment

import torch

import data
from lab import arithmetic, classes, figures, names, pretrained, runs, training
from lab.arithmetic import STEPS, Equation, Space, compose
from lab.cli import UserError
from lab.classes import MultiTaskAutoencoder
from lab.networks import WEIGHTS, Autoencoder, encode_all
from lab.options import DataOptions
from lab.pictures import Pictures, Splits, to_float

LARGEST_STRENGTH = 1000  # beyond it a composite is a corner of the colour cube
STRENGTHS = [i / 4 for i in range(9)]  # of the strip, 0 to 2
ROLES = ("target", "baseline", "featured")
PLACES = {"network": "composite", "pca": "pca_arithmetic", "pixels": "pixel_arithmetic"}  # strips, and their spaces


@dataclass(frozen=True, kw_only=True)
class Config:
    """Add an attribute to a picture in latent space, and score the composite."""

    target: str = "smiling cat face with open mouth"  # the picture to change: its name, short name or character
    baseline: str = "grinning face"  # a picture without the attribute
    featured: str = "smiling face with heart-shaped eyes"  # a picture with the attribute
    truth: str = "auto"  # the picture that the composite should be; auto knows it for nine cats and humans

    # how the attribute is found. difference: featured - baseline, the coursework's formula; mean: featured as a cat, by
    # the mean difference of cats and their humans; isolated: the difference without what it shares with other faces;
    # transplant: no arithmetic, copy the changed eyes and mouth onto the target
    method: Literal["difference", "mean", "isolated", "transplant"] = "difference"
    strength: float = 1.0  # how much of the attribute is added

    source: str | None = None  # twemoji, openmoji, noto, hub, or the path of your own; default: the network's
    model: Path | None = None  # network: a folder or hub:owner/name; default: runs/autoencoder or pretrained/coursework
    network: str | None = None  # your own network in --model, as my_file.py:MyClass
    seed: int | None = None  # take the network in seed-N below --model
    seeds: int | None = None  # number of such networks, from seed 0; prints mean and standard deviation
    device: str = "auto"  # auto takes CUDA, MPS or the CPU; or cpu, cuda, mps
    out: Path | None = None  # folder of the record; default: runs/composite, followed by the options you changed
    plots: Path | None = None  # folder of the figures; default: plots, or with other options the folder of the record
    overwrite: bool = False  # replace the record in --out

    def __post_init__(self):
        cli.require_range(-LARGEST_STRENGTH, LARGEST_STRENGTH, strength=self.strength)
        cli.require_range(2, 1000, seeds=self.seeds)
        if self.seeds and not (self.model and self.out):
            raise UserError("--seeds needs --model, the folder of the networks, and --out")


def downloaded(name: str) -> Path:
    """The folder of a network on the Hugging Face Hub, `owner/name`, which is downloaded once. Raises UserError."""
    from huggingface_hub import snapshot_download  # takes a second

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", f"*{WEIGHTS}"]))
    except Exception as error:  # the client also raises errors of its HTTP library
        raise UserError(f"hub:{name} cannot be downloaded ({error}); check the name and the internet") from None


def open_network(config: Config) -> tuple[Autoencoder, DataOptions, Path]:
    """The network, what it was trained on, and its folder. Prints which it is. Raises UserError."""
    own, model = Path("runs/autoencoder"), (config.model or Path()).as_posix()
    default = own if (own / runs.METRICS).exists() else pretrained.folder_of("coursework")
    folder = downloaded(model[4:]) if model.startswith("hub:") else config.model or default
    folder /= "" if config.seed is None else f"seed-{config.seed}"
    model, options, metrics = pretrained.open_run(folder, config.network)
    made = runs.read_run(folder)["config"]
    length = next(f"{made[unit]} {unit}" for unit in ("epochs", "steps") if made.get(unit))
    beside = f"PCA {metrics['pca_mse']:.4f}, mean image {metrics['mean_image_mse']:.4f}"
    print(f"network: {folder}, {length}, test MSE {metrics['test_mse']:.4f}, {beside}")
    if metrics["test_mse"] >= metrics["mean_image_mse"]:
        print("the network is worse than the mean image: expect grey blobs")
    return model.to(training.choose_device(config.device)), options, folder


def label(pictures: Pictures, i: int) -> str:
    """The name of an emoji, with its skin tone if it has one."""
    tone = names.tone(pictures.codes[i])
    return f"{pictures.names[i]} tone {tone}" if tone else pictures.names[i]


def resolve_folders(config: Config, pictures: Pictures, equation: Equation, model: Path, own_source: str) -> Config:
    """The config as recorded: names as the source spells them, the source, the network's folder, `out` and `plots`."""
    asked = {role: label(pictures, getattr(equation, role)) for role in ROLES}
    asked |= {"truth": label(pictures, equation.truth)} if config.truth != "auto" else {}
    parts = [name for role, name in asked.items() if name != names.normalise(getattr(Config, role))]
    parts += [config.method] if config.method != Config.method else []
    parts += [f"strength {config.strength:g}"] if config.strength != Config.strength else []
    parts += [str(part) for part in (config.model, config.seed) if part is not None]
    parts += [Path(pictures.source).name] if pictures.source != own_source else []
    slug = re.sub(r"[^\w.+-]+", "-", " ".join(parts))
    out = config.out or Path("runs") / "-".join(filter(None, ["composite", slug]))
    plots = config.plots or (out if slug or config.out else Path("plots"))
    return replace(config, **asked, source=pictures.source, model=model, out=out, plots=plots)


def score(config: Config, pictures: Pictures, equation: Equation, small: Equation, spaces: dict) -> tuple[dict, int]:
    """The scores of the composite and of the answers to compare with; the index of the true or else nearest picture.
    `small` is the equation as indices into the spaces. Prints the scores."""
    arithmetic_method = "difference" if config.method == "transplant" else config.method
    methods = dict.fromkeys(spaces, arithmetic_method) | {"composite": config.method}
    answers = {name: compose(space, small, methods[name], [config.strength])[0] for name, space in spaces.items()}
    answers["unchanged_target"] = to_float(pictures.images[equation.target])
    errors = arithmetic.squared_errors(torch.stack(list(answers.values())), pictures.images)
    nearest, mse = arithmetic.nearest(errors[0], equation)
    metrics = {"nearest_emoji": pictures.names[nearest], "mse_to_nearest": mse}
    if equation.truth is None:
        others = f"nearest of the other {len(pictures) - len(set(equation.sources()))} emoji"
        print(f"no true picture is known; {others}: {pictures.names[nearest]!r}, MSE {mse:.4f}")
        return metrics, nearest
    scores = arithmetic.score(answers, errors, pictures, equation)
    print(score_table(scores, pictures.names[equation.truth], len(pictures)))
    truth = to_float(pictures.images[equation.truth])
    strips = {name: compose(spaces[place], small, methods[place], STRENGTHS) for name, place in PLACES.items()}
    by_strength = {name: (strip - truth).square().mean((1, 2, 3)).tolist() for name, strip in strips.items()}
    metrics |= scores.pop("composite") | scores
    return metrics | {"mse_to_truth_by_strength": {"strengths": STRENGTHS, **by_strength}}, equation.truth


def score_table(scores: dict[str, dict], truth: str, count: int) -> str:
    """The scores, one line per answer; `count` pictures were ranked."""
    lines = [
        f"truth: {truth}; scores over the picture, and in the region where it differs from the target",
        f"{'':18} {'MSE':>7} {'SSIM':>7} {'MSE in':>7} {'SSIM in':>7} {f'rank of {count}':>13}",
    ]
    for name, row in scores.items():
        mse, ssim, mse_in, ssim_in, rank = row.values()
        lines.append(f"{name.replace('_', ' '):18} {mse:7.4f} {ssim:7.3f} {mse_in:7.4f} {ssim_in:7.3f} {rank:13}")
    return "\n".join(lines)


def draw(config: Config, pictures: Pictures, equation: Equation, small: Equation, spaces, answer: int, scores) -> None:
    """The equation in pictures, target and composite side by side, and the strip of strengths.
    `answer` is the true or else the nearest picture."""
    space, transplanted = spaces["composite"], config.method == "transplant"
    shown = (equation.target, equation.featured, equation.baseline)
    sources = [to_float(pictures.images[i]) for i in shown]
    composite, *strip = compose(space, small, config.method, [config.strength, *STRENGTHS])
    times = "" if config.strength == 1 else f"{config.strength:g} × "
    words = f"composite = target + {times}({arithmetic.FORMULAS[config.method]})"
    plain = config.method == "difference" and not times
    signs = ("", "+", "−", "=") if plain else ("", "", "", "→")
    about = "composite" if plain else f"composite\n{config.method}, strength {config.strength:g}"
    titles = [*(pictures.names[i] for i in shown), about]
    truth = {"the true picture": to_float(pictures.images[answer])} if equation.truth is not None else {}
    errors = scores["mse_to_truth_by_strength"]["network"] if truth else []
    nearest = f"nearest emoji (no true picture is known): {pictures.names[answer]}"
    end = pictures.images[answer], "the true picture" if truth else nearest
    inputs = [] if transplanted else [small.target, small.featured, small.baseline]
    reconstructions = [*space.decode(space.latents[inputs]), composite]
    figures.equation(sources, reconstructions, titles, signs, end, words, config.plots / "composite_equation.png")
    row = {"target": sources[0]}
    if transplanted:
        row |= {"latent arithmetic": compose(spaces["latent_arithmetic"], small, "difference")[0]}
    row |= {config.method if transplanted else "composite": composite} | truth
    figures.reconstructions([("", [*row.values()])], [*row], config.plots / "composite_side_by_side.png")
    strip = {f"strength {strength:g}": picture for strength, picture in zip(STRENGTHS, strip)} | truth
    notes = [f"MSE {error:.4f}" + ("\nthe lowest" if error == min(errors) else "") for error in errors]
    figures.reconstructions([("", [*strip.values()])], [*strip], config.plots / "composite_strip.png", notes)


def draw_directions(config: Config, network: Space, small: Equation, model: Autoencoder, splits: Splits) -> dict:
    """Draw the target moved along the principal directions of the training pictures' latents, and the attribute.
    Returns how much of the attribute lies in them: question 3c.1, whether PCA isolates it."""
    method = "difference" if config.method == "transplant" else config.method
    attribute = arithmetic.attribute_of(network, small, method)
    seen = splits.pictures.images[splits.train.emoji.unique()]  # upright and each once, not their copies
    found = arithmetic.principal_directions(encode_all(model, seen), attribute)
    rows = arithmetic.walks(network, network.latents[small.target], found, attribute)
    labels = [f"direction {k}\n({part:.0%} of variance)" for k, part in enumerate(found.variance()[: len(rows) - 1], 1)]
    deviations = [f"{step:+d} std".replace("-", "−") if step else "the target" for step in STEPS]
    rows, strengths = [*zip([*labels, "the attribute"], rows)], [f"strength {step}".replace("-", "−") for step in STEPS]
    figures.reconstructions(rows, deviations, config.plots / "composite_directions.png", strengths)
    return arithmetic.isolation(found, attribute)


def describe(config: Config, pictures: Pictures, equation: Equation, splits: Splits) -> dict:
    """What the record says of a composite beside its scores. Says which pictures the network was not trained on."""
    metrics = {"source": pictures.source, "method": config.method, "strength": config.strength}
    metrics |= {role: pictures.names[getattr(equation, role)] for role in ROLES}
    metrics["truth"] = None if equation.truth is None else pictures.names[equation.truth]
    if equation.truth is not None:
        metrics["truth_in_training"] = metrics["truth"] in {splits.pictures.names[i] for i in splits.train.emoji}
    keyword = names.normalise(splits.pictures.keyword)
    if unknown := [metrics[role] for role in ROLES if keyword not in metrics[role]]:
        print(f"the network knows only emoji with {keyword!r} in their names: expect little of {', '.join(unknown)}")
    return metrics | {"network_source": splits.pictures.source, "unknown_to_network": unknown}


def main(config: Config) -> dict:
    """Compose, score, draw and record. Returns the metrics that go into metrics.json, or those of --seeds."""
    if config.seeds:
        return runs.over_seeds(main, config)
    model, options, folder = open_network(config)
    if not {config.source, options.source} & {None, *data.SOURCES} and not Path(options.source).exists():
        options = replace(options, source=config.source)  # the network's own pictures have moved
    pictures = data.load_pictures(config.source or options.source, keyword="")
    asked = [arithmetic.resolve_emoji(pictures, role, getattr(config, role)) for role in ROLES]
    truth = arithmetic.known_truth(pictures, asked[0], asked[2])
    truth = truth if config.truth == "auto" else arithmetic.resolve_emoji(pictures, "truth", config.truth)
    equation = arithmetic.equation(pictures, *asked, truth, config.method)
    config = resolve_folders(config, pictures, equation, folder, options.source)
    with runs.opened(config, pictures) as run:
        trained_on = data.load_styles(options)
        multi_task = isinstance(model, MultiTaskAutoencoder)
        splits = data.split(classes.classify(trained_on)[0] if multi_task else trained_on, options)
        pretrained.compare_pictures(folder, splits.pictures)
        small, images = arithmetic.subset(equation, pictures)
        network, pixels = arithmetic.network_space(model, images), arithmetic.pixel_space(images)
        pca = training.fit_pca(splits.train.images, model.latent)
        transplanted = config.method == "transplant"
        spaces = {"composite": pixels if transplanted else network, "pixel_arithmetic": pixels}
        spaces |= {"pca_arithmetic": arithmetic.pca_space(images, pca)}
        spaces |= {"latent_arithmetic": network} if transplanted else {}
        metrics = describe(config, pictures, equation, splits) | {"latent": model.latent}
        scores, answer = score(config, pictures, equation, small, spaces)
        draw(config, pictures, equation, small, spaces, answer, scores)
        metrics["principal_directions"] = draw_directions(config, network, small, model, splits)
        print(f"record in {config.out}, figures in {config.plots}/composite_*.png")
        return run.finish(metrics | scores)


if __name__ == "__main__":
    cli.run(main, Config)
