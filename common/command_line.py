"""The command line shared by every script: a dataclass in, one line per user error out."""

import argparse
import contextlib
import errno
import gc
import io
import os
import re
import signal
import sys
from dataclasses import fields
from pathlib import Path
from typing import Callable, TypeVar

import tyro
from safetensors import SafetensorError

from common.errors import UserError

Config = TypeVar("Config")

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


def of_preset(config_classes: tuple[type[Config], ...], arguments: list[str] | None) -> type[Config]:
    """The dataclass of the preset that the command line names; the first if it names none. Raises UserError."""
    by_preset = {getattr(kind, "preset", None): kind for kind in config_classes}
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset", nargs="?", default=next(iter(by_preset)))
    preset = parser.parse_known_args(arguments)[0].preset
    if preset not in by_preset:
        raise UserError(f"--preset {preset} is unknown; it takes {' or '.join(by_preset)}")
    return by_preset[preset]


def parse(*config_classes: type[Config], arguments: list[str] | None = None) -> Config:
    """Read a dataclass from the command line; of several, one for each `--preset`, the one that is named there.

    Raises UserError for an unknown option or value; `--help` prints and exits with 0.
    """
    errors = io.StringIO()
    config_class = config_classes[0] if len(config_classes) == 1 else of_preset(config_classes, arguments)
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(config_class, args=arguments, registry=PATHS)
    except SystemExit as stop:
        if not stop.code:
            raise
        # tyro draws a box, or where the terminal has none, lines of dashes: a title, the message, a rule and the help.
        text = "\n".join(line.strip("│ ") for line in errors.getvalue().splitlines()[1:])
        paragraphs = (paragraph.split() for paragraph in re.split(r"^[-─╰╯]+$", text, flags=re.MULTILINE))
        message = " ".join(next(filter(None, paragraphs))).rstrip(".")
        raise UserError(f"{message}{of_another_preset(message, config_class, config_classes)}") from None


def of_another_preset(message: str, config_class: type, config_classes: tuple[type, ...]) -> str:
    """What to do about an option that is not known: it may be one of another preset."""
    options = (word.partition("=")[0] for word in message.split() if word.startswith("--"))
    named = {option.strip("-,:").replace("-", "_") for option in options}
    named -= {field.name for field in fields(config_class)}
    for other in config_classes:
        if named & {field.name for field in fields(other)} - {field.name for field in fields(config_class)}:
            return f", an option of --preset {other.preset}; --preset {config_class.preset} --help lists its own"
    return "; --help lists every option"


BROKEN_PIPE = 141  # 128 + SIGPIPE, which Windows has not
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES}  # full, or closed to us


def advice(error: Exception) -> str | None:
    """One line about an error that the machine or the user is to blame for; None for a fault of the project."""
    if isinstance(error, UserError):
        return str(error)
    text = str(error).partition("\n")[0]
    if isinstance(error, SafetensorError) or (isinstance(error, OSError) and error.errno in DISK):
        remedy = "make room on the disk or mend its permissions; what was whole still is"
        return f"a file could not be written or read ({text}); {remedy}"
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


def answer(*config_classes: type[Config]) -> None:
    """Answer `--help` and what is wrong on the command line, as `run` would, and do nothing else.

    A script calls it before it imports torch and others, which takes seconds.
    """
    run(lambda config: None, *config_classes)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # while packages are imported, the usual end


def run(main: Callable[[Config], object], *config_classes: type[Config]) -> None:
    """Run a script's `main`.

    Exits with 2 after an error that the user can mend, with 130 after Ctrl-C, with 143 after SIGTERM, and with 141, as
    other tools, where the reader of the output has gone, as in `| head -1`.
    """
    open_streams()
    signal.signal(signal.SIGTERM, terminate)
    gc.freeze()  # all that the packages made on import: the garbage collector looked it over for a second at exit
    try:
        main(parse(*config_classes))
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffers would fail once more at exit.
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(null, stream.fileno())
        sys.exit(BROKEN_PIPE)
    except KeyboardInterrupt as interrupt:
        number = interrupt.args[0] if interrupt.args else signal.SIGINT
        goes_on = "; --resume goes on from there" if hasattr(config_classes[0], "resume") else ""
        print(
            f"{'interrupted' if number == signal.SIGINT else 'terminated'}; what was finished is on record{goes_on}",
            file=sys.stderr,
        )
        sys.exit(128 + number)
    except (UserError, OSError, SafetensorError, MemoryError, RuntimeError) as error:
        message = advice(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
