"""A small network on top of composites, with a patch critic (Isola et al. 2017, "Image-to-image translation with
conditional adversarial networks"): question 3c.4, whether it makes them better.
"""

import torch
from torch import nn

import data

WIDTH = 32  # channels
STEPS = 300  # of training
BATCH = 32
LEARNING_RATE = 1e-3  # of Adam, for both networks
REALISM = 0.01  # weight of the critic's verdict beside the MSE


class Retoucher(nn.Module):
    """Composites, with the target and the featured picture that they come from, to better ones; at first to the same."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(9, WIDTH, 3, padding=1), nn.ReLU()]
        for dilation in (1, 2, 4):
            layers += [nn.Conv2d(WIDTH, WIDTH, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        self.change = nn.Sequential(*layers, nn.Conv2d(WIDTH, 3, 3, padding=1))
        nn.init.zeros_(self.change[-1].weight)
        nn.init.zeros_(self.change[-1].bias)

    def forward(self, composites: torch.Tensor, target: torch.Tensor, featured: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] each, to (N, 3, H, W) of any values."""
        return composites + self.change(torch.cat([composites, target, featured], 1))

    @torch.no_grad()
    def retouch(self, composites: torch.Tensor, target: torch.Tensor, featured: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] each, to the same."""
        batches = zip(composites.split(BATCH), target.split(BATCH), featured.split(BATCH))
        return torch.cat([self(*batch).clamp(0, 1) for batch in batches])


def critic() -> nn.Module:
    """(N, 3, H, W) pictures to (N, 1, H/4, W/4): how real each part looks."""
    return nn.Sequential(
        nn.Conv2d(3, WIDTH, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(WIDTH, 2 * WIDTH, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * WIDTH, 1, 3, 1, 1),
    )  # fmt: skip


def learned(
    composites: torch.Tensor, target: torch.Tensor, featured: torch.Tensor, truth: torch.Tensor
) -> Retoucher:  # fmt: skip
    """A retoucher that has seen these (N, 3, H, W) composites and their true pictures.

    Retoucher and critic take turns, with the critic's hinge loss (Lim and Ye 2017, "Geometric GAN").
    """
    generator = data.generator("retouching", 0)
    torch.manual_seed(data.seed_for("weights of the retoucher", 0))
    retoucher, judge = Retoucher(), critic()
    optimizers = [torch.optim.Adam(model.parameters(), LEARNING_RATE, (0.5, 0.99)) for model in (retoucher, judge)]
    for _ in range(STEPS):
        rows = torch.randint(len(truth), (BATCH,), generator=generator)
        made = retoucher(composites[rows], target[rows], featured[rows])
        loss = (made - truth[rows]).square().mean() - REALISM * judge(made).mean()
        doubt = (1 - judge(truth[rows])).relu().mean() + (1 + judge(made.detach())).relu().mean()
        for optimizer, value in zip(optimizers, (loss, doubt)):
            optimizer.zero_grad()
            value.backward(inputs=optimizer.param_groups[0]["params"])
            optimizer.step()
    return retoucher.eval()
