"""Errors that the user can correct, and how they and text from outside are printed: one line, no traceback."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MANY = 10_000
"""With more known names than this, none is suggested."""


def visible(text: str) -> str:
    r"""The text with every character that is not printed as itself written as an escape, such as `\x1b` or `\u202e`.

    These are control characters (line ends too), those that turn the direction of writing, those without width, and
    bytes of file names that are no text.
    """
    if text.isprintable():
        return text
    return "".join(x if x.isprintable() else x.encode("unicode_escape").decode() for x in text)


class InterpbenchError(Exception):
    """Something failed or fell short; the CLI prints the one line and ends with status 1.

    The message may quote what files hold: it is made visible.
    """

    def __str__(self) -> str:
        return visible(super().__str__())


class UsageError(InterpbenchError):
    """The user asked for something that does not exist or does not fit; the CLI ends with status 2."""


class MissingExtra(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, extra: str, what: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install 'interpbench[{extra}]'")


@contextmanager
def contained(what: str) -> Iterator[None]:
    """Code of a plugin may fail, not end the process: an exit becomes an InterpbenchError, and so a failure."""
    try:
        yield
    except (Exception, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # SystemExit, or a task that is cancelled
        raise InterpbenchError(f"{what} ended with {kind_and_line(error)}") from error


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """One line for a name that does not exist, with the nearest one that does."""
    import difflib

    name, names = brief(name), list(known)
    folded = {each.casefold(): each for each in names} if len(names) <= MANY else {}
    near = [folded[each] for each in difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)]
    return f"no {kind} '{name}'" + (f"; did you mean '{near[0]}'?" if near else "")


def first_line(error: BaseException) -> str:
    """The first line of an error's message that is not empty; its kind if there is none."""
    lines = (line.strip() for line in str(error).splitlines())
    return visible(next((line for line in lines if line), type(error).__name__))


def kind_and_line(error: BaseException) -> str:
    """The kind of an error and the first line of its message."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"


def brief(text: str, most: int = 80) -> str:
    """A name from outside in a message: of at most so many characters, on one line."""
    return visible(" ".join(text.split())[:most])


def shown(value: object) -> str:
    """A value from outside in a message: short, on one line. A value that is not a scalar is shown as its type."""
    return f"{value!r:.80}" if value is None or isinstance(value, (str, int, float)) else f"a {type(value).__name__}"


def one_line(error: BaseException) -> str:
    """The whole message and the notes of an error in one line, after its kind unless it is an InterpbenchError."""
    kind = "" if isinstance(error, InterpbenchError) else f"{type(error).__name__}: "
    return visible(" ".join(f"{kind}{error} {' '.join(getattr(error, '__notes__', ()))}".split()))
