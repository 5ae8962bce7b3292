"""A Hub on loopback: as much of its HTTP API as the clients ask for, with the troubles of a Hub and a network."""

import hashlib
import json
import os
import signal
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from common import hub

COMMIT = hub.REVISION.ljust(40, "0")
LATER = 100  # seconds: more than anybody waits


class Clock:
    """Passes no second but by the server's will, so that no test depends on the machine's speed."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def until(condition):
    """Wait until it is met; a minute is for the slowest machine."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


class HubServer(ThreadingHTTPServer):
    """Serves one parquet file at the pinned revision.

    A request is one for the `commits`, for where the file is (`resolve`) or for the `file`. For each, `troubles` names
    what goes wrong: an HTTP status or a word that the handler knows, or a list of these, one per request, of which the
    last stays.
    With a trouble for `xet`, the file is offered by Xet too, whose downloads cannot go on from a part.
    """

    def __init__(self, parquet: bytes, **troubles):
        super().__init__(("127.0.0.1", 0), Handler)
        self.parquet = parquet
        self.sha256 = hashlib.sha256(parquet).hexdigest()
        self.troubles = {
            request: list(trouble) if isinstance(trouble, list) else [trouble] for request, trouble in troubles.items()
        }
        self.asked = []  # the requests, in order
        self.starts = []  # the byte from which on the file was asked for
        self.authorised = set()  # the requests that came with a token
        self.clock = Clock()
        self.free = threading.Event()  # lets go what is held back
        self.over = threading.Event()  # from then on everything is a 404, and what hangs is let go
        self.paths = {
            f"/api/datasets/{hub.DATASET}/commits/main": "commits",
            f"/datasets/{hub.DATASET}/resolve/{COMMIT}/{hub.FILE}": "resolve",
            f"/{self.sha256}": "file",
            "/token": "xet",
            "/next": "next",
        }
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.store = f"http://localhost:{self.server_port}"  # large files come from another host

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.free.set()
        self.wait()  # what is left behind must not meet the next server
        self.shutdown()
        self.server_close()

    def wait(self):
        """Until no thread of hub.download is left."""
        for thread in threading.enumerate():
            if thread.name == "hub":
                thread.join()

    def arrived(self, count: int):
        """Until the client has `count` bytes of the file."""
        until(lambda: self.over.is_set() or hub.came(hub.cache() / "blobs" / self.sha256) >= count)

    def hang(self):
        """Say nothing for so long that nobody waits."""
        self.clock.now += LATER
        self.over.wait()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        request = server.paths.get(self.path.split("?")[0])
        server.asked.append(request)
        if "Authorization" in self.headers:
            server.authorised.add(request)
        troubles = server.troubles.get(request, [None])
        trouble = troubles.pop(0) if len(troubles) > 1 else troubles[0]
        if trouble == "late":
            server.clock.now += LATER
            server.free.wait()
        if trouble == "hang" or (
            trouble in (429, 500) and server.asked.count(request) > 1
        ):  # the first is known by then
            server.hang()
        if request is None or server.over.is_set():
            trouble = 404
        if isinstance(trouble, int):
            errors = {"commits": "RepoNotFound", "resolve": "EntryNotFound"}
            self.answer(trouble, {"X-Error-Code": errors[request]} if trouble == 404 and request in errors else {})
        elif trouble == "captive portal":
            self.answer(200, {}, b"<html>Please log in</html>")
        else:
            getattr(self, request)(trouble)

    do_HEAD = do_GET

    def answer(self, status: int, headers: dict, body: bytes = b"", length: int | None = None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body) if length is None else length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def commits(self, trouble):
        ids = {"rewritten": ["f" * 40], "leaves": [f"{hub.REVISION}/../../../../outside"]}.get(
            trouble, ["f" * 40, COMMIT]
        )
        commits = [
            {"id": commit, "title": "", "message": "", "authors": [], "date": "2022-10-05T00:00:00.000Z"}
            for commit in ids
        ]
        headers = {"Link": f'<{self.server.store}/next>; rel="next"'}  # on another host, and without end
        self.answer(200, {"Content-Type": "application/json", **headers}, json.dumps(commits).encode())

    def next(self, trouble):
        self.commits("rewritten")

    def resolve(self, trouble):
        sha256 = "../../../outside" if trouble == "leaves" else self.server.sha256
        headers = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{sha256}"',
            "X-Linked-Size": str(len(self.server.parquet)),
        }
        if "xet" in self.server.troubles:
            headers |= {"X-Xet-Hash": self.server.sha256, "X-Xet-Refresh-Route": f"{self.server.url}/token"}
        self.answer(302, {"Location": f"{self.server.store}/{self.server.sha256}", **headers})

    def file(self, trouble):
        server = self.server
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        server.starts.append(start)
        if trouble == "whole":
            start = 0
        size, body = len(server.parquet), bytearray(server.parquet)[start:]
        half = len(body) // 2
        status, headers = 206, {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
        if trouble == "whole":
            status, headers = 200, {}
        if trouble == "damaged":
            body[half] ^= 1
        if trouble == "other":
            self.answer(206, {"Content-Range": f"bytes {start}-{size}/{size + 1}"}, body + b"0")
        elif trouble in ("cut", "reset") and server.starts.count(start) > 1:
            server.hang()  # nothing has come since it was asked for that before
        elif trouble in ("halt", "hold", "interrupt", "cut", "reset"):
            self.answer(status, headers, body[:half], length=len(body))
            self.wfile.flush()
            if trouble in ("halt", "hold", "interrupt"):
                server.arrived(start + half)
            if trouble == "halt":
                server.hang()
            if trouble == "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
                server.over.wait()
            if trouble == "hold":
                server.free.wait()
                self.wfile.write(body[half:])
            if trouble == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                socket.close(self.connection.detach())
        elif trouble == "slow":  # 150 kB/s, if this were the original's file: 5.8 MB in each of 24 pieces
            self.answer(status, headers, length=len(body))
            piece = -(-len(body) // 24)
            for sent in range(0, len(body) - piece, piece):
                self.wfile.write(body[sent : sent + piece])
                server.arrived(start + sent + piece)
                server.clock.now += 38
            self.wfile.write(body[sent + piece :])
        else:
            self.answer(status, headers, body)
