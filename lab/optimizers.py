"""Muon, and how a learning rate goes up and down over a training."""

import math

import torch

from common.threads import one_torch_thread


def newton_schulz(matrix: torch.Tensor) -> torch.Tensor:
    """Roughly the nearest orthogonal matrix, by five Newton-Schulz rounds with Jordan's coefficients (2024).

    All rounds work on the small Gram matrix. This form needs float32: in bfloat16 it diverges, which the usual form
    on the whole matrix does not.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / (wide.norm() + 1e-7)
    gram, identity = wide @ wide.T, torch.eye(len(wide), device=wide.device)
    product = identity
    for _ in range(5):
        step = 3.4445 * identity - 4.775 * gram + 2.0315 * gram @ gram
        product, gram = step @ product, step @ gram @ step
    wide = product @ wide
    return wide.T if tall else wide


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalized, for the weights of convolutions and linear layers. Jordan et al. 2024.

    torch.optim.Muon refuses the weights of convolutions, and was about 30 times slower on a processor.
    """

    def __init__(self, parameters, lr: float, momentum: float = 0.95, weight_decay: float = 0.2):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    @one_torch_thread()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(average, group["momentum"]).flatten(1)
                size = group["lr"] * max(1, update.shape[0] / update.shape[1]) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(newton_schulz(update).reshape(parameter.shape), alpha=-size)


def constant(done: float) -> float:
    """The same learning rate all along."""
    return 1.0


def one_cycle(done: float, warm_up: float = 0.1) -> float:
    """The learning rate at `done` of the budget, in [0, 1], as a part of its peak: up linearly, down along a cosine."""
    if done < warm_up:
        return (done + 1e-3) / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (done - warm_up) / (1 - warm_up))
