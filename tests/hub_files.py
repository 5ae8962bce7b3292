"""What the tests of the Hub serve and expect, and the fixture that points the client at the server."""

import io
import random

import datasets
import huggingface_hub
import pytest
import torch
from hub_server import HubServer
from huggingface_hub import constants
from PIL import Image

import data
from common import hub

PICTURES = [Image.frombytes("RGB", (64, 64), random.Random(i).randbytes(64 * 64 * 3)) for i in range(6)]
NAMES = [f"Noisy Face {i}" for i in range(6)]


def parquet(**columns) -> bytes:
    """A file with the original's way to store pictures and text."""
    features = {name: datasets.Image() if name == "image" else datasets.Value("string") for name in columns}
    file = io.BytesIO()
    datasets.Dataset.from_dict(columns, datasets.Features(features)).to_parquet(file)
    return file.getvalue()


PARQUET = parquet(image=PICTURES, text=NAMES)
HALF = len(PARQUET) // 2


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Point the client at a server of the given file and troubles, with an empty cache; the cache stays for the test.

    The server's clock tells how long it took.
    """
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(hub, "PAUSE", 0.01)
    huggingface_hub.close_session()  # the next one reads the environment again

    def start(content: bytes = PARQUET, clock=None, **troubles) -> HubServer:
        server = HubServer(content, **troubles)
        settings = {
            (hub, "time"): clock or server.clock,
            (constants, "HF_HUB_OFFLINE"): False,
            (constants, "HF_HUB_CACHE"): str(tmp_path / "hub"),
            (constants, "ENDPOINT"): server.url,
            (constants, "HUGGINGFACE_CO_URL_TEMPLATE"): server.url + "/{repo_id}/resolve/{revision}/{filename}",
        }
        for (module, name), value in settings.items():
            monkeypatch.setattr(module, name, value)
        return server

    return start


def assert_whole(originals: data.Originals):
    assert originals.source == "hub"
    assert originals.names == [f"noisy face {i}" for i in range(6)]
    assert torch.equal(originals.images, torch.stack([data.to_tensor(picture) for picture in PICTURES]))


def part() -> bytes:
    """What is there of a file that was given up. There is nothing else: nothing that could be taken for the file."""
    parts = [file for file in hub.cache().glob("blobs/*") if file.name.endswith(".incomplete")]
    assert not hub.cached() and parts == list(hub.cache().glob("blobs/*"))
    return b"".join(file.read_bytes() for file in parts)
