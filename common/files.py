"""Files that are whole or not there, whose they are, and folders that one run at a time writes into."""

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Iterator, Literal, get_args, get_origin

from filelock import FileLock, Timeout

from common.errors import UserError

# The names that this project writes. Nothing of another name is ever removed or replaced.
RUN = (
    "run.json",
    "metrics.json",
    "metrics.jsonl",
    "model.safetensors",
    "config.json",
    "README.md",
    "latents.safetensors",
)
CHECKPOINT = re.compile(
    r"checkpoint(-\d+-\d+|-(report|emoji)-\d+-[\d.e+-]+)?\.safetensors"
)  # the values of a training's `run`
FIGURE = re.compile(r"((autoencoder|multitask|composite|analogies|experiment)_\w+|contact_sheet|bench)\.png")
TRIAL = re.compile(r"[0-9a-f]{16}\.json")  # of a finished trial
PART = re.compile(r"\.(.+)\.(\d+)\.part")  # what is being written under the name, by the process
HIDDEN = (".lock", ".metrics.jsonl.part")


def owned(name: str) -> bool:
    """Whether this project writes files of this name."""
    part = PART.fullmatch(name)
    name = part[1] if part else name
    return name in RUN + HIDDEN or any(kind.fullmatch(name) for kind in (CHECKPOINT, FIGURE, TRIAL))


def passing(name: str) -> bool:
    """Whether a file of this name may lie where a run will be: a figure, a lock, a half-written file."""
    return name in HIDDEN or bool(FIGURE.fullmatch(name) or PART.fullmatch(name))


def alive(process: int) -> bool:
    """Whether another process of this number runs; where one cannot ask (on Windows), yes."""
    if os.name == "nt" or process == os.getpid():  # in a container the number may be the same each time
        return os.name == "nt"
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def sweep(folder: Path) -> None:
    """Remove what killed processes left half written."""
    for path in folder.glob(".*.part"):
        part = PART.fullmatch(path.name)
        if part and owned(path.name) and not alive(int(part[2])):
            path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have the disk hold a file's content, or a folder's entries, before anything else is done."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Raises UserError if what is done in `folder` fails because somebody has removed it."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        if folder.is_dir():
            raise
        raise UserError(f"{folder} was removed during the run, and what it held is lost; run again") from None


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to. When all is written it takes the place of `path`; after an error it is gone.

    Raises UserError if `path` is a folder, or its folder was removed.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder where a file belongs; move it away")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with kept(path.parent):
            yield temporary
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def read_json(path: Path, remedy: str) -> dict:
    """A JSON file with names and values. Raises UserError with the remedy if it is missing or none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no names and values")
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); {remedy}") from None


def write_json(path: Path, content: dict) -> None:
    """A JSON file, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2), encoding="utf-8")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """`folder` for this run alone; the lock ends with the process. Raises UserError if another run has it."""
    try:
        lock = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise UserError(f"{folder} is in use by another run; wait for it, or give another --out") from None
    with lock:
        yield


def writable(*folders: Path) -> None:
    """Make the folders that a run writes into. Raises UserError if one cannot be written."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise UserError(f"{folder} cannot be written ({error.strerror}); give another folder") from None


def fits(value: object, kind: object) -> bool:
    """Whether a value from a JSON file is of this kind: a class, Literal, union, tuple[kind, ...] or dict of kinds."""
    if isinstance(kind, dict):
        return (
            isinstance(value, dict) and set(value) == set(kind) and all(fits(value[name], kind[name]) for name in kind)
        )
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(fits(entry, get_args(kind)[0]) for entry in value)
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_args(kind):
        return any(fits(value, member) for member in get_args(kind))
    return type(value) is kind or (kind is float and type(value) is int)
