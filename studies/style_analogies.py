"""Composites in several art styles: cats, skin tones and genders, with all that is fitted fitted on the other styles.

What a method fits never sees the style that it is scored in, nor, among the cats, the answer in any style, and networks
see no cat at all; the drawn cats alone are fitted on the other cats of the style itself.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Iterator

import torch

import data
from lab import arithmetic, baselines
from lab.arithmetic import COUNTERPARTS
from lab.composer import COMPOSERS, material
from lab.families import Analogies
from lab.masked_paste import PASTES
from studies import cat_analogies, retouching, style_networks
from studies.cat_analogies import Options
from studies.style_networks import ORIGINAL, Compose
from studies.style_scores import score, summary
from studies.styles import FAMILIES, Style

DRAWN = 128  # components of the drawn cats' PCA
FITTED = 96  # analogies of the other styles to which pastes and composers are fitted, where there are more
PASTED, LEARNED = "masked paste", "learned composer"
CHOICES = {PASTED: PASTES, LEARNED: COMPOSERS}  # of which one is chosen by what is known
RETOUCHED = 200  # analogies of each family and style that retouching is learned on


@dataclass(frozen=True)
class Errors:
    """Of every choice of a method on the analogies of a family that are `known`: (choices, analogies, pictures) MSE."""

    known: Analogies
    pool: torch.Tensor  # (pictures,) their indices, rising
    mse: torch.Tensor


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


@cache
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
    given = choice_errors(style, method, family)
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


def retouchers(others: list[Style], original: Compose) -> dict[str, retouching.Retoucher]:
    """By method, what retouches the composites of `original` and of the composer: learned on all families but cats."""
    found = {}
    for method in (ORIGINAL, LEARNED):
        parts = []
        for style, family in product(others, [family for family in FAMILIES if family != "cats"]):
            known = style.analogies[family].first(RETOUCHED)
            target, baseline, featured = map(style.images, (known.target, known.baseline, known.featured))
            compose = original if method == ORIGINAL else chosen(others, method, family, None)
            parts.append((compose(target, baseline, featured), target, featured, style.images(known.truth)))
        found[method] = retouching.learned(*map(torch.cat, zip(*parts)))
    return found


def composites_of(
    style: Style, others: list[Style], family: str, learned: dict[str, Compose],
    retouched: dict[str, retouching.Retoucher],
) -> dict[str, torch.Tensor]:  # fmt: skip
    """Every method's (N, 3, 64, 64) composites; those `learned` and what retouches them know the other styles."""
    analogies = style.analogies[family]
    methods = {"unchanged target": unchanged, "pixel arithmetic": pixels, **learned}
    sources = [style.images(part) for part in (analogies.target, analogies.baseline, analogies.featured)]
    found = {name: compose(*sources) for name, compose in methods.items()}
    found |= {method: fitted(others, method, family, style) for method in CHOICES}
    for method, retoucher in retouched.items():
        found[f"{method}, retouched"] = retoucher.retouch(found[method], sources[0], sources[2])
    if family == "cats":
        faces = style.faces
        cats = cat_analogies.find_analogies(faces.names)
        drawn = cat_analogies.unseeded_composites(faces, cats, DRAWN, held_out=True)["drawn cats"]
        found["drawn cats, Twemoji's"] = drawn
    return found


def measure(config: Options, styles: dict[str, Style]) -> tuple[list[dict], list[dict[str, torch.Tensor]]]:
    """A row for each style, family and method; and each style's cats by what is fitted, in the order of its analogies."""
    rows, cats = [], []
    for name, style in styles.items():
        others = [other for key, other in styles.items() if key != name]
        learned = {"PCA arithmetic": pca_arithmetic(others, config.latent)}
        learned |= style_networks.methods(config, [other.pictures for other in others])
        retouched = retouchers(others, learned[ORIGINAL])
        for family, analogies in style.analogies.items():
            found = composites_of(style, others, family, learned, retouched)
            if family == "cats":
                cats.append({method: found[method] for method in CHOICES})
            for method, composites in found.items():
                about = {"style": name, "family": family, "method": method, "analogies": len(analogies)}
                rows.append(about | summary(score(composites, style, family), style, family))
    return rows, cats


def table(rows: list[dict]) -> str:
    """A line per row."""
    head = f"{'':51} {'top-1 (95% by answer)':23} {'2 px':5} {'MRR':5} {'MSE':6} {'2 px':6} {'sharp':5} SSIM"
    lines = [
        "means over the analogies, the first over the answers; 2 px: each distance is the least over shifts of up to 2 pixels",
        head,
    ]
    for row in rows:
        low, high = row["top1"]["interval"]
        mean = {name: value["mean"] for name, value in row.items() if isinstance(value, dict)}
        about = f"{row['style']:9}{row['family']:12}{row['method']:30}"
        lines.append(f"{about} {row['top1']['by_answer']:.3f} ({low:.2f} to {high:.2f})    {mean['top1_shifted']:.3f} {mean['mrr']:.3f} "
                     f"{mean['mse']:.4f} {mean['mse_shifted']:.4f} {mean['sharpness']:5.2f} {mean['ssim']:.3f}")  # fmt: skip
    return "\n".join(lines)
