"""The command line shared by every script: a dataclass in, one line per user error out."""

import contextlib
import io
import math
import sys
import tempfile
from pathlib import Path
from typing import Callable, TypeVar

import tyro

Config = TypeVar("Config")


class UserError(Exception):
    """Something the user can mend. The message says in one line what is wrong and what to do."""


def at_least(minimum: float, **values: float) -> None:
    """Raise UserError for the first option whose value is below `minimum` or not finite."""
    for name, value in values.items():
        if not minimum <= value < math.inf:
            raise UserError(f"--{name.replace('_', '-')} is {value}; it must be at least {minimum}")


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
