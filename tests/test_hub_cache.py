"""Odd answers of the Hub and odd files in its cache: what is not right is refused in a line, and nothing leaks."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT
from hub_files import HALF, NAMES, PARQUET, PICTURES, assert_whole, parquet, part, serve  # noqa: F401
from hub_server import HubServer

import data
from common import hub
from common.errors import UserError


def test_token_goes_to_the_hub_alone(serve, monkeypatch):
    """Neither to the host that the file comes from, nor to the one where there are said to be more commits."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serve() as server:
        assert_whole(data.load_originals("hub"))
    assert server.authorised == {"commits", "resolve"}
    assert "next" not in server.asked


@pytest.mark.parametrize("place", ["snapshots", "blobs"])
@pytest.mark.parametrize(
    "make",
    [lambda path: os.mkfifo(path), os.mkdir, lambda path: os.symlink("/dev/zero", path)],
    ids=["pipe", "folder", "device"],
)
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


@pytest.mark.parametrize(
    "make",
    [lambda path: os.mkfifo(path), os.mkdir, lambda path: os.symlink("mine", path)],
    ids=["pipe", "folder", "link"],
)
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


@pytest.mark.parametrize(
    "columns, missing",
    [({"label": ["a"] * 6}, "no column image and no text"), ({"text": ["a"] * 6}, "no column image")],
)
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
        script = "from common import command_line, hub; hub.SECONDS, hub.PAUSE = 60, 0.01\n"
        script += "command_line.run(lambda _: print(*hub.fetch()), hub.Path)"
        command = [sys.executable, "-c", script, "."]
        return subprocess.run(command, cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True)

    with HubServer(PARQUET) as server:
        first = run(HF_ENDPOINT=server.url)
    assert first.returncode == 0 and first.stdout.endswith("downloaded\n"), first.stderr
    second = run(HF_HUB_OFFLINE="1")
    assert second.returncode == 0 and second.stdout.endswith("from the cache\n"), second.stderr
    third = run(HF_ENDPOINT=server.url, HF_HOME=str(tmp_path / "empty"))  # nobody listens there any more
    assert third.returncode == 2 and "Connection refused" in third.stderr
    assert third.stderr.count("\n") == 1
