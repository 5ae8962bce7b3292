"""The composites as a benchmark: cat_i + (human_j - human_i) should be cat_j, for nine cats with human counterparts.

    python analogies.py                        # all methods, three seeds; trains the networks it lacks, once
    python analogies.py --benchmark styles --out runs/analogies-styles --plots plots/styles  # three artists
    python analogies.py --benchmark targets --out runs/targets  # heart-shaped eyes on a dog, a moon, a pizza

Each composite is ranked against every other picture by MSE, its three sources left out, ties counted against it.
Once with the answers among the training pictures and once, honestly, with them held out. Eight composites each have
the same answer, so intervals and differences are over the nine answers, not over 72; the spread over seeds is apart.
Writes runs/analogies/ and plots/analogies_*.png. The 24 networks take about 20 minutes on 2 cores that compute in
bfloat16, once; then about a minute.

--benchmark styles asks what holds for other artists: cats, skin tones and genders in Twemoji, OpenMoji and Noto. But
for the drawn cats, what a method fits has seen the other styles only. It trains six networks, once, takes half an hour
and needs `pip install -r requirements-noto.txt`.
"""

import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from common import command_line
from common.errors import at_least, at_most
from lab.options import LARGEST_LATENT, Precision

# Methods with a sheet each for answers seen and held out, by their part of its name: what the coursework asks for, and
# what was found to be best.
SHOWN = {"original": "original's network", "drawn": "drawn cats"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Score latent arithmetic on 72 cat analogies with known answers, or methods without a network on several styles."""

    # styles: of three artists, with networks of one seed; targets: sixteen without a true picture, no other option counts
    benchmark: Literal["cats", "styles", "targets"] = "cats"
    count: int = 500  # analogies of skin tones, and of genders, in each style
    source: str = "auto"  # auto, hub, twemoji, openmoji, noto, or the path of your own parquet file or folder
    seeds: int = 3  # networks of each kind, from seed 0 upwards
    epochs: int = 30  # of the original's network, as in Part 1
    steps: int = 600  # of the best preset: a third of Part 1's
    precision: Precision = "auto"  # of the best preset: bfloat16 where the processor computes in it, else float32
    latent: int = 128  # numbers of the latent, and components of PCA
    device: str = "auto"  # auto takes CUDA, MPS or the processor; cpu, cuda or mps decide
    out: Path = Path("runs/analogies")  # folder of the record and of the trained networks
    plots: Path = Path("plots")  # folder of the figures
    overwrite: bool = False  # replace the record in --out, whatever it is of; trained networks stay

    def __post_init__(self):
        at_least(1, latent=self.latent, epochs=self.epochs, steps=self.steps)
        at_most(LARGEST_LATENT, latent=self.latent)
        at_least(2, seeds=self.seeds, count=self.count)


if __name__ == "__main__":
    command_line.answer(Config)  # --help and mistakes: before the imports that take seconds

import torch

import data
from common import figures
from lab import records, training
from studies import any_target, cat_analogies, style_analogies, style_scores, styles
from studies.cat_analogies import METHODS, PIXELS, Pool


def table(rows: list[dict], pools: dict[str, Pool]) -> str:
    """A line per method, for answers seen and held out: the scores among the faces, and among all pictures."""
    by_key = {(row["method"], row["held_out"], row["pool"]): row for row in rows}
    faces, everything = (len(pool.originals.names) for pool in pools.values())
    top1 = f"{'top-1 (95% by answer)':23} {'seeds':6} minus pixel arithmetic"
    lines = [
        f"{'':48} among {faces} faces{'':54} among {everything} pictures",
        f"{'':38} {'answers':9} {top1:57} {'MRR':5}  {'MSE':6}   top-1 MRR",
    ]
    for method in METHODS:
        for held_out in (False, True):
            face, whole = (by_key[method.name, held_out, pool] for pool in pools)
            spread = "" if face["top1_std"] is None else f"±{face['top1_std']:.3f}"
            ours = with_interval(face["by_answer"]["top1"], "")
            minus = "" if method.name == PIXELS else with_interval(face["minus_pixels"]["top1"], "+")
            lines.append(f"{method.name:38} {'held out' if held_out else 'seen':9} {ours:23} {spread:6} {minus:26} "
                         f"{face['mrr_mean']:.3f}  {face['mse_to_truth']:.4f}   {whole['top1_mean']:.3f} "
                         f"{whole['mrr_mean']:.3f}")  # fmt: skip
    return "\n".join(lines)


def with_interval(score: dict, sign: str) -> str:
    """A mean over the answers with its 95% interval."""
    low, high = score["interval"]
    return f"{score['mean']:{sign}.3f} ({low:{sign}.2f} to {high:{sign}.2f})"


def draw_sheets(pool: Pool, composites: list[dict[str, torch.Tensor]], held_out: bool, plots: Path) -> None:
    """Figures of the 72 composites of the methods in SHOWN, the right ones marked; of those with seeds, the first."""
    cats = data.to_float(pool.originals.images[pool.analogies.cats])
    suffix, answers = ("held_out", "held out") if held_out else ("seen", "in training")
    for name, method in SHOWN.items():
        pictures = next(by_method[method] for by_method in composites if method in by_method)
        right = cat_analogies.score(pictures, pool.originals, pool.analogies)["top1"] == 1
        seed = "" if method in composites[0] else ", seed 0"  # the first composites are those without one
        title = f"{method}{seed}, answers {answers}: {right.sum()} of {len(right)} right"
        path = plots / f"analogies_{name}_{suffix}.png"
        print("figure", figures.analogy_sheet(cats, pool.analogies.pairs, pictures, right, title, path))


def across_styles(config: Config) -> dict:
    """Run and record the benchmark of several styles. Returns the metrics that go into metrics.json."""
    found = styles.opened_styles(config.count)
    with records.recording(config, styles.joined(found), training.choose_device(config.device)) as record:
        rows, sheets = style_analogies.measure(config, found)
        for name, style, by_method in zip(found, found.values(), sheets):
            for method, composites in by_method.items():
                right = style_scores.score(composites, style, "cats")["top1"] == 1
                title = f"{method}, {name}, fitted on the other styles: {right.sum()} of {len(right)} right"
                path = config.plots / f"analogies_{method.split()[-1]}_{name}.png"
                print("figure", figures.analogy_sheet(*style.cats(), composites, right, title, path))
        print(style_analogies.table(rows))
        composer = style_analogies.chosen([*found.values()], style_analogies.LEARNED, "cats", None)
        print(f"learned on all cats of all styles: {composer}")
        return record.finish({"rows": rows, "composer": asdict(composer)})


def main(config: Config) -> dict:
    """Run and record a benchmark. Returns the metrics that go into metrics.json."""
    return {"cats": of_cats, "styles": across_styles, "targets": on_any_target}[config.benchmark](config)


def on_any_target(config: Config) -> dict:
    """Draw and record composites without a true picture. Returns the metrics that go into metrics.json."""
    everything = data.load_originals(config.source, keyword="")
    with records.recording(config, everything, torch.device("cpu")) as record:
        rows, made = any_target.measure(everything)
        targets = everything.images[[equation.target for equation in any_target.equations(everything)]]
        learned = [row for row in rows if row["method"] == any_target.METHODS["learned"]]
        for number, part in enumerate(torch.arange(len(targets)).split(8), 1):
            pictures = [("target", targets[part])]
            pictures += [(label.replace(" ", "\n"), made[key][part]) for key, label in any_target.METHODS.items()]
            titles, notes = (
                ["\n".join(textwrap.wrap(learned[i][key], 15)) for i in part] for key in ("target", "nearest")
            )
            path = config.plots / f"analogies_targets_{number}.png"
            print("figure", figures.reconstructions(pictures, titles, path, notes))
        for row in rows:
            print(f"{row['target']:22} {row['method']:20} nearest emoji: {row['nearest']}, MSE {row['mse']:.4f}")
        return record.finish({"rows": rows})


def of_cats(config: Config) -> dict:
    """Run and record the benchmark of cats. Returns the metrics that go into metrics.json."""
    device = training.choose_device(config.device)
    everything = data.load_originals(config.source, keyword="")
    originals = {"faces": data.matching(everything, data.KEYWORD), "all": everything}
    pools = {name: Pool(members, cat_analogies.find_analogies(members.names)) for name, members in originals.items()}
    faces, analogies = pools["faces"].originals, pools["faces"].analogies
    with records.recording(config, everything, device) as record:
        rows = []
        for held_out in (False, True):
            composites = [cat_analogies.unseeded_composites(faces, analogies, config.latent, held_out)]
            for seed in range(config.seeds):
                composites.append(cat_analogies.seeded_composites(config, faces, analogies, seed, held_out, device))
            rows += cat_analogies.rows(composites, pools, held_out)
            draw_sheets(pools["faces"], composites, held_out, config.plots)
        count = f"{len(analogies.pairs)} analogies with {len(analogies.cats)} answers"
        print(f"{count}; means over {config.seeds} seeds; 95% intervals over the answers; MRR: mean reciprocal rank")
        print(table(rows, pools))
        answers = [faces.names[cat] for cat in analogies.cats]
        about = {"source": everything.source, "analogies": len(analogies.pairs), "answers": answers}
        return record.finish({**about, "rows": rows})


if __name__ == "__main__":
    command_line.run(main, Config)
