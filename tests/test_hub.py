"""The way to the Hub, with the real client and a server on loopback: the report's dataset, or the reason why not, in good time."""

import functools
import io
import os
import random
import signal
import subprocess
import sys
import threading
import time

import datasets
import huggingface_hub
import pytest
import torch
from conftest import ROOT
from hub_server import PIECE, HubServer
from huggingface_hub import constants
from PIL import Image

import data
import hub
from cli import UserError

PICTURES = [Image.frombytes("RGB", (64, 64), random.Random(i).randbytes(64 * 64 * 3)) for i in range(6)]
NAMES = [f"Noisy Face {i}" for i in range(6)]


def parquet(**columns) -> bytes:
    """A file with the original's way to store pictures and text."""
    features = {name: datasets.Image() if name == "image" else datasets.Value("string") for name in columns}
    file = io.BytesIO()
    datasets.Dataset.from_dict(columns, datasets.Features(features)).to_parquet(file)
    return file.getvalue()


@functools.cache
def large() -> bytes:
    """The dataset with a picture more, so that the file is of three of the pieces that the client writes."""
    return parquet(image=PICTURES + [{"bytes": random.Random(0).randbytes(5 * PIECE // 2), "path": None}], text=[*NAMES, "extra"])


PARQUET = parquet(image=PICTURES, text=NAMES)


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Point the client at a server of the given file and troubles, with an empty cache; the cache stays for the test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    huggingface_hub.close_session()  # the next one reads the environment again

    def start(content: bytes = PARQUET, **troubles) -> HubServer:
        server = HubServer(content, **troubles)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
        return server

    return start


def assert_whole(originals: data.Originals):
    assert originals.source == "hub"
    assert originals.names == [f"noisy face {i}" for i in range(6)]
    assert torch.equal(originals.images, torch.stack([data.to_tensor(picture) for picture in PICTURES]))


def nothing_is_left() -> bool:
    return not hub.cached() and not any(file.stat().st_size for file in hub.cache().glob("blobs/*"))


def test_first_run_downloads_and_the_next_needs_no_hub(serve, capsys, monkeypatch):
    with serve() as server:
        assert_whole(data.load_originals("auto"))
    assert [request for request in server.asked if request] == ["commits", "resolve", "file"]
    assert capsys.readouterr().out == f"source: {hub.DATASET} at {hub.REVISION}, the report's dataset, downloaded\n"
    assert_whole(data.load_originals("auto"))  # the server is gone
    assert capsys.readouterr().out.endswith("from the cache\n")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert_whole(data.load_originals("hub"))


TROUBLES = {
    "repository gone": ({"commits": 404}, "404 Not Found"),
    "private or gone": ({"commits": 401}, "401 Unauthorized"),
    "revision gone": ({"commits": "rewritten"}, f"no longer has revision {hub.REVISION}"),
    "file gone": ({"resolve": 404}, "404 Not Found"),
    "no hub but a captive portal": ({"commits": "captive portal"}, "JSONDecodeError"),
    "no answer": ({"commits": "hang"}, "no download began within 0.5 s"),
    "no answer where the file is": ({"resolve": "hang"}, "no download began within 0.5 s"),
    "no answer for the file": ({"file": "hang"}, "no download began within 0.5 s"),
    "no answer of Xet": ({"xet": "hang"}, "no download began within 0.5 s"),
    "not in Xet": ({"xet": 404}, "404 Not Found"),
    "429": ({"commits": 429}, "no download began within 0.5 s: HTTP Error 429"),
    "500": ({"commits": 500}, "no download began within 0.5 s: HTTP Error 500"),
    "500 where the file is": ({"resolve": 500}, "no download began within 0.5 s: HTTP Error 500"),
    "500 for the file": ({"file": 500}, "500 Internal Server Error"),
    "stalled": ({"file": "halt"}, "nothing came for 0.5 s"),
    "cut short": ({"file": "cut"}, "nothing came for 0.5 s: Error while downloading"),
    "reset": ({"file": "reset"}, "ConnectionResetError"),
    "damaged": ({"file": "damaged"}, "was damaged"),
}


@pytest.mark.parametrize("troubles, reason", TROUBLES.values(), ids=TROUBLES.keys())
def test_trouble_is_named_in_time_and_leaves_nothing(serve, capsys, command, monkeypatch, troubles, reason):
    if "xet" in troubles:
        pytest.importorskip("hf_xet")  # not made for every processor
    if " 0.5 s" in reason:
        monkeypatch.setattr(hub, "STALL" if "nothing" in reason else "SECONDS", 0.5)
    with serve(**troubles):
        start = time.monotonic()
        assert data.load_originals("auto", "cat face").source == "twemoji"
        assert time.monotonic() - start < 5
        output = capsys.readouterr().out
        assert output.startswith("source: twemoji, the stand-in: ") and reason in output and output.count("\n") == 1
        assert nothing_is_left()
    with serve(**troubles):
        status, _, error = command(data, "--source", "hub")
        assert status == 2 and error.startswith("error: ") and reason in error and error.count("\n") == 1
    monkeypatch.setattr(hub, "SECONDS", 4)
    with serve():  # and what came, if anything, is not taken for the file
        assert_whole(data.load_originals("hub"))


@pytest.mark.parametrize("request_, trouble", [("commits", 429), ("commits", 500), ("resolve", 500), ("file", 429), ("file", "cut")])
def test_trouble_that_passes_is_waited_for(serve, request_, trouble):
    with serve(large() if trouble == "cut" else PARQUET, **{request_: [trouble, None]}) as server:
        assert_whole(data.load_originals("auto"))
    assert server.asked.count(request_) == 2
    assert server.starts[-1] == (PIECE if trouble == "cut" else 0)


def test_fallback_within_five_seconds_as_it_ships(serve, capsys):
    with serve(commits="hang"):
        start = time.monotonic()
        assert data.load_originals("auto", "cat face").source == "twemoji"
        assert time.monotonic() - start < 5


@pytest.mark.long
def test_connection_that_is_cut_each_time_ends(serve):
    with serve(file="cut") as server, pytest.raises(UserError, match="closed connection"):
        hub.fetch()
    assert server.asked.count("file") == 6


@pytest.mark.long
def test_stall_as_it_ships(serve):
    with serve(file="halt"), pytest.raises(UserError, match=f"nothing came for {hub.STALL} s"):
        hub.fetch()


def test_slow_download_that_goes_on_is_not_given_up(serve, monkeypatch):
    monkeypatch.setattr(hub, "STALL", 1.2)
    monkeypatch.setattr(hub, "SECONDS", 1.2)
    with serve(large(), file="slow"):
        start = time.monotonic()
        assert_whole(data.load_originals("hub"))
        assert time.monotonic() - start > 1.2


def test_answer_after_the_fallback_starts_no_download(serve, monkeypatch):
    monkeypatch.setattr(hub, "SECONDS", 0.5)
    with serve(commits="late") as server:
        with pytest.raises(UserError, match="no download began"):
            hub.fetch()
        server.wait()
    assert server.asked[-1] == "file" and nothing_is_left()


@pytest.mark.parametrize("stop", ["stall", "Ctrl-C"])
def test_download_that_is_given_up_leaves_no_part(serve, monkeypatch, stop):
    """Ten of the 25 MB are on the disk by then."""
    monkeypatch.setattr(hub, "STALL", 0.5 if stop == "stall" else 60)
    with serve(large(), file="halt"):
        if stop == "Ctrl-C":
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(UserError if stop == "stall" else KeyboardInterrupt):
            hub.fetch()
        assert nothing_is_left() and not list(hub.cache().glob("blobs/*"))


@pytest.mark.parametrize("shared", [False, True])
def test_file_that_was_damaged_in_the_cache_is_removed_and_had_anew(serve, capsys, shared):
    """Also where the file is one of Xet's, which are shared by datasets: the cache links twice then."""
    with serve():
        file = hub.fetch()[0]
        if shared:
            file.resolve().rename(hub.cache().parent / ("0" * 64))
            (hub.cache() / "blobs" / file.readlink().name).symlink_to(hub.cache().parent / ("0" * 64))
        assert hub.fetch() == (file, "from the cache")
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        assert data.load_originals("auto", "cat face").source == "twemoji"
        assert "was damaged" in capsys.readouterr().out
        assert_whole(data.load_originals("auto"))
        assert "downloaded" in capsys.readouterr().out


@pytest.mark.parametrize("columns, missing", [({"label": ["a"] * 6}, "no column image and no text"), ({"text": ["a"] * 6}, "no column image")])
def test_file_of_another_schema(serve, capsys, command, columns, missing):
    with serve(parquet(**columns)):
        assert data.load_originals("auto", "cat face").source == "twemoji"
        output = capsys.readouterr().out
        assert missing in output and output.count("\n") == 1
        status, _, error = command(data, "--source", "hub")
        assert status == 2 and missing in error and error.count("\n") == 1


def test_command_line_with_the_environment_of_a_user(tmp_path):
    """Endpoint, cache and offline mode as a user sets them; nothing in the clients is changed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1,localhost"}

    def run(*arguments, **variables):
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True)

    fetch = ["-c", "import cli, hub; hub.SECONDS = 1.5; cli.run(lambda _: print(*hub.fetch()), hub.Path)", "."]
    with HubServer(PARQUET) as server:
        first = run("data.py", "--plots", str(tmp_path), HF_ENDPOINT=server.url)
    assert first.returncode == 0 and "dataset, downloaded" in first.stdout and "originals       6" in first.stdout, first.stderr
    second = run(*fetch, HF_HUB_OFFLINE="1")
    assert second.returncode == 0 and second.stdout.endswith("from the cache\n"), second.stderr
    third = run(*fetch, HF_ENDPOINT=server.url, HF_HOME=str(tmp_path / "empty"))  # nobody listens there any more
    assert third.returncode == 2 and "within 1.5 s: " in third.stderr and "Connection refused" in third.stderr and third.stderr.count("\n") == 1
