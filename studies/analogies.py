"""Composites as a benchmark: analogies with known answers, methods x styles x families, one definition of every score.

    python -m studies.analogies             # 72 cats, 500 skin tones and 500 genders in each of three styles
    python -m studies.analogies --targets --out runs/targets  # hearts for eyes on a dog, a moon, a pizza ...

No method has seen the answer. Networks and PCA are trained on the style's own faces, in three folds: a cat is composed
by those that saw neither it nor two other cats. Skin tones and genders, of which few are faces, are composed by the
first fold's. Masked paste and the retoucher are fitted on the other two styles, for a cat without that cat. Nothing is fitted
in the transplant, but its thresholds were set by hand with all three styles in sight.

Each composite is ranked against the style's faces (cats) or all its pictures, its sources left out, ties counted against
it. Eight composites have the same answer, so intervals are over the answers. Writes runs/analogies/ and
plots/analogies_*.png. Needs requirements-noto.txt; the 18 networks take most of 10 to 20 minutes on 2 cores, once.
"""

import multiprocessing
import os
import textwrap
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Literal

from lab import cli  # before torch: it sets the environment

import numpy as np
import torch
from torch import nn

import data
from lab import arithmetic, figures, names, networks, pretrained, runs, statistics, training
from lab.arithmetic import ATTRIBUTES, COUNTERPARTS, Equation
from lab.options import KEYWORD, TrainingRun
from lab.pictures import Pictures, generator, seed_for, to_float
from lab.sources import STYLES
from lab.transplant import transplant
from studies import families
from studies.families import FAMILIES, Analogies

CATS, FOLDS = list(COUNTERPARTS), 3
SHIFT = 2  # pixels: a perfect answer so far off is no longer the nearest in a sixth of the cases
FITTED, RETOUCHED = 96, 200  # analogies of a family and style that pastes are chosen by, and retouching is learned on
COURSEWORK, PASTE, TRANSPLANT, PIXELS = "coursework's network", "masked paste", "transplant", "pixel arithmetic"
ARITHMETIC = {  # by method: the space, and how the attribute is found
    "PCA arithmetic": ("PCA", "difference"),
    COURSEWORK: ("coursework", "difference"),
    f"{COURSEWORK}, mean difference": ("coursework", "mean"),
    f"{COURSEWORK}, isolated difference": ("coursework", "isolated"),
    f"{COURSEWORK}, map": ("coursework", "map"),
    "best preset": ("best", "difference"),
    "best preset, mean difference": ("best", "mean"),
}
SHEETS = {"coursework": COURSEWORK, "paste": PASTE, "transplant": TRANSPLANT}  # figures of the 72 cats
TARGETS = (
    "dog face", "full moon with face", "robot face", "slice of pizza", "sun with face", "panda face", "frog face",
    "ghost", "baby", "snowman without snow", "tiger face", "jack-o-lantern", "alien monster", "pile of poo",
    "cow face", "nerd face",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Config:
    """Score composites on analogies with known answers, or show some on targets without one."""

    targets: bool = False  # compose on sixteen targets without a true picture instead; no other option counts
    count: int = 500  # analogies of skin tones, and of genders, in each style
    epochs: int = 30  # of the coursework's network, as in Part 1
    steps: int = 600  # of the best preset: a third of Part 1's
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of the best preset
    latent: int = 128  # numbers of the latent, and components of PCA
    device: str = "auto"  # auto takes CUDA, MPS or the processor; or cpu, cuda, mps
    out: Path = Path("runs/analogies")  # folder of the record and of the trained networks
    plots: Path = Path("plots")  # folder of the figures
    overwrite: bool = False  # replace the record in --out; trained networks stay

    def __post_init__(self):
        cli.require_range(2, 10_000, count=self.count, epochs=self.epochs, steps=self.steps)


@dataclass(frozen=True, eq=False)  # compared and hashed as itself
class Style:
    """A style's pictures, and its analogies of each family."""

    pictures: Pictures
    analogies: dict[str, Analogies]

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) in [0, 1]."""
        return to_float(self.pictures.images[indices])

    def sources(self, family: str) -> list[torch.Tensor]:
        """The pictures of targets, baselines and featured."""
        return [self.images(part) for part in self.analogies[family][:3]]

    def answers(self, family: str) -> list[str]:
        """The name of each analogy's truth; skin-tone twins are one."""
        return [names.twin_key(self.pictures.names[i]) for i in self.analogies[family].truth]


def open_style(style: str, count: int) -> Style:
    """A style with its analogies. Raises UserError if its package is missing."""
    pictures = data.load_pictures(style, keyword="")
    return Style(pictures, {family: families.analogies_of(pictures, family, count) for family in FAMILIES})


def training_of(config: Config, style: str, fold: int, preset: str) -> TrainingRun:
    """The training of a preset's network on a style's faces without a fold's cats. Raises UserError."""
    folder = config.out / "networks" / f"{preset}-{style}-{fold}"
    budget = {"epochs": config.epochs} if preset == "coursework" else {"steps": config.steps}
    budget |= {"precision": config.precision} if preset == "best" else {}
    places = {"device": config.device, "out": folder, "plots": folder}
    return training.resolve_options(TrainingRun(
        source=style, keyword=KEYWORD, hold_out=tuple(CATS[fold::FOLDS]), preset=preset, latent=config.latent,
        **budget, **places,
    ))  # fmt: skip


def train_network(options: TrainingRun) -> None:
    """Train the network, or continue with it, unless it is there. Raises UserError for another one."""
    torch.set_num_threads(1)  # as many processes as there are cores
    if (options.out / runs.METRICS).exists():
        there = pretrained.recorded_options(options.out, TrainingRun)
        if replace(there, device=options.device, plots=options.plots) == options:
            return
    splits = data.split(data.load_styles(options), options)
    with runs.opened(replace(options, resume=runs.is_unfinished(options.out)), splits.pictures) as run:
        trained = training.fit(options, splits, run, training={"network": options.out.name})
        networks.save(trained.model, splits.pictures, options.out)
        run.finish(training.errors(trained, splits.test, None))
    print(f"trained {options.out.name}", flush=True)


@cache
def spaces_without(config: Config, style: str, fold: int) -> dict:
    """By name, functions from (N, 3, 64, 64) images to a Space that has not seen a fold's cats."""
    options = training_of(config, style, fold, "coursework")
    pca = training.fit_pca(data.split(data.load_styles(options), options).train.images, config.latent)
    made = {"PCA": lambda images: arithmetic.pca_space(images, pca)}
    for preset in ("coursework", "best"):
        model = networks.load(training_of(config, style, fold, preset).out)
        made[preset] = lambda images, model=model: arithmetic.network_space(model, images)
    return made


def compose_by_arithmetic(config: Config, style: Style, family: str) -> dict[str, torch.Tensor]:
    """Each method's (N, 3, 64, 64) composites, a cat's in spaces that have not seen it.
    The ways to an attribute that learn from cats are for cats alone."""
    analogies, cats = style.analogies[family], families.cats(style.pictures)
    fold_of = {int(cat): k % FOLDS for k, cat in enumerate(cats[0])} if family == "cats" else {}
    folds, found = torch.tensor([fold_of.get(i, 0) for i in analogies.truth.tolist()]), {}
    used = torch.cat([*analogies, cats.flatten()]).unique()
    place = {i: row for row, i in enumerate(used.tolist())}
    pairs = [(place[cat], place[human]) for cat, human in cats.T.tolist()]
    rows = [[place[i] for i in row] for row in zip(*(part.tolist() for part in analogies))]
    for fold in folds.unique().tolist():
        spaces = spaces_without(config, style.pictures.source, fold)
        spaces = {name: make(style.pictures.images[used]) for name, make in spaces.items()}
        chosen = (folds == fold).nonzero().flatten()
        for method, (name, attribute) in ARITHMETIC.items():
            if attribute != "difference" and family != "cats":
                continue
            z, latents = spaces[name].latents, []
            for target, baseline, featured, truth in (rows[i] for i in chosen):
                known = [pair for pair in pairs if pair[0] != truth]
                latents.append(z[target] + ATTRIBUTES[attribute](z, target, baseline, featured, known))
            found.setdefault(method, torch.empty(len(rows), 3, 64, 64))[chosen] = spaces[name].decode(
                torch.stack(latents)
            )
    return found


@dataclass(frozen=True)
class Paste:
    """The featured picture where it differs from the baseline, moved, scaled and pasted into the target."""

    threshold: float  # of the pixel range: two pictures differ where they do by more, in a channel
    grown: int  # pixels by which that region is grown
    down: float  # pixels by which it is moved
    scale: float  # about the centre of the picture, before it is moved

    def __call__(self, target: torch.Tensor, baseline: torch.Tensor, featured: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) pictures in [0, 1] to their composites. Nothing is pasted from beyond the picture's edge."""
        differs = ((featured - baseline).abs().amax(1, keepdim=True) > self.threshold).float()
        region = nn.functional.max_pool2d(differs, 2 * self.grown + 1, stride=1, padding=self.grown)
        down = 2 * self.down / target.shape[2]  # affine_grid counts in half sides, and wants the way back
        back = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, -down]]) / self.scale
        grid = nn.functional.affine_grid(back.expand(len(target), 2, 3), target.shape, align_corners=False)
        region = nn.functional.grid_sample(region, grid, align_corners=False)
        pasted = nn.functional.grid_sample(featured, grid, padding_mode="border", align_corners=False)
        return torch.lerp(target, pasted, region)


PASTES = [Paste(*numbers) for numbers in product((0.2, 0.35, 0.5), (0, 1, 3), (0, 2, 4, 6), (0.7, 0.85, 0.95, 1.0))]


@cache
def paste_errors(style: Style, family: str) -> tuple[Analogies, torch.Tensor, torch.Tensor]:
    """Some analogies, (P,) the indices of their truths and targets, and (pastes, analogies, P) MSE to these."""
    known = style.analogies[family].where(slice(FITTED))
    sources, pool = [style.images(part) for part in known[:3]], torch.cat([known.truth, known.target]).unique()
    errors = [arithmetic.squared_errors(paste(*sources), style.pictures.images[pool]) for paste in PASTES]
    return known, pool, torch.stack(errors)


def choose_paste(others: list[Style], family: str, without: str | None) -> Paste:
    """The paste that is right most often in the other styles, with the least MSE among equals.
    `without` is the name of an emoji that must not be seen in any style."""
    right, mse = torch.zeros(len(PASTES)), torch.zeros(len(PASTES))
    for style in others:
        known, pool, errors = paste_errors(style, family)
        hidden = torch.tensor([i for i, name in enumerate(style.pictures.names) if name == without], dtype=torch.int64)
        rows = ~(torch.isin(known.truth, hidden) | torch.isin(known.target, hidden))
        columns = ~torch.isin(pool, hidden)
        errors, truth = errors[:, rows][:, :, columns], torch.searchsorted(pool[columns], known.truth[rows])
        right += (errors.argmin(2) == truth).float().mean(1)
        mse += errors[:, torch.arange(len(truth)), truth].mean(1)
    return PASTES[max(range(len(PASTES)), key=lambda i: (right[i].item(), -mse[i].item()))]


def compose_by_paste(style: Style, others: list[Style], family: str) -> torch.Tensor:
    """(N, 3, 64, 64) composites; each cat's by what was chosen without it."""
    answers, sources = np.array(style.answers(family)), style.sources(family)
    composites = torch.empty_like(sources[0])
    for answer in dict.fromkeys(answers) if family == "cats" else [None]:
        rows = torch.from_numpy(answers == answer) if answer else torch.ones(len(answers), dtype=torch.bool)
        composites[rows] = choose_paste(others, family, answer)(*(source[rows] for source in sources))
    return composites


def retouch(learned_on: list[torch.Tensor], composites: list[torch.Tensor], steps: int = 200) -> torch.Tensor:
    """(N, 3, 64, 64) composites, retouched by a small residual network that learned against a patch critic.
    It learned on (composites, target, featured, truth), and retouches (composites, target, featured). The critic tells
    its output from true pictures (Isola et al. 2017, "Image-to-image translation with conditional adversarial
    networks"), with the hinge loss (Lim and Ye 2017, "Geometric GAN")."""
    torch.set_num_threads(1)  # as many processes as there are cores
    learned_on, composites = (
        [part.to(memory_format=torch.channels_last) for part in parts] for parts in (learned_on, composites)
    )
    width, batch, realism, order = 32, 32, 0.01, generator("retouching", 0)
    torch.manual_seed(seed_for("weights of the retoucher", 0))
    layers = [nn.Conv2d(9, width, 3, padding=1), nn.ReLU()]
    for dilation in (1, 2, 4):
        layers += [nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
    change = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))
    nn.init.zeros_(change[-1].weight)  # it starts as the identity
    nn.init.zeros_(change[-1].bias)
    critic = nn.Sequential(
        nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 1, 3, 1, 1),
    )  # fmt: skip
    optimizers = [torch.optim.Adam(model.parameters(), 1e-3, (0.5, 0.99)) for model in (change, critic)]
    for _ in range(steps):
        rows = torch.randint(len(learned_on[0]), (batch,), generator=order)
        *inputs, truth = (part[rows] for part in learned_on)
        made = inputs[0] + change(torch.cat(inputs, 1))
        loss = (made - truth).square().mean() - realism * critic(made).mean()
        doubt = (1 - critic(truth)).relu().mean() + (1 + critic(made.detach())).relu().mean()
        for optimizer, value in zip(optimizers, (loss, doubt)):
            optimizer.zero_grad()
            value.backward(inputs=optimizer.param_groups[0]["params"])
            optimizer.step()
    with torch.no_grad():
        parts = zip(*(part.split(batch) for part in composites))
        return torch.cat([(part[0] + change(torch.cat(part, 1))).clamp(0, 1) for part in parts])


def add_retouched(found: dict[str, dict], styles: dict[str, Style], pool: ProcessPoolExecutor) -> None:
    """Add to each style's composites two methods', retouched by what was learned on the other styles, not on cats."""
    jobs = [*product(styles, (COURSEWORK, TRANSPLANT))]
    learned_on, to_retouch = [], []
    for name, method in jobs:
        known, own = [], []
        for other, family in product(styles, FAMILIES):
            style, made = styles[other], found[other][family][method]
            target, _, featured = style.sources(family)
            if other == name:
                own.append((made, target, featured))
            elif family != "cats":
                truth = style.images(style.analogies[family].truth)
                known.append([part[:RETOUCHED] for part in (made, target, featured, truth)])
        learned_on.append([torch.cat(parts) for parts in zip(*known)])
        to_retouch.append([torch.cat(parts) for parts in zip(*own)])
    for (name, method), retouched in zip(jobs, pool.map(retouch, learned_on, to_retouch)):
        sizes = [len(found[name][family][method]) for family in FAMILIES]
        for family, composites in zip(FAMILIES, retouched.split(sizes)):
            found[name][family][f"{method}, retouched"] = composites


def gradient_energy(pictures: torch.Tensor) -> torch.Tensor:
    """(N,) the sum of squared differences between neighbours, of (N, 3, H, W) pictures."""
    return sum(pictures.diff(dim=axis).square().sum((1, 2, 3)) for axis in (2, 3))


def score(composites: torch.Tensor, style: Style, family: str) -> dict[str, np.ndarray]:
    """(N,) scores of (N, 3, 64, 64) composites. top1: whether the truth is the nearest picture by MSE; mrr: the
    reciprocal of its rank; mse and ssim to it; sharpness: gradient energy as a part of the truth's; for cats also
    top1_shifted: top1 with each distance the least over shifts of up to SHIFT pixels."""
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim  # takes 1.5 s to import

    analogies, pictures = style.analogies[family], style.pictures
    pool = [i for i, name in enumerate(pictures.names) if family != "cats" or KEYWORD in name]
    place = {i: row for row, i in enumerate(pool)}
    truth = [place[i] for i in analogies.truth.tolist()]
    sources = [[place[i] for i in each] for each in analogies.sources()]
    errors = arithmetic.squared_errors(composites, pictures.images[pool])
    ranks, answers = np.array(arithmetic.ranks(errors, truth, sources)), style.images(analogies.truth)
    found = {"top1": (ranks == 1).astype(float), "mrr": 1 / ranks}
    if family == "cats":
        side, padded = composites.shape[-1], nn.functional.pad(composites, [SHIFT] * 4, mode="replicate")
        moved = (padded[:, :, y : y + side, x : x + side] for y, x in product(range(2 * SHIFT + 1), repeat=2))
        near = torch.stack([arithmetic.squared_errors(each, pictures.images[pool]) for each in moved]).amin(0)
        found["top1_shifted"] = (np.array(arithmetic.ranks(near, truth, sources)) == 1).astype(float)
    found["mse"] = errors[range(len(truth)), truth].double().numpy()
    found["ssim"] = ssim(composites, answers, data_range=1.0, reduction="none").double().numpy()
    found["sharpness"] = (gradient_energy(composites) / gradient_energy(answers)).double().numpy()
    return found


def summarize(scores: dict[str, np.ndarray], pixels: dict[str, np.ndarray], answers: list[str]) -> dict:
    """Each score's mean over the analogies; the mean over the answers with its 95% interval, by a bootstrap over them;
    and the mean difference to pixel arithmetic over the answers, with its interval (Student's t)."""
    groups = [np.array(answers) == answer for answer in dict.fromkeys(answers)]
    found = {}
    for name, values in scores.items():
        each, other = (np.array([part[group].mean() for group in groups]) for part in (values, pixels[name]))
        mean, half = statistics.mean_and_interval(each - other)
        found[name] = {
            "mean": float(values.mean()), "by_answer": float(each.mean()),
            "interval": statistics.bootstrap_interval(each), "each": each.tolist() if len(each) == len(CATS) else None,
            "minus_pixels": {"mean": mean, "interval": [mean - half, mean + half]},
        }  # fmt: skip
    return found


def composites_of(config: Config, styles: dict[str, Style]) -> dict[str, dict[str, dict[str, torch.Tensor]]]:
    """(N, 3, 64, 64) composites, by style, family and method."""
    found = {name: {} for name in styles}
    for (name, style), family in product(styles.items(), FAMILIES):
        print(f"composing {family} of {name}", flush=True)
        others, (target, baseline, featured) = [styles[o] for o in styles if o != name], style.sources(family)
        found[name][family] = {
            "unchanged target": target,
            PIXELS: (target + featured - baseline).clamp(0, 1),
            **compose_by_arithmetic(config, style, family),
            PASTE: compose_by_paste(style, others, family),
            TRANSPLANT: transplant(target, baseline, featured),
        }
    return found


def draw_sheets(config: Config, name: str, style: Style, composites: dict[str, torch.Tensor], right: dict) -> None:
    """The 72 composites of the methods in SHEETS, the right ones marked."""
    cats = families.cats(style.pictures)[0]
    place = {i: k for k, i in enumerate(cats.tolist())}
    pairs = [(place[i], place[j]) for i, j in zip(*(style.analogies["cats"][k].tolist() for k in (0, 3)))]
    for short, method in SHEETS.items():
        title = f"{method}, {name}, answers unseen: {int(right[method].sum())} of {len(pairs)} right"
        path = config.plots / f"analogies_{short}_{name}.png"
        marks = right[method] == 1
        print("figure", figures.analogy_sheet(style.images(cats), pairs, composites[method], marks, title, path))


def compose_on_targets(config: Config) -> dict:
    """Heart-shaped eyes on TARGETS, by the coursework's network and by transplant. Draws, and returns the record."""
    pictures, model = data.load_pictures("twemoji", keyword=""), pretrained.load("coursework")
    asked = [
        names.find(pictures.names, name) for name in (*TARGETS, "grinning face", "smiling face with heart-shaped eyes")
    ]
    *targets, baseline, featured = asked
    with runs.opened(config, pictures) as run:
        rows, made = [], {COURSEWORK: [], TRANSPLANT: []}
        for target, method in product(targets, made):
            equation = Equation(target, baseline, featured, None, [])
            small, images = arithmetic.subset(equation, pictures)
            transplanted = method == TRANSPLANT
            space = arithmetic.pixel_space(images) if transplanted else arithmetic.network_space(model, images)
            made[method] += arithmetic.compose(space, small, "transplant" if transplanted else "difference")
            nearest, mse = arithmetic.nearest(
                arithmetic.squared_errors(made[method][-1][None], pictures.images)[0], equation
            )
            about = {"target": pictures.names[target], "method": method}
            rows.append(about | {"nearest": pictures.names[nearest], "mse": mse})
        for number, part in enumerate(torch.arange(len(targets)).split(8), 1):
            shown = [("target", pictures.images[[targets[i] for i in part]])]
            shown += [(method.replace(" ", "\n"), [made[method][i] for i in part]) for method in made]
            transplants = [row for row in rows if row["method"] == TRANSPLANT]
            notes = ["\n".join(textwrap.wrap(f"nearest: {transplants[i]['nearest']}", 17)) for i in part]
            titles = [transplants[i]["target"] for i in part]
            figures.reconstructions(shown, titles, config.plots / f"analogies_targets_{number}.png", notes)
        return run.finish({"rows": rows})


def main(config: Config) -> dict:
    """Run and record the benchmark, or the targets. Returns the metrics that go into metrics.json."""
    if config.targets:
        return compose_on_targets(config)
    styles = {style: open_style(style, config.count) for style in STYLES}
    first, *others = (style.pictures for style in styles.values())
    with runs.opened(config, first.joined(others)) as run:
        trainings = [training_of(config, *each) for each in product(styles, range(FOLDS), ("best", "coursework"))]
        with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
            list(pool.map(train_network, trainings))
            rows, found = [], composites_of(config, styles)
            print("retouching", flush=True)
            add_retouched(found, styles, pool)
        for (name, style), family in product(styles.items(), FAMILIES):
            scores = {method: score(made, style, family) for method, made in found[name][family].items()}
            answers = style.answers(family)
            for method, each in scores.items():
                about = {"style": name, "family": family, "method": method, "analogies": len(answers)}
                rows.append(about | summarize(each, scores[PIXELS], answers))
                low, high = rows[-1]["top1"]["interval"]
                print(f"{name:9}{family:11}{method:41} top-1 {rows[-1]['top1']['by_answer']:.3f} "
                      f"({low:.2f} to {high:.2f}), MSE {rows[-1]['mse']['mean']:.4f}")  # fmt: skip
            if family == "cats":
                draw_sheets(config, name, style, found[name][family], {m: each["top1"] for m, each in scores.items()})
        return run.finish({"rows": rows})


if __name__ == "__main__":
    cli.run(main, Config)
