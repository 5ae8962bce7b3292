"""Composites in several art styles: cats, skin tones and genders, with all that is fitted fitted on the other styles.

What a method fits never sees the style that it is scored in, nor, among the cats, the answer in any style, and networks
see no cat at all; the drawn cats alone are fitted on the other cats of the style itself.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Callable, Iterator

import numpy as np
import torch

import data
from common.names import twin_key
from lab import arithmetic, baselines, families
from lab.arithmetic import COUNTERPARTS
from lab.composer import COMPOSERS, material
from lab.families import Analogies
from lab.masked_paste import PASTES
from studies import cat_analogies, style_networks
from studies.art_styles import STYLES
from studies.cat_analogies import Options

SHIFT = 2  # pixels: a perfect answer so far off is no longer the nearest in a sixth of the cases
DRAWN = 128  # components of the drawn cats' PCA
FITTED = 96  # analogies of the other styles to which pastes and composers are fitted, where there are more
PASTED, LEARNED = "masked paste", "learned composer"
CHOICES = {PASTED: PASTES, LEARNED: COMPOSERS}  # of which one is chosen by what is known
FAMILIES = {"cats": families.cats, "skin tones": families.skin_tones, "genders": families.genders}
Compose = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # target, baseline, featured to composites
Scores = dict[str, np.ndarray]  # (N,) each, of the analogies in their order


@dataclass(frozen=True)
class Errors:
    """Of every choice of a method on the analogies of a family that are `known`: (choices, analogies, pictures) MSE."""

    known: Analogies
    pool: torch.Tensor  # (pictures,) their indices, rising
    mse: torch.Tensor


@dataclass(frozen=True)
class Style:
    """An art style's pictures, and its analogies of each family."""

    pictures: data.Originals
    analogies: dict[str, Analogies]

    @cached_property
    def faces(self) -> data.Originals:
        return data.matching(self.pictures, data.KEYWORD)

    def cats(self) -> tuple[torch.Tensor, list[tuple[int, int]]]:
        """The cats' images, and the place of the target and of the truth among them, for each analogy."""
        cats, analogies = families.cats(self.pictures)[0], self.analogies["cats"]
        places = {i: k for k, i in enumerate(cats.tolist())}
        return self.images(cats), [
            (places[i], places[j]) for i, j in zip(*map(torch.Tensor.tolist, (analogies.target, analogies.truth)))
        ]

    @cached_property
    def errors(self) -> dict[tuple[str, str], "Errors"]:
        """What `choice_errors` finds for each method and family, for the other styles to choose by."""
        return {
            (method, family): choice_errors(self, method, family) for method in CHOICES for family in self.analogies
        }

    def images(self, chosen: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) in [0, 1]."""
        return data.to_float(self.pictures.images[chosen])


def opened(style: str, count: int) -> Style:
    """A style with all its cats, and `count` analogies of each other family. Raises UserError."""
    pictures = data.load_originals(style, keyword="")
    found = {}
    for family, table_of in FAMILIES.items():
        table, generator = table_of(pictures), data.generator(f"{family} of {style}", 0)
        drawn = families.every(table) if family == "cats" else families.draw(table, 2 * count, generator)
        found[family] = distinct(drawn, pictures).first(None if family == "cats" else count)
    return Style(pictures, found)


def distinct(analogies: Analogies, pictures: data.Originals) -> Analogies:
    """Those whose truth is drawn only once: no source, and no other emoji, has the same picture."""
    keys = [image.numpy().tobytes() for image in pictures.images]
    counts = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return analogies.where(torch.tensor([counts[keys[i]] == 1 for i in analogies.truth.tolist()]))


# ---------------------------------------------------------------- methods


def unchanged(target: torch.Tensor, baseline: torch.Tensor, featured: torch.Tensor) -> torch.Tensor:
    return target


def pixels(target: torch.Tensor, baseline: torch.Tensor, featured: torch.Tensor) -> torch.Tensor:
    return (target + featured - baseline).clamp(0, 1)


def pca_arithmetic(others: list[Style], components: int) -> Compose:
    """Arithmetic on the components of a PCA of the other styles' faces but the cats: no cat is seen in any style."""
    faces = [style.faces for style in others]
    kept = [face.images[[name not in COUNTERPARTS for name in face.names]] for face in faces]
    pca = baselines.fit_pca(torch.cat(kept), components)
    return lambda target, baseline, featured: baselines.reconstruct(pca, target + featured - baseline)


def composites_by(method: str, *sources: torch.Tensor) -> Iterator[torch.Tensor]:
    """The composites of the same analogies by every choice of a method."""
    if method == PASTED:
        return (paste(*sources) for paste in PASTES)
    given = material(*sources)
    return (composer.compose(given) for composer in COMPOSERS)


def choice_errors(style: Style, method: str, family: str) -> Errors:
    """The MSE of every choice on some analogies of a family, to the pictures that it is to tell apart."""
    known = style.analogies[family].first(FITTED)
    sources = [style.images(part) for part in (known.target, known.baseline, known.featured)]
    pool = torch.cat([known.truth, known.target]).unique()
    pictures = style.pictures.images[pool]
    found = [arithmetic.squared_errors(composites, pictures) for composites in composites_by(method, *sources)]
    return Errors(known, pool, torch.stack(found))


def results(style: Style, method: str, family: str, without: str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """(choices,) each: how often the truth is the nearest of the known truths and targets, and the mean MSE to it.

    The emoji with the name `without` is none of them.
    """
    given = style.errors[method, family]
    hidden = torch.tensor([i for i, name in enumerate(style.pictures.names) if name == without], dtype=torch.int64)
    rows = ~(torch.isin(given.known.truth, hidden) | torch.isin(given.known.target, hidden))
    columns = ~torch.isin(given.pool, hidden)
    errors = given.mse[:, rows][:, :, columns]
    answers = torch.searchsorted(given.pool[columns], given.known.truth[rows])
    right = (errors.argmin(2) == answers).float().mean(1)
    return right, errors[:, torch.arange(len(answers)), answers].mean(1)


def chosen(others: list[Style], method: str, family: str, without: str | None) -> Compose:
    """The paste or composer that is right most often in the other styles, with the least MSE among equals.

    `without` is the name of an emoji that must not be seen in any style.
    """
    right, mse = (sum(parts) for parts in zip(*(results(style, method, family, without) for style in others)))
    return CHOICES[method][max(range(len(right)), key=lambda i: (right[i].item(), -mse[i].item()))]


def fitted(others: list[Style], method: str, family: str, style: Style) -> torch.Tensor:
    """The composites of a family in a style; for each cat by what was chosen without it."""
    analogies = style.analogies[family]
    truths = [style.pictures.names[i] for i in analogies.truth.tolist()]
    composites = torch.empty(len(analogies), *style.pictures.images.shape[1:])
    for without in dict.fromkeys(truths) if family == "cats" else [None]:
        rows = torch.tensor([without in (None, name) for name in truths])
        part, compose = analogies.where(rows), chosen(others, method, family, without)
        composites[rows] = compose(style.images(part.target), style.images(part.baseline), style.images(part.featured))
    return composites


def composites_of(
    style: Style, others: list[Style], family: str, learned: dict[str, Compose]
) -> dict[str, torch.Tensor]:
    """Every method's (N, 3, 64, 64) composites; those `learned` know the other styles."""
    analogies = style.analogies[family]
    methods = {"unchanged target": unchanged, "pixel arithmetic": pixels, **learned}
    sources = [style.images(part) for part in (analogies.target, analogies.baseline, analogies.featured)]
    found = {name: compose(*sources) for name, compose in methods.items()}
    found |= {method: fitted(others, method, family, style) for method in CHOICES}
    if family == "cats":
        faces = style.faces
        cats = cat_analogies.find_analogies(faces.names)
        drawn = cat_analogies.unseeded_composites(faces, cats, DRAWN, held_out=True)["drawn cats"]
        found["drawn cats, Twemoji's"] = drawn
    return found


# ---------------------------------------------------------------- scores


def gradient_energy(pictures: torch.Tensor) -> torch.Tensor:
    """(N,) the sum of squared differences between neighbours, of (N, 3, H, W) pictures."""
    return sum(pictures.diff(dim=axis).square().sum((1, 2, 3)) for axis in (2, 3))


def shifted(pictures: torch.Tensor) -> list[torch.Tensor]:
    """The (N, 3, H, W) pictures moved by up to SHIFT pixels each way; at the edge, the edge's colours."""
    side = pictures.shape[-1]
    padded = torch.nn.functional.pad(pictures, [SHIFT] * 4, mode="replicate")
    places = range(2 * SHIFT + 1)
    return [padded[:, :, y : y + side, x : x + side] for y in places for x in places]


def score(composites: torch.Tensor, style: Style, family: str) -> Scores:
    """Of every composite: whether its truth is the nearest picture (top1), the reciprocal of the truth's rank (mrr) and
    the MSE to it, both also with each distance the least over small shifts; the gradient energy as a part of the
    truth's (sharpness), and SSIM. Cats are ranked among the style's faces, the others among all of its pictures.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim  # takes 1.5 s to import

    analogies, pictures = style.analogies[family], style.pictures
    chosen = [i for i, name in enumerate(pictures.names) if family != "cats" or data.KEYWORD in name]
    place = {original: row for row, original in enumerate(chosen)}
    pool, answers = pictures.images[chosen], [place[i] for i in analogies.truth.tolist()]
    sources = [[place[i] for i in each] for each in analogies.sources()]
    truth, rows = style.images(analogies.truth), range(len(analogies))
    exact = arithmetic.squared_errors(composites, pool)
    near = torch.stack([arithmetic.squared_errors(moved, pool) for moved in shifted(composites)]).amin(0)
    found = {}
    for suffix, errors in (("", exact), ("_shifted", near)):
        ranks = np.array(arithmetic.ranks(errors, answers, sources))
        found |= {f"top1{suffix}": (ranks == 1).astype(float), f"mrr{suffix}": 1 / ranks}
        found[f"mse{suffix}"] = errors[rows, answers].double().numpy()
    found["sharpness"] = (gradient_energy(composites) / gradient_energy(truth)).double().numpy()
    found["ssim"] = ssim(composites, truth, data_range=1.0, reduction="none").double().numpy()
    return found


def summary(scores: Scores, style: Style, family: str) -> dict:
    """Each score's mean, and its 95% interval over the answers: analogies with the same answer count as one.

    An answer is an emoji in whatever skin tone.
    """
    pictures = style.pictures
    keys = [twin_key(pictures.names[i]) for i in style.analogies[family].truth.tolist()]
    groups = [[row for row, key in enumerate(keys) if key == own] for own in dict.fromkeys(keys)]
    found = {}
    for name, values in scores.items():
        mean, half = baselines.mean_and_interval([values[group].mean() for group in groups])
        found[name] = {"mean": float(values.mean()), "by_answer": mean, "interval": [mean - half, mean + half]}
    return found


def opened_styles(count: int) -> dict[str, Style]:
    """The styles that may be shown, by name, with `count` analogies of each family but cats. Raises UserError."""
    return {style: opened(style, count) for style in STYLES}


def joined(styles: dict[str, Style]) -> data.Originals:
    """The pictures of all styles."""
    own, *others = (style.pictures for style in styles.values())
    return data.joined(own, others)


def measure(config: Options, styles: dict[str, Style]) -> tuple[list[dict], list[dict[str, torch.Tensor]]]:
    """A row for each style, family and method; and each style's cats by what is fitted, in the order of its analogies."""
    rows, cats = [], []
    for name, style in styles.items():
        others = [other for key, other in styles.items() if key != name]
        learned = {"PCA arithmetic": pca_arithmetic(others, config.latent)}
        learned |= style_networks.methods(config, [other.pictures for other in others])
        for family, analogies in style.analogies.items():
            found = composites_of(style, others, family, learned)
            if family == "cats":
                cats.append({method: found[method] for method in CHOICES})
            for method, composites in found.items():
                about = {"style": name, "family": family, "method": method, "analogies": len(analogies)}
                rows.append(about | summary(score(composites, style, family), style, family))
    return rows, cats


def table(rows: list[dict]) -> str:
    """A line per row."""
    head = f"{'':43} {'top-1 (95% by answer)':23} {'2 px':5} {'MRR':5} {'MSE':6} {'2 px':6} {'sharp':5} SSIM"
    lines = [
        "means over the analogies, the first over the answers; 2 px: each distance is the least over shifts of up to 2 pixels",
        head,
    ]
    for row in rows:
        low, high = row["top1"]["interval"]
        mean = {name: value["mean"] for name, value in row.items() if isinstance(value, dict)}
        about = f"{row['style']:9}{row['family']:12}{row['method']:22}"
        lines.append(f"{about} {row['top1']['by_answer']:.3f} ({low:.2f} to {high:.2f})    {mean['top1_shifted']:.3f} {mean['mrr']:.3f} "
                     f"{mean['mse']:.4f} {mean['mse_shifted']:.4f} {mean['sharpness']:5.2f} {mean['ssim']:.3f}")  # fmt: skip
    return "\n".join(lines)
