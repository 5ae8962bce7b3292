"""Composites as a benchmark: analogies with known answers, methods x styles x families, one definition of every score.

    python -m studies.analogies             # 72 cats and 500 skin tones in each of three styles
    python -m studies.analogies --targets --out runs/targets  # hearts for eyes on a dog, a moon, a pizza ...
    python -m studies.analogies --thresholds --out runs/thresholds  # the transplant's, each halved and doubled

Nothing fitted has seen the cat that is the answer. Networks and PCA are trained on the style's own faces, in three
folds: for a cat, they have seen neither it nor two other cats; for a skin tone, the first fold's are used. Masked paste
and the retoucher are fitted on the other two styles, for a cat without that cat. The transplant is not fitted, but its
thresholds were set with all three styles in sight. Eight cats' composites have one answer: intervals are over answers.

Writes runs/analogies/ and plots/analogies_*.png. Needs requirements-noto.txt. Networks are trained once, and kept."""

from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Literal

from lab import cli  # before torch: lab sets the environment

import numpy as np
import torch
from torch import nn

import data
from lab import arithmetic, figures, names, networks, pretrained, runs, statistics, training, transplant
from lab.arithmetic import ATTRIBUTES, COUNTERPARTS
from lab.options import KEYWORD, RunOptions
from lab.pictures import Pictures, generator, seed_for, to_float
from lab.sources import STYLES
from studies import families
from studies.experiments import process_pool
from studies.families import FAMILIES, Analogies

CATS, FOLDS = list(COUNTERPARTS), 3
SHIFT = 2  # pixels: a perfect answer so far off is no longer the nearest in a sixth of the cases
FITTED, RETOUCHED = 96, 200  # analogies of a style that pastes are chosen by, and that retouching is learned on
COURSEWORK, PASTE, TRANSPLANT, PIXELS = "coursework's network", "masked paste", "transplant", "pixel arithmetic"
ARITHMETIC = {  # by method: the space, and how the attribute is found
    f"{PIXELS}, mean difference": ("pixels", "mean"),
    "PCA arithmetic": ("PCA", "difference"),
    COURSEWORK: ("coursework", "difference"),
    f"{COURSEWORK}, mean difference": ("coursework", "mean"),
    f"{COURSEWORK}, isolated difference": ("coursework", "isolated"),
    "best preset": ("best", "difference"),
    "best preset, mean difference": ("best", "mean"),
}
SHEETS = {"coursework": COURSEWORK, "paste": PASTE, "transplant": TRANSPLANT}  # figures of the 72 cats
TARGETS = (
    "dog face", "full moon with face", "robot face", "slice of pizza", "sun with face", "panda face", "frog face",
    "ghost", "baby", "snowman without snow", "tiger face", "jack-o-lantern", "alien monster", "pile of poo",
    "cow face", "nerd face",
)  # fmt: skip
HEARTS = "grinning face", "smiling face with heart-shaped eyes"  # the baseline and the featured of all targets


@dataclass(frozen=True, kw_only=True)
class Config:
    """Score composites on analogies with known answers, or show some on targets without one."""

    targets: bool = False  # instead, put hearts for eyes on sixteen targets; only --out, --plots, --overwrite count
    thresholds: bool = False  # instead, try the transplant with each of its thresholds halved, and doubled
    count: int = 500  # analogies of skin tones in each style
    epochs: int = 30  # of the coursework's network, as in Part 1
    steps: int = 600  # of the best preset: a third of Part 1's
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of the best preset
    latent: int = 128  # numbers of the latent, and components of PCA
    out: Path = Path("runs/analogies")  # folder of the record and of the trained networks
    plots: Path = Path("plots")  # folder of the figures
    overwrite: bool = False  # replace the record in --out; trained networks stay

    def __post_init__(self):
        cli.require_range(1, 2**63, count=self.count)


@dataclass(frozen=True, eq=False)  # compared and hashed as itself
class Style:
    """A style's pictures, and its analogies of each family."""

    pictures: Pictures
    analogies: dict[str, Analogies]

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) in [0, 1]."""
        return to_float(self.pictures.images[indices])

    def parts(self, family: str) -> list[torch.Tensor]:
        """The pictures of targets, baselines, featured and truths."""
        return [self.images(part) for part in self.analogies[family]]

    def answers(self, family: str) -> list[str]:
        """The name of each analogy's truth; skin-tone twins are one."""
        return [names.twin_key(self.pictures.names[i]) for i in self.analogies[family].truth]


def training_of(config: Config, style: str, fold: int, preset: str) -> RunOptions:
    """The training of a preset's network on a style's faces without a fold's cats. Raises UserError."""
    folder = config.out / "networks" / f"{preset}-{style}-{fold}"
    budget = {"steps": config.steps, "precision": config.precision} if preset == "best" else {"epochs": config.epochs}
    return training.resolve_options(RunOptions(
        source=style, keyword=KEYWORD, hold_out=tuple(CATS[fold::FOLDS]), preset=preset, latent=config.latent,
        out=folder, plots=folder, **budget,
    ))  # fmt: skip


def train_network(options: RunOptions) -> None:
    """Train the network, or continue with it, unless it is there. Raises UserError for another one."""
    torch.set_num_threads(1)  # as many processes as there are cores
    finished = (options.out / runs.METRICS).exists() and pretrained.recorded_options(options.out, RunOptions)
    if finished and replace(finished, device=options.device, plots=options.plots) == options:
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
    models = {preset: networks.load(training_of(config, style, fold, preset).out) for preset in ("coursework", "best")}
    spaces = {preset: partial(arithmetic.network_space, model) for preset, model in models.items()}
    return {"PCA": partial(arithmetic.pca_space, pca=pca), "pixels": arithmetic.pixel_space, **spaces}


def compose_by_arithmetic(config: Config, style: Style, family: str) -> dict[str, torch.Tensor]:
    """Each method's (N, 3, 64, 64) composites, a cat's in spaces that have not seen it.
    The ways to an attribute that learn from cats are for cats alone."""
    analogies, cats = style.analogies[family], families.cats(style.pictures)
    used, places = torch.cat([*analogies, *cats]).unique(return_inverse=True)
    *parts, pairs = places.split([len(analogies.truth)] * 4 + [cats.numel()])
    rows, pairs = torch.stack(parts, 1), pairs.view_as(cats).T.tolist()
    folds = ((analogies.truth[:, None] == cats[0]) * (torch.arange(len(CATS)) % FOLDS)).sum(1)  # 0 for other emoji
    methods = {name: how for name, how in ARITHMETIC.items() if family == "cats" or how[1] == "difference"}
    found = {method: torch.empty(len(rows), 3, 64, 64) for method in methods}
    for fold in folds.unique().tolist():
        spaces = spaces_without(config, style.pictures.source, fold)
        spaces = {name: make(style.pictures.images[used]) for name, make in spaces.items()}
        for method, (name, attribute) in methods.items():
            z, latents = spaces[name].latents, []
            for target, baseline, featured, truth in rows[folds == fold].tolist():
                known = [pair for pair in pairs if pair[0] != truth]
                latents.append(z[target] + ATTRIBUTES[attribute](z, target, baseline, featured, known))
            found[method][folds == fold] = spaces[name].decode(torch.stack(latents))
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
        back = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, -2 * self.down / target.shape[2]]]) / self.scale  # half sides
        grid = nn.functional.affine_grid(back.expand(len(target), 2, 3), target.shape, align_corners=False)
        region = nn.functional.grid_sample(region, grid, align_corners=False)
        pasted = nn.functional.grid_sample(featured, grid, padding_mode="border", align_corners=False)
        return torch.lerp(target, pasted, region)


PASTES = [Paste(*numbers) for numbers in product((0.2, 0.35, 0.5), (0, 1, 3), (0, 2, 4, 6), (0.7, 0.85, 0.95, 1.0))]


@cache
def paste_errors(style: Style, family: str) -> tuple[Analogies, torch.Tensor, torch.Tensor]:
    """Some analogies, (P,) the indices of their truths and targets, and (pastes, analogies, P) MSE to these."""
    known = style.analogies[family].where(slice(FITTED))
    sources, pool = [style.images(part) for part in known[:3]], torch.cat([known.target, known.truth]).unique()
    errors = [arithmetic.squared_errors(paste(*sources), style.pictures.images[pool]) for paste in PASTES]
    return known, pool, torch.stack(errors)


def choose_paste(others: list[Style], family: str, without: str | None) -> Paste:
    """The paste that is right most often in the other styles, with the least MSE among equals.
    `without` is the name of an emoji that must not be seen in any style."""
    right, mse = torch.zeros(len(PASTES)), torch.zeros(len(PASTES))
    for style in others:
        known, pool, errors = paste_errors(style, family)
        hidden = torch.tensor([name == without for name in style.pictures.names])
        rows, columns = ~(hidden[known.target] | hidden[known.truth]), ~hidden[pool]
        errors, truth = errors[:, rows][:, :, columns], torch.searchsorted(pool[columns], known.truth[rows])
        right += (errors.argmin(2) == truth).float().mean(1)
        mse += errors[:, torch.arange(len(truth)), truth].mean(1)
    return PASTES[max(range(len(PASTES)), key=lambda i: (right[i].item(), -mse[i].item()))]


def compose_by_paste(style: Style, others: list[Style], family: str) -> tuple[torch.Tensor, list[dict]]:
    """(N, 3, 64, 64) composites, each cat's by what was chosen without it; and what was chosen, for the record."""
    (*sources, truth), answers, chosen = style.parts(family), style.answers(family), []
    composites = torch.empty_like(truth)
    for answer in dict.fromkeys(answers) if family == "cats" else [None]:
        rows, paste = np.array(answers) == answer if answer else slice(None), choose_paste(others, family, answer)
        composites[rows] = paste(*(source[rows] for source in sources))
        chosen.append({"style": style.pictures.source, "family": family, "answer": answer, **asdict(paste)})
    return composites, chosen


def retouch(learned_on: list[np.ndarray], composites: list[np.ndarray], steps: int = 200) -> np.ndarray:
    """(N, 3, H, W) composites, retouched by a small residual network from (composites, target, featured).
    It learns on these and the truth, against a patch critic (Isola et al. 2017, "Image-to-image translation with
    conditional adversarial networks") with the hinge loss (Lim and Ye 2017, "Geometric GAN")."""
    torch.set_num_threads(1)  # as many processes as there are cores
    known, given = ([torch.from_numpy(part) for part in parts] for parts in (learned_on, composites))
    width, batch, realism, order = 32, 32, 0.01, generator("retouching", 0)
    torch.manual_seed(seed_for("weights of the retoucher", 0))
    layers = [nn.Conv2d(9, width, 3, padding=1), nn.ReLU()]
    for dilation in (1, 2, 4):
        layers += [nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
    change = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1)).to(memory_format=torch.channels_last)
    for parameter in change[-1].parameters():
        nn.init.zeros_(parameter)  # it starts as the identity
    layers = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2)]
    critic = nn.Sequential(*layers, nn.Conv2d(2 * width, 1, 3, 1, 1)).to(memory_format=torch.channels_last)
    optimizers = [torch.optim.Adam(model.parameters(), 1e-3, (0.5, 0.99)) for model in (change, critic)]
    for _ in range(steps):
        rows = torch.randint(len(known[0]), (batch,), generator=order)
        *inputs, truth = (part[rows] for part in known)
        made = inputs[0] + change(torch.cat(inputs, 1))
        loss = (made - truth).square().mean() - realism * critic(made).mean()
        doubt = (1 - critic(truth)).relu().mean() + (1 + critic(made.detach())).relu().mean()
        for optimizer, value in zip(optimizers, (loss, doubt)):
            optimizer.zero_grad()
            value.backward(inputs=optimizer.param_groups[0]["params"])
            optimizer.step()
    with torch.no_grad():
        parts = zip(*(part.split(batch) for part in given))
        return torch.cat([(part[0] + change(torch.cat(part, 1))).clamp(0, 1) for part in parts]).numpy()


def add_retouched(found: dict[str, dict], styles: dict[str, Style], pool) -> None:
    """Add to each style's composites two methods', retouched by what was learned on the other styles, not on cats."""
    jobs, learned_on, composites = [*product(styles, (COURSEWORK, TRANSPLANT))], [], []
    for name, method in jobs:
        known, own = [], []
        for (other, style), family in product(styles.items(), FAMILIES):
            target, _, featured, truth = style.parts(family)
            parts = found[other][family][method], target, featured, truth
            if other == name:
                own.append(parts[:3])
            elif family == "skin tones":
                known.append([part[:RETOUCHED] for part in parts])
        learned_on.append([torch.cat(parts).numpy() for parts in zip(*known)])  # tensors would need shared memory
        composites.append([torch.cat(parts).numpy() for parts in zip(*own)])
    for (name, method), retouched in zip(jobs, pool.map(retouch, learned_on, composites)):
        sizes = [len(found[name][family][method]) for family in FAMILIES]
        for family, part in zip(FAMILIES, torch.from_numpy(retouched).split(sizes)):
            found[name][family][f"{method}, retouched"] = part


def score(composites: torch.Tensor, style: Style, family: str) -> dict[str, np.ndarray]:
    """(N,) scores of (N, 3, 64, 64) composites. top1: whether the truth is the nearest by MSE of the style's faces, or
    for skin tones of all its pictures, its sources left out; ties count against it. mrr: the reciprocal of its rank;
    mse and ssim to it; sharpness: gradient energy as a part of the truth's; for cats also top1_shifted: top1 with each
    distance the least over shifts of up to SHIFT pixels."""
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim  # takes 1.5 s to import

    pool = torch.tensor([i for i, name in enumerate(style.pictures.names) if family != "cats" or KEYWORD in name])
    pictures, answers = style.pictures.images[pool], style.images(style.analogies[family].truth)
    *sources, truth = (torch.searchsorted(pool, part).tolist() for part in style.analogies[family])
    errors = arithmetic.squared_errors(composites, pictures)
    ranks = np.array(arithmetic.ranks(errors, truth, list(zip(*sources))))
    mse = errors[range(len(truth)), truth].double().numpy()
    found = {"top1": (ranks == 1).astype(float), "mrr": 1 / ranks, "mse": mse}
    if family == "cats":
        side, padded = composites.shape[-1], nn.functional.pad(composites, [SHIFT] * 4, mode="replicate")
        moved = (padded[:, :, y : y + side, x : x + side] for y, x in product(range(2 * SHIFT + 1), repeat=2))
        near = torch.stack([arithmetic.squared_errors(each, pictures) for each in moved]).amin(0)
        ranks = np.array(arithmetic.ranks(near, truth, list(zip(*sources))))
        found["top1_shifted"] = (ranks == 1).astype(float)
    found["ssim"] = ssim(composites, answers, data_range=1.0, reduction="none").double().numpy()
    energy = [sum(each.diff(dim=axis).square().sum((1, 2, 3)) for axis in (2, 3)) for each in (composites, answers)]
    found["sharpness"] = (energy[0] / energy[1]).double().numpy()
    return found


def summarize(scores: dict[str, np.ndarray], answers: list[str], pixels: dict[str, np.ndarray] | None) -> dict:
    """Each score's mean over the analogies, and its mean over the answers with the 95% interval of a bootstrap.
    With the scores of pixel arithmetic, for cats, also each answer's value, and the mean difference to pixel arithmetic
    over the answers, with its 95% interval and p (Student's t)."""
    from scipy import stats  # takes half a second to import

    distinct, place = np.unique(answers, return_inverse=True)
    found = {}
    for name, values in scores.items():
        each = np.bincount(place, values) / np.bincount(place)
        found[name] = {"mean": float(values.mean()), "by_answer": float(each.mean())}
        found[name]["interval"] = statistics.bootstrap_interval(each)
        if pixels:
            minus = each - np.bincount(place, pixels[name]) / np.bincount(place)
            mean, half = statistics.mean_and_interval(minus)
            p = float(stats.ttest_1samp(minus, 0).pvalue) if half else float(mean == 0)
            found[name]["each"] = dict(zip(distinct.tolist(), each.tolist()))
            found[name]["minus_pixels"] = {"mean": mean, "interval": [mean - half, mean + half], "p": p}
    return found


def compose_all(config: Config, styles: dict[str, Style]) -> tuple[dict[str, dict[str, dict]], list[dict]]:
    """(N, 3, 64, 64) composites, by style, family and method; and the pastes that were chosen, for the record."""
    found, pastes = {name: {} for name in styles}, []
    for (name, style), family in product(styles.items(), FAMILIES):
        print(f"composing {family} of {name}", flush=True)
        target, baseline, featured, _ = style.parts(family)
        pasted, chosen = compose_by_paste(style, [styles[other] for other in styles if other != name], family)
        pastes += chosen
        found[name][family] = {
            "unchanged target": target,
            PIXELS: (target + featured - baseline).clamp(0, 1),
            **compose_by_arithmetic(config, style, family),
            PASTE: pasted,
            TRANSPLANT: transplant.transplant(target, baseline, featured),
        }
    return found, pastes


def draw_sheets(config: Config, style: Style, composites: dict[str, torch.Tensor], scores: dict[str, dict]) -> None:
    """The 72 composites of the methods in SHEETS, the right ones marked."""
    cats, found, name = families.cats(style.pictures)[0], style.analogies["cats"], style.pictures.source
    pairs = torch.stack([(part[:, None] == cats).int().argmax(1) for part in (found.target, found.truth)], 1).tolist()
    for short, method in SHEETS.items():
        right, path = scores[method]["top1"] == 1, config.plots / f"analogies_{short}_{name}.png"
        title = f"{method}, {name}: {right.sum()} of {len(pairs)} right"
        print("figure", figures.analogy_sheet(style.images(cats), pairs, composites[method], right, title, path))


def compose_on_targets(config: Config) -> dict:
    """Heart-shaped eyes on TARGETS, by the coursework's network and by transplant. Draws, and returns the record."""
    pictures, model = data.load_pictures("twemoji", keyword=""), pretrained.load("coursework")
    *targets, baseline, featured = places = [names.find(pictures.names, name) for name in (*TARGETS, *HEARTS)]
    images = to_float(pictures.images[places])
    z = networks.encode_all(model, images)
    made = {
        COURSEWORK: networks.decode_all(model, z[:-2] + z[-1] - z[-2]),
        TRANSPLANT: transplant.transplant(images[:-2], *(images[[k] * len(targets)] for k in (-2, -1))),
    }
    changes = {name: (composites - images[:-2]).square().mean((1, 2, 3)) for name, composites in made.items()}
    with runs.opened(config, pictures) as run:
        for number, part in enumerate((slice(8), slice(8, 16)), 1):
            shown = [("target", images[part]), *((name.replace(" ", "\n"), made[name][part]) for name in made)]
            path = config.plots / f"analogies_targets_{number}.png"
            print("figure", figures.reconstructions(shown, [pictures.names[i] for i in targets[part]], path))
        return run.finish(
            {"mse_to_target": {name: dict(zip(TARGETS, each.tolist())) for name, each in changes.items()}}
        )


def vary_thresholds(styles: dict[str, Style]) -> dict[str, dict[str, float]]:
    """How often the nearest is right for the cats of each style, and the mean of the styles, as the transplant is and
    with each of its thresholds halved and doubled, parts and colours at most to 1."""
    found, usual = {}, {name: value for name, value in vars(transplant).items() if isinstance(value, (int, float))}
    for name, factor in [("EDGES", 1), *product(usual, (0.5, 2))]:
        value = type(usual[name])(min(usual[name] * factor, 1.0 if usual[name] < 1 else 1000))
        label = "as it is" if factor == 1 else f"{name} {value:g}"
        setattr(transplant, name, value)
        transplant.taken_apart.cache_clear()
        made = {style: transplant.transplant(*each.parts("cats")[:3]) for style, each in styles.items()}
        setattr(transplant, name, usual[name])
        rates = {style: score(made[style], each, "cats")["top1"].mean().item() for style, each in styles.items()}
        found[label] = rates | {"mean": float(np.mean([*rates.values()]))}
        print(label, {style: round(rate, 3) for style, rate in found[label].items()}, flush=True)
    transplant.taken_apart.cache_clear()
    return found


def main(config: Config) -> dict:
    """Run and record the benchmark, the targets or the thresholds. Returns the metrics that go into metrics.json."""
    if config.targets:
        return compose_on_targets(config)
    drawn = {style: data.load_pictures(style, keyword="") for style in STYLES}
    styles = {
        style: Style(pictures, {family: families.analogies_of(pictures, family, config.count) for family in FAMILIES})
        for style, pictures in drawn.items()
    }
    first, *others = (style.pictures for style in styles.values())
    with runs.opened(config, first.joined(others)) as run:
        if config.thresholds:
            return run.finish({"top1": vary_thresholds(styles)})
        trainings = [training_of(config, *each) for each in product(styles, range(FOLDS), ("best", "coursework"))]
        with process_pool() as pool:
            list(pool.map(train_network, trainings))
            rows, (found, pastes) = [], compose_all(config, styles)
            print("retouching", flush=True)
            add_retouched(found, styles, pool)
        for (name, style), family in product(styles.items(), FAMILIES):
            scores = {method: score(made, style, family) for method, made in found[name][family].items()}
            answers, pixels = style.answers(family), scores[PIXELS] if family == "cats" else None
            for method, each in scores.items():
                about = {"style": name, "family": family, "method": method, "analogies": len(answers)}
                rows.append(about | {"answers": len(set(answers))} | summarize(each, answers, pixels))
                print(f"{name:9}{family:11}{method:41} top-1 {rows[-1]['top1']['by_answer']:.3f}")
            if family == "cats":
                draw_sheets(config, style, found[name][family], scores)
        return run.finish({"rows": rows, "pastes": pastes})


if __name__ == "__main__":
    cli.run(main, Config)
