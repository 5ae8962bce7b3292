"""The coursework's network, trained by ordinary PyTorch as written in an evening: what studies.bench compares with.

    python -m studies.plain runs/plain.json --epochs 30

Pillow and torchvision decode and augment a picture at every access, in float32, with the default loader and the default
layout. Prints the validation MSE of every epoch, and prints and saves the test MSE and the seconds of training."""

import json
import time
from pathlib import Path

import torch
import tyro
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split
from torchvision import transforms

from lab.names import normalise
from lab.networks import ConvAutoencoder
from lab.sources import open_picture, rows_of


class EmojiDataset(Dataset):
    """Item i is a copy of emoji i % n: the first n are exact, the others augmented."""

    def __init__(self, rows, copies):
        self.rows, self.copies = rows, copies
        resize, tensor = transforms.Resize((64, 64)), transforms.ToTensor()
        random = transforms.RandomHorizontalFlip(), transforms.RandomRotation(10, fill=255)
        self.exact = transforms.Compose([resize, tensor])
        self.augmented = transforms.Compose([resize, *random, transforms.ColorJitter(0.2, 0.2, 0.2, 0.1), tensor])

    def __len__(self):
        return len(self.rows) * (1 + self.copies)

    def __getitem__(self, index):
        picture = open_picture(self.rows[index % len(self.rows)].read())
        return self.exact(picture) if index < len(self.rows) else self.augmented(picture)


@torch.no_grad()
def mean_mse(model, part):
    model.eval()
    batches = DataLoader(part, batch_size=64)
    return sum(nn.functional.mse_loss(model(images), images).item() * len(images) for images in batches) / len(part)


def main(result: tyro.conf.Positional[Path], epochs: int = 30):
    """Train it; `result` is the JSON file to write."""
    rows = [row for row in rows_of("twemoji") if "face" in normalise(row.text)]
    dataset = EmojiDataset(rows, copies=4)
    torch.manual_seed(0)
    sizes = int(0.6 * len(dataset)), int(0.2 * len(dataset))
    train, val, test = random_split(dataset, [*sizes, len(dataset) - sum(sizes)])
    loader = DataLoader(train, batch_size=64, shuffle=True)
    model = ConvAutoencoder(latent=128, dropout=0.2, initialization="pytorch")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    started = time.perf_counter()
    for epoch in range(epochs):
        model.train()
        for images in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(images), images)
            loss.backward()
            optimizer.step()
        print(f"Epoch [{epoch + 1}/{epochs}], Val Loss: {mean_mse(model, val):.4f}")
    found = {"train_seconds": time.perf_counter() - started, "test_mse": mean_mse(model, test)}
    print(f"Final average test MSE: {found['test_mse']:.4f}")
    result.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    tyro.cli(main)
