"""The report's dataset on the Hugging Face Hub, pinned. Opens no picture: it only finds the parquet file.

A download must have begun within SECONDS, whatever the Hub and the network do. Then it may take its time, but not stall for
STALL seconds. No file is used that has not the sha256 by which the Hub announced it, neither a new one nor one in the cache.
"""

import contextlib
import logging
import threading
import time
from pathlib import Path

from cli import UserError

DATASET = "valhalla/emoji-dataset"
REVISION = "67684cc"  # the last change, 5 October 2022
FILE = "data/train-00000-of-00001-38cc4fa96c139e86.parquet"  # 138,597,458 bytes
SECONDS = 4  # within which the download must have begun
STALL = 60  # seconds within which it must bring something; without Xet, the client tells of every 10 MB


def cache() -> Path:
    """The dataset's folder in the local Hub cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"datasets--{DATASET.replace('/', '--')}"


def cached() -> Path | None:
    """The pinned parquet file in the local Hub cache, if it was downloaded before."""
    return next((cache() / "snapshots").glob(f"{REVISION}*/{FILE}"), None)


def download() -> Path:
    """The pinned parquet file from the Hub. Raises UserError if it cannot be had, or not within SECONDS and STALL."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.utils import tqdm

    outcome, finished, begun, deadline = {}, threading.Event(), False, time.monotonic() + SECONDS

    # That the client retries is not the user's business, but its first reason to is.
    complaints, listener = [], logging.Handler()
    listener.emit = lambda record: complaints.append(record.getMessage().splitlines()[0])
    logging.getLogger("huggingface_hub").handlers = [listener]

    class Bar(tqdm):
        """The client's progress bar, which hears of the bytes."""

        def __init__(self, *arguments, name, **options):
            super().__init__(*arguments, name=name, **options)
            if name.endswith("http_get"):  # then the file is being sent; Xet has its bars before it asks anybody
                self.update(0)

        def update(self, n=1):
            nonlocal begun, deadline
            if "error" in outcome:
                raise outcome["error"]  # given up meanwhile: nothing is downloaded behind the back of a training
            begun, deadline = True, time.monotonic() + STALL
            return super().update(n)

    def work():
        try:
            commits = [commit.commit_id for commit in HfApi().list_repo_commits(DATASET, repo_type="dataset")]
            revision = next((commit for commit in commits if commit.startswith(REVISION)), None)
            if not revision:
                raise UserError(f"{DATASET} no longer has revision {REVISION}; use --source twemoji")
            outcome["file"] = Path(hf_hub_download(DATASET, FILE, repo_type="dataset", revision=revision, tqdm_class=Bar))
        except Exception as error:  # whatever it is, there is no file; it is named below
            outcome.setdefault("error", error)
        finished.set()

    # The client may retry for minutes, or wait for a name server, so it works in a thread that can be left behind.
    threading.Thread(target=work, name="hub", daemon=True).start()
    try:
        while not finished.wait(0.1) and time.monotonic() < deadline:
            pass
        if not finished.is_set():
            late = f"nothing came for {STALL} s" if begun else f"no download began within {SECONDS} s"
            outcome["error"] = TimeoutError(": ".join([late, *complaints[:1]]))
    finally:
        if begun and not finished.is_set():  # then it holds the file's lock, and what is incomplete is its own
            for incomplete in (cache() / "blobs").glob("*.incomplete"):
                with contextlib.suppress(OSError):  # Windows removes no open file
                    incomplete.unlink()
    if "file" in outcome:
        return outcome["file"]
    error = outcome["error"]
    if isinstance(error, UserError):
        raise error
    while error.__cause__:
        error = error.__cause__
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    raise UserError(f"{DATASET} is out of reach on the Hub ({reason}); check the network, or use --source twemoji")


def verify(file: Path) -> None:
    """Raise UserError and remove a cached file that is not what the Hub announced: the client checks no more than its length.

    The cache names a file by its announced sha256 and links to it. Where it cannot link (on Windows), nothing is checked.
    """
    from huggingface_hub.utils.sha import sha_fileobj

    announced = file.readlink().name if file.is_symlink() else ""
    with file.open("rb") as opened:
        if len(announced) != 64 or sha_fileobj(opened).hex() == announced:
            return
    file.resolve().unlink(missing_ok=True)
    file.unlink(missing_ok=True)
    raise UserError(f"the Hub's file was damaged (not the sha256 announced) and is removed from the cache; run again to download it")


def fetch() -> tuple[Path, str]:
    """The pinned parquet file and how it was had. Raises UserError if it is neither cached nor to be had in good time."""
    file, how = cached(), "from the cache"
    if not file:
        file, how = download(), "downloaded"
    verify(file)
    return file, how
