"""What any reconstruction has to beat: PCA with as many numbers as the latent, and the mean image."""

from typing import Sequence

import numpy as np
import torch
from scipy import stats
from sklearn.decomposition import PCA

from data import Part, to_float


def flatten(images: torch.Tensor) -> np.ndarray:
    """(N, 3, H, W) images, uint8 or float in [0, 1], as an (N, 3 * H * W) float32 matrix in [0, 1]."""
    return (to_float(images) if images.dtype == torch.uint8 else images).flatten(1).numpy()


def fit_pca(images: torch.Tensor, components: int) -> PCA:
    """PCA of training images. Fewer images than components leave as many components as images."""
    fewer = components < len(images)
    # arpack is as exact as a full decomposition, and computes only the components that are asked for
    return PCA(min(components, len(images)), svd_solver="arpack" if fewer else "full", random_state=0).fit(flatten(images))


def mean_and_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean of a few independent values and half the width of its 95% interval (Student's t)."""
    values = np.asarray(values)
    return float(values.mean()), float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)


def mean_square(difference: np.ndarray) -> float:
    return float(np.square(difference).mean())


def errors(pca: PCA, test: Part) -> dict[str, float]:
    """Test MSE per image of a PCA of the training images, and of their mean."""
    pixels = flatten(test.images)
    reconstruction = pca.inverse_transform(pca.transform(pixels)).clip(0, 1)
    return {"pca_mse": mean_square(reconstruction - pixels), "mean_image_mse": mean_square(pca.mean_ - pixels)}
