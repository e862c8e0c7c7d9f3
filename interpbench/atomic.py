"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from interpbench.errors import InterpbenchError, UsageError


def write_text(path: Path, text: str) -> None:
    """All of the file or nothing, also if the machine stops: written aside, flushed to disk, renamed."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def write_new(path: Path, text: str, force: bool) -> None:
    """Write a file that somebody asked for.

    Raises UsageError if it exists, unless `force` replaces it, InterpbenchError if it cannot be written.
    """
    refuse_existing(path, force)
    try:
        write_text(path, text)
    except OSError as error:
        raise InterpbenchError(f"{path}: {error.strerror}") from None


def refuse_existing(path: Path, force: bool) -> None:
    """Raise UsageError if the path exists, unless `force` is to replace it."""
    if path.exists() and not force:
        raise UsageError(f"{path} exists; --force replaces it")
