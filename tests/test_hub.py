"""The way to the Hub, with the real client and a server on loopback: the report's dataset, or the reason why not, in good time."""

import io
import os
import random
import shutil
import subprocess
import sys
import threading
import time

import datasets
import filelock
import huggingface_hub
import pytest
import torch
from conftest import ROOT
from hub_server import LATER, HubServer, until
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


PARQUET = parquet(image=PICTURES, text=NAMES)
HALF = len(PARQUET) // 2


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Point the client at a server of the given file and troubles, with an empty cache; the cache stays for the test.

    The server's clock tells how long it took.
    """
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "PAUSE", 0.01)
    huggingface_hub.close_session()  # the next one reads the environment again

    def start(content: bytes = PARQUET, **troubles) -> HubServer:
        server = HubServer(content, **troubles)
        monkeypatch.setattr(hub, "time", server.clock)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
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


def test_first_run_downloads_and_the_next_needs_no_hub(serve, capsys, monkeypatch):
    with serve() as server:
        assert_whole(data.load_originals("auto"))
    assert [request for request in server.asked if request] == ["commits", "resolve", "resolve", "file"]
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
    "no answer": ({"commits": "hang"}, "no download began within 4 s"),
    "no answer where the file is": ({"resolve": "hang"}, "no download began within 4 s"),
    "no answer for the file": ({"file": "hang"}, "no download began within 4 s"),
    "no sha256, but a way out of the cache": ({"resolve": "leaves"}, "announces no sha256"),
    "no commit, but a way out of the cache": ({"commits": "leaves"}, f"no longer has revision {hub.REVISION}"),
    "another file": ({"file": "other"}, "not the file of"),
    "429": ({"commits": 429}, "no download began within 4 s: HTTP Error 429"),
    "500": ({"commits": 500}, "no download began within 4 s: HTTP Error 500"),
    "500 where the file is": ({"resolve": 500}, "no download began within 4 s: HTTP Error 500"),
    "500 for the file": ({"file": 500}, "500 Internal Server Error"),
    "stalled": ({"file": "halt"}, "nothing came for 60 s"),
    "cut each time": ({"file": "cut"}, "nothing came for 60 s: Error while downloading: peer closed connection"),
    "reset each time": ({"file": "reset"}, " s: Error while downloading: "),
    "damaged": ({"file": "damaged"}, "was damaged"),
}


@pytest.mark.parametrize("troubles, reason", TROUBLES.values(), ids=TROUBLES.keys())
def test_trouble_is_named_and_no_part_is_used(serve, tmp_path, troubles, reason):
    with serve(**troubles), pytest.raises(UserError) as error:
        hub.fetch()
    assert reason in str(error.value)
    assert PARQUET.startswith(part())
    assert {file.name for file in tmp_path.iterdir()} <= {"hub"}
    with serve():
        assert_whole(data.load_originals("hub"))


def test_fallback_and_error_are_one_line_each(serve, capsys, command):
    with serve(commits="hang"):
        assert data.load_originals("auto", "cat face").source == "twemoji"
    output = capsys.readouterr().out
    reason = f"{hub.DATASET} is out of reach on the Hub (TimeoutError: no download began within 4 s)"
    assert output == f"source: twemoji, the stand-in: {reason}; check the network, or use --source twemoji".rpartition(";")[0] + "\n"
    with serve(commits="hang"):
        assert command(data, "--source", "hub")[::2] == (2, f"error: {reason}; check the network, or use --source twemoji\n")


TRANSIENT = [("commits", 429), ("commits", 500), ("resolve", 500), ("file", 429), ("file", "cut"), ("file", "reset")]


@pytest.mark.parametrize("request_, trouble", TRANSIENT)
def test_trouble_that_passes_is_waited_for(serve, request_, trouble):
    with serve(**{request_: [trouble, None]}) as server:
        assert_whole(data.load_originals("auto"))
    assert server.asked.count(request_) == (3 if request_ == "resolve" else 2)  # the file's request is one to resolve, too
    assert server.starts[-1] == (HALF if trouble == "cut" else 0) or trouble == "reset"


@pytest.mark.long
def test_no_answer_as_it_ships(serve, monkeypatch):
    with serve(commits="hang"):
        monkeypatch.setattr(hub, "time", time)
        start = time.monotonic()
        assert data.load_originals("auto", "cat face").source == "twemoji"
        assert time.monotonic() - start < 5


@pytest.mark.long
def test_stall_as_it_ships(serve, monkeypatch):
    with serve(file=["hold", "hang"]), pytest.raises(UserError, match=f"nothing came for {hub.STALL} s"):
        monkeypatch.setattr(hub, "time", time)
        hub.fetch()


def test_slow_download_that_goes_on_is_not_given_up(serve):
    """150 kB/s, at which the original takes a quarter of an hour."""
    with serve(file="slow") as server:
        assert_whole(data.load_originals("hub"))
    assert server.clock.now > 800 and server.starts == [0]


def test_answer_after_the_fallback_starts_no_download(serve):
    with serve(commits="late") as server:
        with pytest.raises(UserError, match="no download began"):
            hub.fetch()
        server.free.set()
        server.wait()
    assert server.asked == ["commits"] and not part()


@pytest.mark.parametrize("stop", ["halt", "interrupt"])
@pytest.mark.parametrize("next_", [None, "whole"])
def test_download_that_was_given_up_goes_on_from_the_part(serve, stop, next_):
    """If the server can do that."""
    with serve(file=stop), pytest.raises(UserError if stop == "halt" else KeyboardInterrupt):
        hub.fetch()
    assert part() == PARQUET[:HALF]
    with serve(file=next_) as server:
        assert_whole(data.load_originals("hub"))
    assert server.starts == [HALF]
    assert [file.name for file in hub.cache().glob("blobs/*")] == [server.sha256]


@pytest.mark.parametrize("spoil", [lambda part: b"?" + part[1:], lambda _: bytes(len(PARQUET)), lambda _: bytes(len(PARQUET) + 1)])
def test_part_that_is_damaged_is_never_used(serve, spoil):
    with serve(file="halt") as server, pytest.raises(UserError):
        hub.fetch()
    file = hub.cache() / "blobs" / f"{server.sha256}.incomplete"
    file.write_bytes(spoil(file.read_bytes()))
    with serve():
        with pytest.raises(UserError, match="was damaged"):
            hub.fetch()
        assert not part()
        assert_whole(data.load_originals("hub"))


def test_disk_that_is_too_small_is_not_filled(serve, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 1, len(PARQUET) - 1))
    with serve() as server, pytest.raises(UserError, match="has no room"):
        hub.fetch()
    assert not server.starts and not part()


def test_second_run_waits_for_the_download_of_the_first(serve, capsys):
    had, output = [], []
    with serve(file="hold") as server:
        runs = [threading.Thread(target=lambda: had.append(hub.fetch()[0])) for _ in range(2)]
        runs[0].start()
        server.arrived(HALF)
        runs[1].start()
        until(lambda: output.append(capsys.readouterr().out) or output[-1])
        assert output[-1] == f"source: another run is downloading {hub.DATASET}; waiting for it\n" and not had
        server.free.set()
        for run in runs:
            run.join()
    assert had == [hub.cached()] * 2 and had[0].read_bytes() == PARQUET
    assert server.asked.count("file") == 1 and not capsys.readouterr().out


@pytest.fixture
def waiting(serve):
    """A download that waits for another run's, which is only made up: the server, that run's part, and the download."""
    with serve() as server:
        lock = hub.cache().parent / ".locks" / hub.cache().name / f"{server.sha256}.lock"
        part = hub.cache() / "blobs" / f"{server.sha256}.01234567.incomplete"  # as the client names it
        lock.parent.mkdir(parents=True)
        part.parent.mkdir(parents=True)
        with filelock.FileLock(lock):
            download = hub.Download()
            until(lambda: download.begun)
            yield server, part, download


def test_second_run_waits_as_long_as_the_part_of_the_first_grows(waiting):
    server, part, download = waiting
    for byte in range(1, 6):
        before = download.deadline
        server.clock.now += 50
        part.write_bytes(bytes(byte))
        until(lambda: download.deadline != before)
    assert download.deadline == 250 + hub.STALL


def test_second_run_gives_up_when_the_first_stalls(waiting):
    server, part, download = waiting
    server.clock.now += LATER
    with pytest.raises(TimeoutError, match="nothing came for 60 s"):
        download.result()


def test_token_goes_to_the_hub_alone(serve, monkeypatch):
    """Neither to the host that the file comes from, nor to the one where there are said to be more commits."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serve() as server:
        assert_whole(data.load_originals("hub"))
    assert server.authorised == {"commits", "resolve"}
    assert "next" not in server.asked


@pytest.mark.parametrize("place", ["snapshots", "blobs"])
@pytest.mark.parametrize("make", [lambda path: os.mkfifo(path), os.mkdir, lambda path: os.symlink("/dev/zero", path)], ids=["pipe", "folder", "device"])
def test_what_is_no_file_in_the_cache_is_refused(serve, capsys, command, place, make):
    with serve() as server:
        file = hub.fetch()[0]
    path = file if place == "snapshots" else file.resolve()
    path.unlink()
    make(path)
    status, _, error = command(data, "--source", "hub")
    assert status == 2 and "is no file; remove it" in error and error.count("\n") == 1
    assert data.load_originals("auto", "cat face").source == "twemoji"
    assert capsys.readouterr().out.count("\n") == 1
    assert server.starts == [0]


@pytest.mark.parametrize("make", [lambda path: os.mkfifo(path), os.mkdir, lambda path: os.symlink("mine", path)], ids=["pipe", "folder", "link"])
def test_part_that_is_no_file_is_refused(serve, make):
    with serve() as server:
        path = hub.cache() / "blobs" / f"{server.sha256}.incomplete"
        path.parent.mkdir(parents=True)
        (path.parent / "mine").write_text("mine")
        make(path)
        with pytest.raises(UserError, match="is no file; remove it"):
            hub.fetch()
    assert (path.parent / "mine").read_text() == "mine" and not server.starts


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

    def run(**variables):
        script = "import cli, hub; hub.SECONDS, hub.PAUSE = 60, 0.01; cli.run(lambda _: print(*hub.fetch()), hub.Path)"
        command = [sys.executable, "-c", script, "."]
        return subprocess.run(command, cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True)

    with HubServer(PARQUET) as server:
        first = run(HF_ENDPOINT=server.url)
    assert first.returncode == 0 and first.stdout.endswith("downloaded\n"), first.stderr
    second = run(HF_HUB_OFFLINE="1")
    assert second.returncode == 0 and second.stdout.endswith("from the cache\n"), second.stderr
    third = run(HF_ENDPOINT=server.url, HF_HOME=str(tmp_path / "empty"))  # nobody listens there any more
    assert third.returncode == 2 and "Connection refused" in third.stderr
    fourth = run(HF_HUB_DOWNLOAD_TIMEOUT="abc")
    assert fourth.returncode == 2 and "'abc'" in fourth.stderr and "mend the environment's HF_ variables" in fourth.stderr
    assert third.stderr.count("\n") == fourth.stderr.count("\n") == 1
