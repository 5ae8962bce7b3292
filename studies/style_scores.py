"""What composites of several art styles are scored with."""

import numpy as np
import torch

import data
from common.names import twin_key
from lab import arithmetic, baselines
from studies.styles import Style

SHIFT = 2  # pixels: a perfect answer so far off is no longer the nearest in a sixth of the cases
Scores = dict[str, np.ndarray]  # (N,) each, of the analogies in their order


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
