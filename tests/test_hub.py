"""The way to the Hub, with the real client and a server on loopback.

The original's dataset comes, or the reason why not, in good time.
"""

import shutil
import threading
import time

import filelock
import pytest
from hub_files import HALF, NAMES, PARQUET, PICTURES, assert_whole, parquet, part, serve  # noqa: F401
from hub_server import LATER, until

import data
from common import hub
from common.errors import UserError


def test_first_run_downloads_and_the_next_needs_no_hub(serve, capsys):
    with serve() as server:
        assert_whole(data.load_originals("auto"))
    assert [request for request in server.asked if request] == ["commits", "resolve", "resolve", "file"]
    assert capsys.readouterr().out == f"source: {hub.DATASET} at {hub.REVISION}, the original's dataset, downloaded\n"
    assert_whole(data.load_originals("auto"))  # the server is gone
    assert capsys.readouterr().out.endswith("from the cache\n")


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
    assert (
        output
        == f"source: twemoji, the stand-in: {reason}; check the network, or use --source twemoji".rpartition(";")[0]
        + "\n"
    )
    with serve(commits="hang"):
        assert command(data, "--source", "hub")[::2] == (
            2,
            f"error: {reason}; check the network, or use --source twemoji\n",
        )


TRANSIENT = [("commits", 429), ("commits", 500), ("resolve", 500), ("file", 429), ("file", "cut"), ("file", "reset")]


@pytest.mark.parametrize("request_, trouble", TRANSIENT)
def test_trouble_that_passes_is_waited_for(serve, request_, trouble):
    with serve(**{request_: [trouble, None]}) as server:
        assert_whole(data.load_originals("auto"))
    assert server.asked.count(request_) == (
        3 if request_ == "resolve" else 2
    )  # the file's request is one to resolve, too
    assert server.starts[-1] == (HALF if trouble == "cut" else 0) or trouble == "reset"


@pytest.mark.long
def test_no_answer_as_it_ships(serve):
    with serve(commits="hang", clock=time):
        start = time.monotonic()
        assert data.load_originals("auto", "cat face").source == "twemoji"
        assert time.monotonic() - start < 5


@pytest.mark.long
def test_stall_as_it_ships(serve):
    stalled = pytest.raises(UserError, match=f"nothing came for {hub.STALL} s")
    with serve(file=["hold", "hang"], clock=time), stalled:
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


@pytest.mark.parametrize(
    "spoil", [lambda part: b"?" + part[1:], lambda _: bytes(len(PARQUET)), lambda _: bytes(len(PARQUET) + 1)]
)
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
