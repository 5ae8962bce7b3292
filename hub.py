"""The report's dataset on the Hugging Face Hub, pinned. Opens no picture: it only finds the parquet file."""

import threading
from pathlib import Path

from cli import UserError

DATASET = "valhalla/emoji-dataset"
REVISION = "67684cc"  # the last change, 5 October 2022
FILE = "data/train-00000-of-00001-38cc4fa96c139e86.parquet"  # 138,597,458 bytes
SECONDS = 4  # how long the Hub may take to answer


def cached() -> Path | None:
    """The pinned parquet file in the local Hub cache, if it was downloaded before."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"datasets--{DATASET.replace('/', '--')}" / "snapshots"
    return next(folder.glob(f"{REVISION}*/{FILE}"), None)


def commit() -> str:
    """The full hash of the pinned revision, asked of the Hub. Raises UserError after SECONDS."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # its retries are not the user's business
    answer = {}

    def ask():
        try:
            answer["commits"] = HfApi().list_repo_commits(DATASET, repo_type="dataset")
        except Exception as error:  # whatever it is, there was no answer; it is named below
            answer["error"] = error

    # The client retries for about 23 s without a network, so it is asked in a thread that can be left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if "commits" not in answer:
        reason = type(answer["error"]).__name__ if "error" in answer else f"no answer within {SECONDS} s"
        raise UserError(f"the Hub is out of reach ({reason}); check the network, or use --source twemoji")
    matching = [commit.commit_id for commit in answer["commits"] if commit.commit_id.startswith(REVISION)]
    if not matching:
        raise UserError(f"{DATASET} no longer has revision {REVISION}; use --source twemoji")
    return matching[0]


def fetch() -> tuple[Path, str]:
    """The pinned parquet file and how it was had. Raises UserError if it is neither cached nor reachable."""
    from huggingface_hub import hf_hub_download

    file = cached()
    if file:
        return file, "from the cache"
    revision = commit()
    try:
        file = hf_hub_download(DATASET, FILE, repo_type="dataset", revision=revision)
    except (OSError, ValueError) as error:  # huggingface_hub's own errors derive from these
        raise UserError(f"the download from the Hub failed ({str(error).splitlines()[0]}); try again") from None
    return Path(file), "downloaded"
