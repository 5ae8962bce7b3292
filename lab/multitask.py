"""Part 2's network and loss: any autoencoder with a linear classifier on its latent."""

import torch
from torch import nn

from lab.contract import Autoencoder, encode_all

UNLABELLED = -100  # the label that cross-entropy leaves out


class MultiTaskAutoencoder(Autoencoder):
    """An autoencoder of any architecture that also gives (N, classes) logits of its latents."""

    architecture = "multi-task"

    def __init__(self, autoencoder: Autoencoder, classes: int = 2):
        super().__init__(autoencoder.latent)
        self.autoencoder, self.classes = autoencoder, classes
        self.linear_path = tuple(f"autoencoder.{name}" for name in autoencoder.linear_path)
        self.classifier = nn.Linear(autoencoder.latent, classes)

    def settings(self) -> dict:
        inner = {"architecture": self.autoencoder.architecture, **self.autoencoder.settings()}
        return {"autoencoder": inner, "classes": self.classes}

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return self.autoencoder.encode(images)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.autoencoder.decode(latents)

    def reconstruct(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.autoencoder.reconstruct(images)

    def start_at_pca(self, pca) -> None:
        self.autoencoder.start_at_pca(pca)


class MultiTaskLoss:
    """MSE, cross-entropy and accuracy, and the loss MSE + weight x cross-entropy. `labels` is one per original.

    Images of no emoji (-1), which only the best preset has, count in the MSE alone.
    """

    def __init__(self, labels: torch.Tensor, weight: float):
        self.labels, self.weight = labels, weight

    def __call__(
        self, model: MultiTaskAutoencoder, images: torch.Tensor, emoji: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        labels = self.labels.to(emoji.device)[emoji].masked_fill(emoji < 0, UNLABELLED)
        reconstructions, latents = model.reconstruct(images)
        logits = model.classifier(latents)
        mse = nn.functional.mse_loss(reconstructions, images)
        count = (labels != UNLABELLED).sum().clamp(min=1)  # a batch of mixtures alone has no label at all
        cross_entropy = nn.functional.cross_entropy(logits, labels, reduction="sum") / count
        accuracy = (logits.argmax(1) == labels).float().sum() / count
        loss = mse + self.weight * cross_entropy
        return {"loss": loss, "mse": mse, "cross_entropy": cross_entropy, "accuracy": accuracy}


@torch.no_grad()
def class_probabilities(model: MultiTaskAutoencoder, images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(N, classes) on the CPU, from (N, 3, 64, 64) uint8 images."""
    return model.classifier(encode_all(model, images, device).to(device)).softmax(1).cpu()
