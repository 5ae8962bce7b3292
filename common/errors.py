"""What the user can mend: one error class, and the checks of options that raise it."""

import math


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
