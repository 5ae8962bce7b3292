"""The command line shared by every script: a dataclass in, one line per user error out."""

import contextlib
import io
import math
import sys
import tempfile
from pathlib import Path
from typing import Callable, Literal, TypeVar, get_args, get_origin

import tyro

Config = TypeVar("Config")


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


def parse(config_class: type[Config], arguments: list[str] | None = None) -> Config:
    """Read `config_class`, a dataclass, from the command line.

    Raises UserError for an unknown option or value; `--help` prints and exits with 0.
    """
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(config_class, args=arguments)
    except SystemExit as stop:
        if not stop.code:
            raise
        # tyro draws a box; its first paragraph is the message, below a rule comes the help.
        lines = [line.strip("│ ") for line in errors.getvalue().splitlines()[1:]]
        rule = next((i for i, line in enumerate(lines) if set(line) <= set("─╰╯")), len(lines))
        message = " ".join(lines[:rule])
        raise UserError(f"{message.rstrip('.')}; --help lists every option") from None


def run(main: Callable[[Config], object], config_class: type[Config]) -> None:
    """Run a script's `main`; exit with 2 after a user error, with 130 after Ctrl-C."""
    try:
        main(parse(config_class))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; the finished epochs are on record", file=sys.stderr)
        sys.exit(130)
