"""Files that are whole or not there, and folders that one run at a time writes into."""

import contextlib
import json
import os
from pathlib import Path
from typing import Iterator

from filelock import FileLock, Timeout

from cli import UserError


def sync(path: Path) -> None:
    """Have the disk hold a file's content, or a folder's entries, before anything else is done."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to. When all is written it takes the place of `path`; after an error it is gone."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict) -> None:
    """A JSON file, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """`folder` for this run alone; the lock ends with the process at the latest. Raises UserError if another run has it."""
    try:
        lock = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise UserError(f"{folder} is in use by another run; wait for it, or give another --out") from None
    with lock:
        yield
