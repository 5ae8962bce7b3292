"""The command line of every script: a dataclass in, one line for an error that its user can fix."""

import errno
import gc
import math
import os
import signal
import sys
from typing import Callable

import tyro
from safetensors import SafetensorError

OF_FILES = {getattr(errno, name) for name in "ENOSPC EDQUOT EFBIG EIO EROFS EACCES EPERM EEXIST ENOTDIR EISDIR".split()}
OWN_FILES: set[str] = set()  # the user's, with their networks


class UserError(Exception):
    """Something the user can fix. The message says in one line what is wrong and what to do."""

    def __str__(self) -> str:
        """One printable line of bounded length, whatever names and paths are in it."""
        message = " ".join("".join(letter if letter.isprintable() else " " for letter in super().__str__()).split())
        return message if len(message) <= 1000 else f"{message[:600]} ... {message[-390:]}"


def require_range(low: float, high: float, **values: float | None) -> None:
    """Raise UserError for the first option whose value is outside [low, high] or not finite; None is no value."""
    for name, value in values.items():
        if value is not None and not (low <= value <= high and math.isfinite(value)):
            limits = f"at least {low}" if not low <= value < math.inf else f"at most {high}"
            raise UserError(f"--{name.replace('_', '-')} is {value}; it must be {limits}")


def explain(error: BaseException) -> str | None:
    """One line about an error of the user, their own file or the machine; None for a fault of this project."""
    if isinstance(error, UserError):
        return str(error)
    text = str(error).partition("\n")[0]
    if isinstance(error, SafetensorError) or getattr(error, "errno", None) in OF_FILES:
        return f"a file could not be written or read ({text}); check the path, its permissions and the disk space"
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return "there is not enough memory; try a smaller --batch-size, fewer --copies or another --device"
    import traceback  # only for a fault

    for frame in reversed([*traceback.extract_tb(error.__traceback__), error]):  # a SyntaxError has a file and a line
        if getattr(frame, "filename", None) in OWN_FILES:
            return str(UserError(f"{frame.filename}, line {frame.lineno}: {type(error).__name__}: {error}"))
    return None


def report(error: BaseException, resumable: bool) -> int:
    """Print an error in one line, and return the exit status for it. Raises a fault of this project again."""
    if isinstance(error, BrokenPipeError):
        null = os.open(os.devnull, os.O_WRONLY)  # what is left in the buffers would fail again at exit
        for stream in (sys.stdout, sys.stderr):
            os.dup2(null, stream.fileno())
        return 141  # 128 + SIGPIPE, which Windows does not have
    if isinstance(error, KeyboardInterrupt):
        number = error.args[0] if error.args else signal.SIGINT
        what = "interrupted" if number == signal.SIGINT else "terminated"
        print(what + "; --resume continues the run" * resumable, file=sys.stderr)
        return 128 + number
    if (message := explain(error)) is None:
        raise error
    print(f"error: {message}", file=sys.stderr)
    return 2


def terminate(number: int, frame) -> None:
    """SIGTERM as Ctrl-C."""
    raise KeyboardInterrupt(number)


def grouped(config_class: type) -> type:
    """For --help: the options under a heading for each class that defines some. tyro finds comments by a class's name."""
    from dataclasses import field, fields, make_dataclass

    groups = {}
    for option in fields(config_class):
        owner = next(each for each in config_class.__mro__[-2::-1] if option.name in each.__annotations__)  # base first
        groups.setdefault(owner, []).append((option.name, option.type, field(default=option.default)))
    parts = []
    for owner in filter(groups.get, reversed(config_class.__mro__)):
        part = make_dataclass(owner.__name__, groups[owner], kw_only=True)
        part.__module__, part.__qualname__, part.__doc__ = owner.__module__, owner.__qualname__, owner.__doc__
        name = "script" if owner is config_class else owner.__name__.removesuffix("Options").lower()
        parts.append((name, tyro.conf.OmitArgPrefixes[part]))
    return make_dataclass("Options", parts) if len(parts) > 1 else config_class


def run(main: Callable, config_class: type) -> None:
    """Run a script's `main`. Exit status: 2 for user errors, 130 for Ctrl-C, 143 for SIGTERM, 141 for a closed pipe."""
    signal.signal(signal.SIGTERM, terminate)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # emoji on a terminal that cannot show them
    gc.freeze()  # what the imports made stays: collecting it took a second at exit
    try:
        about = " " + sys.modules[config_class.__module__].__doc__.replace("\n", "\n ")  # else tyro joins lines
        plain = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)  # --resume without --no-resume, INT without None
        asked = grouped(config_class) if {"-h", "--help"} & {*sys.argv} else config_class
        main(tyro.cli(asked, description=about, config=plain))
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(report(error, hasattr(config_class, "resume")))
