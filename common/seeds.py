"""Randomness by name: every draw has a generator of its own, derived from the one seed of the command line."""

import hashlib

import torch


def seed_for(purpose: str, seed: int) -> int:
    """A seed of its own for each purpose, so that one more draw here changes nothing there."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:7], "big")


def generator(purpose: str, seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for(purpose, seed))
