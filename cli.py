"""The command line shared by every script: a dataclass in, one line per user error out."""

import contextlib
import errno
import gc
import io
import math
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Callable, Literal, TypeVar, get_args, get_origin

import tyro
from safetensors import SafetensorError

Config = TypeVar("Config")

# Other packages read these when they are imported, soon after this module, and complain at length.
if "HOME" in os.environ and any(path.exists() and not path.is_dir() for path in (Path.home(), *Path.home().parents)):
    print(f"error: HOME is {os.environ['HOME']!r}, which is no folder; set it to one", file=sys.stderr)
    sys.exit(2)
for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
    if not os.environ.get(name, "0").isdecimal():
        print(f"{name} is {os.environ.pop(name)!r}, not whole seconds: it is ignored", file=sys.stderr)


class UserError(Exception):
    """Something the user can mend. The message says in one line what is wrong and what to do."""

    def __str__(self) -> str:
        """One printable line that ends, whatever names and paths are in it."""
        message = " ".join("".join(letter if letter.isprintable() else " " for letter in super().__str__()).split())
        return message if len(message) <= 1000 else f"{message[:600]} ... {message[-390:]}"


def at_least(minimum: float, **values: float) -> None:
    """Raise UserError for the first option whose value is below `minimum` or not finite."""
    for name, value in values.items():
        if not minimum <= value < math.inf:
            raise UserError(f"--{name.replace('_', '-')} is {value}; it must be at least {minimum}")


def at_most(maximum: float, **values: float) -> None:
    """Raise UserError for the first option whose value is above `maximum`."""
    for name, value in values.items():
        if value > maximum:
            raise UserError(f"--{name.replace('_', '-')} is {value}; it must be at most {maximum}")


def fits(value: object, kind: object) -> bool:
    """Whether a value from a JSON file is of this kind: a class, a Literal, a union, a tuple of one kind, or a dict of kinds."""
    if isinstance(kind, dict):
        return isinstance(value, dict) and set(value) == set(kind) and all(fits(value[name], kind[name]) for name in kind)
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(fits(entry, get_args(kind)[0]) for entry in value)
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_args(kind):
        return any(fits(value, member) for member in get_args(kind))
    return type(value) is kind or (kind is float and type(value) is int)


def writable(*folders: Path) -> None:
    """Make the folders that a run writes into. Raises UserError if one cannot be written."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise UserError(f"{folder} cannot be written ({error.strerror}); give another folder") from None


PATHS = tyro.constructors.ConstructorRegistry()


@PATHS.primitive_rule
def path_rule(kind: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """Paths of the command line. An empty one would be the current folder; in Python, `Path("")` still is."""
    if kind.type is not Path:
        return None

    def from_text(texts: list[str]) -> Path:
        if not texts[0] or "\0" in texts[0]:
            raise ValueError("it holds a NUL" if texts[0] else "it is empty; give a path, the current folder is `.`")
        return Path(texts[0])

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1, metavar="PATH", instance_from_str=from_text, is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )  # fmt: skip


def parse(config_class: type[Config], arguments: list[str] | None = None) -> Config:
    """Read `config_class`, a dataclass, from the command line.

    Raises UserError for an unknown option or value; `--help` prints and exits with 0.
    """
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(config_class, args=arguments, registry=PATHS)
    except SystemExit as stop:
        if not stop.code:
            raise
        # tyro draws a box; its first paragraph is the message, below a rule comes the help.
        lines = [line.strip("│ ") for line in errors.getvalue().splitlines()[1:]]
        rule = next((i for i, line in enumerate(lines) if set(line) <= set("─╰╯")), len(lines))
        message = " ".join(lines[:rule])
        raise UserError(f"{message.rstrip('.')}; --help lists every option") from None


BROKEN_PIPE = 141  # 128 + SIGPIPE, which Windows has not
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES}  # full, or closed to us


def advice(error: Exception) -> str | None:
    """One line about an error that the machine or the user is to blame for; None for a fault of the project."""
    if isinstance(error, UserError):
        return str(error)
    text = str(error).partition("\n")[0]
    if isinstance(error, SafetensorError) or (isinstance(error, OSError) and error.errno in DISK):
        return f"a file could not be written or read ({text}); make room on the disk or mend its permissions; what was whole still is"
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return "the memory is not enough; try a smaller --batch-size, fewer --copies or another --device"
    return None


def terminate(number: int, frame) -> None:
    """SIGTERM as Ctrl-C."""
    raise KeyboardInterrupt(number)


def open_streams() -> None:
    """Streams that take whatever is printed: one closed by the caller gets the null device, which also keeps files that
    are opened later from becoming the standard output; what a terminal cannot encode is printed as `?`.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def run(main: Callable[[Config], object], config_class: type[Config]) -> None:
    """Run a script's `main`.

    Exits with 2 after an error that the user can mend, with 130 after Ctrl-C, with 143 after SIGTERM, and with 141, as
    other tools, where the reader of the output has gone, as in `| head -1`.
    """
    open_streams()
    signal.signal(signal.SIGTERM, terminate)
    gc.freeze()  # all that the packages made on import: the garbage collector looked it over for a second at exit
    try:
        main(parse(config_class))
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffers would fail once more at exit.
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(null, stream.fileno())
        sys.exit(BROKEN_PIPE)
    except KeyboardInterrupt as interrupt:
        number = interrupt.args[0] if interrupt.args else signal.SIGINT
        goes_on = "; --resume goes on from there" if hasattr(config_class, "resume") else ""
        print(f"{'interrupted' if number == signal.SIGINT else 'terminated'}; what was finished is on record{goes_on}", file=sys.stderr)
        sys.exit(128 + number)
    except (UserError, OSError, SafetensorError, MemoryError, RuntimeError) as error:
        message = advice(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
