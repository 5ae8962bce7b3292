"""The original's dataset on the Hugging Face Hub, pinned. Opens no picture: it only finds the parquet file.

A download must have begun within SECONDS, whatever the Hub and the network do. Then it may take its time, as long as
no STALL seconds pass without a byte. What has come of a file that was given up stays in the cache, and the next run
goes on from there: huggingface_hub starts anew each time, so the file is fetched here. It is put where the client
would put it, under the client's lock. No file is used that has not the sha256 by which the Hub announced it, neither
a new one nor one in the cache.
"""

import contextlib
import logging
import os
import re
import shutil
import threading
import time
from pathlib import Path

import filelock
import httpx2  # huggingface_hub's own

from common.errors import UserError

DATASET = "valhalla/emoji-dataset"
REVISION = "67684cc"  # the last change, 5 October 2022
FILE = "data/train-00000-of-00001-38cc4fa96c139e86.parquet"  # 138,597,458 bytes
SECONDS = 4  # within which the download must have begun
STALL = 60  # seconds within which it must bring something
PAUSE = 1  # seconds before it is tried again
FAILURES = (OSError, RuntimeError, ValueError, LookupError, TypeError, httpx2.HTTPError, httpx2.InvalidURL)
DAMAGED = "the Hub's file was damaged (not the sha256 announced) and is removed from the cache; run again to have it"


def cache() -> Path:
    """The dataset's folder in the local Hub cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"datasets--{DATASET.replace('/', '--')}"


def cached() -> Path | None:
    """The pinned parquet file in the local Hub cache, if it was downloaded before."""
    return next((cache() / "snapshots").glob(f"{REVISION}*/{FILE}"), None)


def full_revision() -> str:
    """The 40 digits of the pinned commit. Raises UserError if the newest commits do not have it.

    Only their first page is asked for: further ones could be endless, or on another host, where the token must not go.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

    url = f"{constants.ENDPOINT}/api/datasets/{DATASET}/commits/main"
    response = http_backoff("GET", url, headers=build_hf_headers(), base_wait_time=PAUSE)
    hf_raise_for_status(response)
    for commit in response.json():
        if re.fullmatch(f"(?={REVISION})[0-9a-f]{{40}}", str(commit["id"])):  # it becomes a folder's name
            return commit["id"]
    raise UserError(f"{DATASET} no longer has revision {REVISION}; use --source twemoji")


def announced(url: str) -> tuple[str, int]:
    """The sha256 and the bytes of the file at `url`, as the Hub announces them. Raises UserError if it does not."""
    from huggingface_hub import get_hf_file_metadata

    metadata = get_hf_file_metadata(url, retry_on_errors=True)
    if not re.fullmatch("[0-9a-f]{64}", metadata.etag or "") or not metadata.size:  # the sha256 becomes a file's name
        raise UserError(f"the Hub announces no sha256 and size for {DATASET}; use --source twemoji")
    return metadata.etag, metadata.size


def sha256(file: Path) -> str:
    from huggingface_hub.utils.sha import sha_fileobj

    with file.open("rb") as opened:
        return sha_fileobj(opened).hex()


def came(blob: Path) -> int:
    """The bytes that all runs together have of the file that becomes `blob`."""
    count = 0
    for part in blob.parent.glob(f"{blob.name}*.incomplete"):
        with contextlib.suppress(FileNotFoundError):  # it may just have become the file
            count += part.stat().st_size
    return count


def link(blob: Path, revision: str) -> Path:
    """The file by its name in the cache."""
    pointer = cache() / "snapshots" / revision / FILE
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.unlink(missing_ok=True)  # a link that leads nowhere
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:  # Windows lets not everybody make links; the client does the same then
        blob.replace(pointer)
    return pointer


class Download:
    """One download, in a thread that can be left behind: it may try for minutes, or wait for a name server.

    The thread moves `deadline` on with all that comes, and ends with `file` or `error`. Who waits gives up there.
    """

    def __init__(self):
        import huggingface_hub.file_download  # noqa: F401  # takes a while that is not the Hub's; sets its log up

        self.begun = False
        self.deadline = time.monotonic() + SECONDS
        self.given_up = threading.Event()
        self.most = 0  # bytes of the file that were there at once
        self.complaints: list[str] = []  # the client's reasons to try again, of which the user is told the first
        self.file: Path | None = None
        self.error: Exception = RuntimeError("the download ended without a word")
        listener = logging.Handler()
        listener.emit = lambda record: self.complaints.append(record.getMessage().splitlines()[0])
        logging.getLogger("huggingface_hub").handlers = [listener]
        self.thread = threading.Thread(target=self.work, name="hub", daemon=True)
        self.thread.start()

    def result(self) -> Path:
        """Wait for the file. Raises TimeoutError at the deadline, and what the thread failed with."""
        try:
            while self.thread.is_alive() and time.monotonic() < self.deadline:
                self.thread.join(0.1)
            if self.thread.is_alive():
                late = f"nothing came for {STALL} s" if self.begun else f"no download began within {SECONDS} s"
                raise TimeoutError(": ".join([late, *self.complaints[:1]]))
        finally:
            self.given_up.set()  # after Ctrl-C too: nothing is downloaded behind the back of a training
        if not self.file:
            raise self.error
        return self.file

    def work(self):
        try:
            self.file = self.get()
        except (UserError, *FAILURES) as error:
            self.error = error

    def get(self) -> Path:
        """The file in the cache, once it is there."""
        from huggingface_hub import hf_hub_url

        revision = full_revision()
        self.go_on()
        url = hf_hub_url(DATASET, FILE, repo_type="dataset", revision=revision)
        name, size = announced(url)
        self.go_on()
        blob = cache() / "blobs" / name
        with self.lock(blob):
            if file := cached():  # by the run that held the lock
                return file
            if not blob.exists():
                self.complete(blob, url, size)
            return link(blob, revision)

    def go_on(self, alive: bool = False):
        """Raise TimeoutError if nobody waits any longer. A download that is alive gets STALL seconds more."""
        if self.given_up.is_set():
            raise TimeoutError("given up")
        if alive:
            self.begun, self.deadline = True, time.monotonic() + STALL

    def lock(self, blob: Path) -> filelock.AcquireReturnProxy:
        """The client's lock for `blob`. While another run holds it, what comes to that run counts."""
        lock = filelock.FileLock(cache().parent / ".locks" / cache().name / f"{blob.name}.lock", mode=0o664)
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        blob.parent.mkdir(parents=True, exist_ok=True)
        most = -1
        while True:
            try:
                return lock.acquire(timeout=0.1)
            except filelock.Timeout:
                if most < 0:
                    print(f"source: another run is downloading {DATASET}; waiting for it", flush=True)
                count = came(blob)
                self.go_on(alive=count > most)
                most = max(most, count)

    def complete(self, blob: Path, url: str, size: int):
        """Fetch what is missing of `blob`, of `size` bytes. Raises UserError if there is no room or it came damaged."""
        part = blob.with_name(f"{blob.name}.incomplete")
        if part.is_symlink() or (part.exists() and not part.is_file()):
            raise UserError(f"{part} in the Hub's cache is no file; remove it")
        part.touch()
        if shutil.disk_usage(part.parent).free < size - part.stat().st_size:
            raise UserError(f"{part.parent} has no room for the {size / 1e6:.0f} MB of {DATASET}; make some")
        while part.stat().st_size < size:
            try:
                self.append(part, url, size)
            except httpx2.TransportError as error:
                self.complaints.append(f"Error while downloading: {error}")
                self.given_up.wait(PAUSE)
                self.go_on()
        if sha256(part) != blob.name:
            part.unlink()
            raise UserError(DAMAGED)
        part.replace(blob)

    def append(self, part: Path, url: str, size: int):
        """Go on with a part. Raises TransportError if the connection breaks off, OSError if something else is sent."""
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff

        start = part.stat().st_size
        headers = build_hf_headers() | {"Accept-Encoding": "identity", "Range": f"bytes={start}-"}
        options = {"timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT, "base_wait_time": PAUSE}
        retried = {"retry_on_exceptions": (), "retry_on_status_codes": (408, 429)}
        with http_stream_backoff("GET", url, headers=headers, **options, **retried) as response:
            hf_raise_for_status(response)
            if response.status_code == 206:
                fits = response.headers.get("Content-Range") == f"bytes {start}-{size - 1}/{size}"
            else:  # a server may send the whole file all the same
                start, fits = 0, response.headers.get("Content-Length") == str(size)
            if not fits:
                raise OSError(f"what was sent is not the file of {size} bytes that was announced")
            with part.open("ab") as file:
                file.truncate(start)
                for chunk in response.iter_bytes():
                    reached = file.tell() + len(chunk)
                    self.go_on(alive=reached > self.most)  # not for what had come before a start from the beginning
                    self.most = max(self.most, reached)
                    file.write(chunk)
                    file.flush()  # another run may look at it


def download() -> Path:
    """The pinned parquet file from the Hub. Raises UserError if it cannot be had, or not within SECONDS and STALL."""
    try:
        return Download().result()
    except FAILURES as failure:
        error = failure
    while error.__cause__:
        error = error.__cause__
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    raise UserError(f"{DATASET} is out of reach on the Hub ({reason}); check the network, or use --source twemoji")


def verify(file: Path) -> None:
    """Raise UserError for a cached file that is none (a pipe, a folder) or is damaged; the damaged one is removed.

    The cache names a file by its announced sha256 and links to it. Where it cannot link (on Windows), a file is checked
    only when it comes.
    """
    if not file.is_file():
        raise UserError(f"{file} in the Hub's cache is no file; remove it")
    name = file.readlink().name if file.is_symlink() else ""
    if len(name) != 64 or sha256(file) == name:
        return
    file.resolve().unlink(missing_ok=True)
    file.unlink(missing_ok=True)
    raise UserError(DAMAGED)


def fetch() -> tuple[Path, str]:
    """The pinned parquet file and how it was had. Raises UserError if it is neither cached nor had in good time."""
    try:
        import huggingface_hub.constants  # noqa: F401
    except ValueError as error:  # it reads numbers from the environment
        raise UserError(f"huggingface_hub does not start ({error}); mend the environment's HF_ variables") from None
    file, how = cached(), "from the cache"
    if not file:
        file, how = download(), "downloaded"
    verify(file)
    return file, how
