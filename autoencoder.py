"""Part 1: a convolutional autoencoder, 64x64x3 pixels to 128 numbers and back.

    python autoencoder.py                # the coursework's order: copy, then split
    python autoencoder.py --split unseen --out runs/unseen     # split, then copy
    python autoencoder.py --preset best --split unseen --out runs/best
    python autoencoder.py --evaluate pretrained/coursework     # test it again
    python autoencoder.py --seeds 5 --out runs/seeds           # mean and spread

Writes runs/autoencoder/ (record, weights, latents) and plots/autoencoder_*.png.
Expect a test MSE of about 0.014 (PCA: 0.005). The best preset takes longer."""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # `python -I` leaves it out
from lab import cli  # before torch: lab sets the environment

import data
from lab import figures, networks, runs, training
from lab.networks import Autoencoder, decode_all, encode_all
from lab.options import RunOptions
from lab.pictures import Splits
from lab.training import Trained


@dataclass(frozen=True, kw_only=True)
class Config(RunOptions):
    """Train an autoencoder and print its test error next to those of PCA and of the mean image."""

    seeds: int | None = None  # number of runs, from seed 0, in folders below --out; prints mean and standard deviation
    evaluate: Path | None = None  # folder of a finished run: test its network again, without training
    reference: tuple[Path, ...] = ()  # folders of other trained networks, to show in the figure
    out: Path = Path("runs/autoencoder")  # folder of the record and the weights

    def __post_init__(self):
        super().__post_init__()
        cli.require_range(2, 1000, seeds=self.seeds)


def rank(errors: dict[str, float]) -> str:
    """Where a run's test MSE stands between those of its baselines, in words."""
    if errors["test_mse"] >= errors["mean_image_mse"]:
        return "worse than the mean image: hardly trained"
    return f"better than the mean image, {'better' if errors['test_mse'] < errors['pca_mse'] else 'worse'} than PCA"


def error_line(found: dict[str, float]) -> str:
    """Test errors for the terminal."""
    refined = f"with refined latents: {found['refined_mse']:.4f}, " if "refined_mse" in found else ""
    baselines = "PCA, {pca_components} components: {pca_mse:.4f}, mean image: {mean_image_mse:.4f}".format_map(found)
    return f"{found['test_mse']:.4f}, {refined}{baselines} (lower is better; {rank(found)})"


def test(trained: Trained, splits: Splits, config: Config) -> dict:
    """The numbers of a run: its sizes, and its test errors in the source's style and by style. Prints the errors."""
    by_style = {style: training.errors(trained, part, config.refine_steps) for style, part in splits.tests().items()}
    source_style, *other_styles = by_style
    print(f"Final average test MSE: {error_line(by_style[source_style])}")
    for style in other_styles:
        trained_on = "never" if style == config.hold_out_style else "also"
        print(f"{style}, {trained_on} in training: {error_line(by_style[style])}")
    about = ("preset", "network", "split", "augment", "precision", "seed")
    metrics = {"source": source_style, **{name: getattr(config, name) for name in about}, **splits.counts()}
    metrics |= {"leaked": splits.leaked(), "skipped": splits.pictures.skipped}
    metrics |= {"parameters": sum(parameter.numel() for parameter in trained.model.parameters())}
    return metrics | by_style[source_style] | {"styles": by_style}


def network_label(metrics: dict) -> str:
    """What the figure calls a network."""
    names = dict.fromkeys(("residual", "informed"), "best preset") | {"convolutional": "coursework's network"}
    name = names.get(metrics["network"], Path(metrics["network"]).name)
    name += ",\ntrained as the best preset" if metrics["preset"] == "best" and name != "best preset" else ""
    return f"{name}\ntest MSE {metrics['test_mse']:.4f}"


def draw(trained: Trained, splits: Splits, metrics: dict, references: list[tuple[Autoencoder, dict]], config) -> None:
    """Learning curves, and five test emoji, upright, with what PCA and the networks make of them, by style.
    They are the first in the test set, of those that most styles have."""
    pictures, rows = splits.pictures, []
    shown = [*zip(pictures.names, pictures.codes)]  # in another style, skin tone included
    place, others = {(pictures.styles[i], *shown[i]): i for i in range(len(shown))}, [*splits.other_styles]
    tested = splits.test.examples(len(splits.test)).tolist()
    columns = [[i, *(place.get((style, *shown[i])) for style in others)] for i in tested]
    columns = sorted(columns, key=lambda places: places.count(None))[:5]
    for (style, errors), places in zip(metrics["styles"].items(), zip(*columns)):
        if None in places:
            continue
        images, unseen = pictures.images[[*places]], ",\nnever in training" * (style == config.hold_out_style)
        pca = f"PCA, {errors['pca_components']} components\ntest MSE {errors['pca_mse']:.4f}"
        rows += [("", [])] * bool(rows)  # a gap
        name = Path(style).name if others else "picture"
        rows += [(name + unseen, images), (pca, training.pca_reconstructions(trained.pca, images))]
        for model, numbers in [*(references if style == pictures.source else ()), (trained.model, metrics | errors)]:
            rows.append((network_label(numbers), decode_all(model, encode_all(model, images))))
    prefix = "autoencoder" if config.preset == "coursework" else f"autoencoder_{config.preset}"
    loss = "mse" if "train_mse" in trained.history[0] else "loss"  # an own network's loss may be more than the MSE
    figures.learning_curves(trained.history, config.plots / f"{prefix}_curves.png", metrics, loss)
    titles = [pictures.names[places[0]] for places in columns]
    figures.reconstructions(rows, titles, config.plots / f"{prefix}_reconstructions.png")


def evaluate(config: Config) -> dict:
    """Test the network of a finished run again. Returns its test numbers; writes nothing."""
    from lab import pretrained

    model, options, record = pretrained.reopen(config)
    splits = data.load(options)
    trained = training.reopened(model, options, splits)
    numbers = training.errors(trained, splits.test, options.refine_steps)
    return pretrained.compare(config.evaluate, numbers, record, splits.pictures)


def main(config: Config) -> dict:
    """Train, test, draw and record. Returns the metrics that go into metrics.json, or those of --evaluate, --seeds."""
    if config.evaluate:
        return evaluate(config)
    if config.seeds:
        return runs.over_seeds(main, config)
    config = training.resolve_options(config)
    splits = data.load(config)
    if config.reference:
        from lab import pretrained
    references = [pretrained.load_reference(folder, config, splits.pictures) for folder in config.reference]
    with runs.opened(config, splits.pictures) as run:
        trained = training.fit(config, splits, run)
        metrics = test(trained, splits, config)
        networks.save(trained.model, splits.pictures, config.out)
        draw(trained, splits, metrics, references, config)
        own = "" if config.network in networks.ARCHITECTURES else f" --network {config.network}"
        print(f"record in {config.out}, figures in {config.plots}; next: python composite.py --model {config.out}{own}")
        return run.finish(metrics)


if __name__ == "__main__":
    cli.run(main, Config)
