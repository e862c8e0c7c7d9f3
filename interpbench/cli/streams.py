"""Standard streams as a process may get them: closed, full, gone, or with a small alphabet."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from interpbench.errors import visible


def prepare() -> None:
    """Make stderr a stream that takes everything if it is closed; what a stream cannot encode is written as escapes.

    A closed stdout is left as it is: `None`.
    """
    if sys.stderr is None:  # else the next file that is opened becomes the place of errors
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def tell(line: str) -> None:
    """Write a line to stderr, text from outside made visible; drop it if it cannot be written."""
    try:
        print(visible(line), file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)


def drop_unwritten() -> None:
    """Drop what stdout still holds if it cannot be written: it would fail again when the process ends."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop(sys.stdout)


def _drop(stream: TextIO) -> None:
    """Send to nowhere what the stream holds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
