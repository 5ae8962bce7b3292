"""What any reconstruction has to beat: PCA with as many numbers as the latent, and the mean image."""

from typing import Sequence

import numpy as np
import torch
from scipy import stats
from sklearn.decomposition import PCA

from common.threads import one_blas_thread
from data import Part, to_float


def flatten(images: torch.Tensor) -> np.ndarray:
    """(N, 3, H, W) images, uint8 or float in [0, 1], as an (N, 3 * H * W) float32 matrix in [0, 1]."""
    return (to_float(images) if images.dtype == torch.uint8 else images).flatten(1).numpy()


@one_blas_thread
def fit_pca(images: torch.Tensor, components: int) -> PCA:
    """PCA of training images. Fewer images than components leave as many components as images."""
    # arpack is as exact as a full decomposition, and computes only the components that are asked for
    solver = "arpack" if components < len(images) else "full"
    return PCA(min(components, len(images)), svd_solver=solver, random_state=0).fit(flatten(images))


def mean_and_interval(values: Sequence[float], test_to_train: float = 0.0) -> tuple[float, float]:
    """Mean of a few values and half the width of its 95% interval (Student's t).

    Splits of the same emoji share most of their training set, so their results are no independent values, and a plain
    interval is too narrow. `test_to_train`, the size of a test set to that of a training set, corrects for it: the
    corrected resampled t-test, Nadeau and Bengio 2003, "Inference for the generalization error".
    """
    values = np.asarray(values)
    variance = values.var(ddof=1) * (1 / len(values) + test_to_train)
    return float(values.mean()), float(stats.t.ppf(0.975, len(values) - 1) * variance**0.5)


def reconstruct(pca: PCA, images: torch.Tensor) -> torch.Tensor:
    """Reconstructions of (N, 3, H, W) images by a PCA, of the same shape, in [0, 1]."""
    pixels = pca.inverse_transform(pca.transform(flatten(images))).clip(0, 1)
    return torch.from_numpy(pixels).unflatten(1, images.shape[1:])


def mean_square(difference: np.ndarray) -> float:
    return float(np.square(difference).mean())


def errors(pca: PCA, test: Part) -> dict[str, float]:
    """Test MSE per image of a PCA of the training images, and of their mean."""
    pixels = flatten(test.images)
    return {
        "pca_mse": mean_square(reconstruct(pca, test.images).flatten(1).numpy() - pixels),
        "mean_image_mse": mean_square(pca.mean_ - pixels),
    }
