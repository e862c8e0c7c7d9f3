"""What can go wrong in a way that the user can mend: one line, no traceback."""

from __future__ import annotations


class InterpbenchError(Exception):
    """Something failed or fell short; the CLI prints the one line and ends with status 1."""


class UsageError(InterpbenchError):
    """The user asked for something that does not exist or does not fit; the CLI ends with status 2."""


class MissingExtra(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, extra: str, what: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install 'interpbench[{extra}]'")
