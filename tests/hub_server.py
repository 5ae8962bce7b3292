"""A Hub on loopback: as much of its HTTP API as the clients ask for, with the troubles that a Hub and a network can have."""

import hashlib
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import hub

COMMIT = hub.REVISION.ljust(40, "0")
PIECE = 10 * 2**20  # bytes, in which the client writes a file


class HubServer(ThreadingHTTPServer):
    """Serves one parquet file at the pinned revision.

    A request is one for the `commits`, for where the file is (`resolve`) or for the `file`. For each, `troubles` names what
    goes wrong: an HTTP status or a word that the handler knows, or a list of these, one per request, of which the last stays.
    With a trouble for `xet`, the file is offered by Xet too, which the client prefers; it cannot be had that way.
    """

    def __init__(self, parquet: bytes, **troubles):
        super().__init__(("127.0.0.1", 0), Handler)
        self.parquet = parquet
        self.sha256 = hashlib.sha256(parquet).hexdigest()
        self.troubles = {request: list(trouble) if isinstance(trouble, list) else [trouble] for request, trouble in troubles.items()}
        self.asked = []  # the requests, in order
        self.starts = []  # the byte from which on the file was asked for
        self.over = threading.Event()  # from then on everything is a 404, and what hangs is let go
        self.paths = {
            f"/api/datasets/{hub.DATASET}/commits/main": "commits",
            f"/datasets/{hub.DATASET}/resolve/{COMMIT}/{hub.FILE}": "resolve",
            f"/{self.sha256}": "file",
            "/token": "token",
            f"/v1/reconstructions/{self.sha256}": "xet",
            f"/v2/reconstructions/{self.sha256}": "xet",
        }
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.store = f"http://localhost:{self.server_port}"  # large files come from another host

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.wait()  # what is left behind must not meet the next server
        self.shutdown()
        self.server_close()

    def wait(self):
        """Until no thread of hub.download is left."""
        for thread in threading.enumerate():
            if thread.name == "hub":
                thread.join()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        request = server.paths.get(self.path.split("?")[0])
        server.asked.append(request)
        troubles = server.troubles.get(request, [None])
        trouble = troubles.pop(0) if len(troubles) > 1 else troubles[0]
        if trouble == "late":
            time.sleep(1)
        if trouble == "hang":
            server.over.wait()
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
        ids = ["f" * 40] if trouble == "rewritten" else ["f" * 40, COMMIT]
        commits = [{"id": commit, "title": "", "message": "", "authors": [], "date": "2022-10-05T00:00:00.000Z"} for commit in ids]
        self.answer(200, {"Content-Type": "application/json"}, json.dumps(commits).encode())

    def resolve(self, trouble):
        headers = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{self.server.sha256}"', "X-Linked-Size": str(len(self.server.parquet))}
        if "xet" in self.server.troubles:
            headers |= {"X-Xet-Hash": self.server.sha256, "X-Xet-Refresh-Route": f"{self.server.url}/token"}
        self.answer(302, {"Location": f"{self.server.store}/{self.server.sha256}", **headers})

    def token(self, trouble):
        headers = {"X-Xet-Cas-Url": self.server.url, "X-Xet-Access-Token": "token", "X-Xet-Token-Expiration": str(int(time.time()) + 3600)}
        self.answer(200, headers)

    def file(self, trouble):
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])  # the client asks for the rest after a cut
        self.server.starts.append(start)
        status, body = 206 if start else 200, bytearray(self.server.parquet)[start:]
        half = len(body) // 2
        headers = {"Content-Range": f"bytes {start}-{start + len(body) - 1}/{start + len(body)}"} if start else {}
        if trouble == "damaged":
            body[half] ^= 1
        if trouble in ("halt", "cut", "reset"):
            self.answer(status, headers, body[:half], length=len(body))
            if trouble == "halt":
                self.server.over.wait()
            if trouble == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                socket.close(self.connection.detach())
        elif trouble == "slow":
            self.answer(status, headers, length=len(body))
            for start in range(0, len(body), PIECE):
                time.sleep(0.5)
                self.wfile.write(body[start : start + PIECE])
        else:
            self.answer(status, headers, body)
