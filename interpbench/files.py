"""Files: input is limited and checked; output is written completely or not at all."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from interpbench.errors import InterpbenchError, UsageError, brief, first_line, shown

MEGABYTE = 1 << 20
PROBE = 1 << 16
"""Bytes that are written to see whether there is room."""


def read_bytes(path: Path, limit: int) -> bytes:
    """All of a file. Raises InterpbenchError if it is not an ordinary file or holds more than `limit` bytes."""
    try:
        if not path.is_file():
            raise OSError("not a file" if path.exists() else "no such file")
        with path.open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise OSError(f"more than {limit} bytes")
    except (OSError, ValueError) as error:
        raise InterpbenchError(f"{path}: unreadable: {first_line(error)}") from None
    return data


def read_json(path: Path, limit: int = 64 * MEGABYTE) -> Any:
    """The content of a JSON file, as strict as `parse_json`. Raises InterpbenchError for anything else."""
    data = read_bytes(path, limit)
    try:
        return parse_json(data)
    except ValueError as error:
        raise InterpbenchError(f"{path}: unreadable: {first_line(error)}") from None


def parse_json(text: str | bytes) -> Any:
    """Strict JSON that can be read in one way only: no key twice in an object, every number a finite float.

    Raises ValueError for anything else, also for what is nested too deeply.
    """
    try:
        return json.loads(
            text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole, object_pairs_hook=_object
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{shown(text)} is larger than any float")
    return number


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((name, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {shown(name)} is there twice")
    return found


def read_torch(path: Path, limit: int) -> Any:
    """The content of a file that `torch.save` wrote: plain data, and tensors on the CPU. No code in it is run.

    Raises ValueError for anything else, also for an archive that is larger inside than outside.
    """
    import warnings
    import zipfile

    import torch

    try:
        size = len(read_bytes(path, limit))
        with zipfile.ZipFile(path) as archive:
            inside = archive.infolist()
        if any(each.compress_type for each in inside) or sum(each.file_size for each in inside) > size:
            raise ValueError("larger inside than outside")
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except InterpbenchError:
        raise
    except Exception as error:  # a damaged archive makes zipfile and PyTorch raise almost anything
        raise ValueError(_cause(error)) from None


def _cause(error: Exception) -> str:
    """One line without PyTorch's advice to load the file unsafely."""
    name = re.search(r"GLOBAL (\S+)", str(error))
    if name:
        return f"the pickle names {brief(name[1])}, which is not admitted"
    return "not plain data and tensors" if "weights_only" in str(error) else f"unreadable: {first_line(error)}"


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, also if the machine stops; folders on the way are made. Raises OSError.

    It is written under a random name beside `path`, flushed to disk and renamed. Any number of processes, on any
    number of machines, may write the same path: the last one wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    with aside.open("xb") as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, for text."""
    write_bytes(path, text.encode())


def write_new(path: Path, content: str | bytes, force: bool) -> None:
    """Write a file that the user named.

    Raises UsageError if `check_new` does, InterpbenchError if it cannot be written.
    """
    check_new(path, force)
    try:
        write_bytes(path, content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise InterpbenchError(f"{path}: cannot be written: {error.strerror}") from None


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder to write to. At the end it replaces `folder`; on an error `folder` is unchanged."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".", ignore_cleanup_errors=True) as aside:
        new, old = Path(aside) / "new", Path(aside) / "old"
        new.mkdir()
        yield new
        if os.path.lexists(folder):
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if os.path.lexists(old):
                old.rename(folder)
            raise


def refuse_existing(path: Path, force: bool) -> None:
    """Raise UsageError if the path exists, if only as a dead link, unless `force` is to replace it."""
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} exists; --force replaces it")


def check_new(path: Path, force: bool) -> None:
    """Raise UsageError, before any work, unless a new file can be written there; `force` replaces an ordinary file."""
    refuse_existing(path, force)
    check_writable(path)
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not an ordinary file, so --force does not replace it")


def check_writable(path: Path) -> None:
    """Raise UsageError, before any work, unless a file can be written at `path`; its folders need not exist.

    Nothing is left there: a file of some size is written beside the first folder that is missing, and removed.
    """
    there = path.parent
    while not os.path.lexists(there):
        there = there.parent
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix=".") as aside:
            write_bytes(Path(aside) / path.relative_to(there), bytes(PROBE))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from None


def cache_folder() -> Path:
    """The cache folder, which may not exist yet."""
    if chosen := os.environ.get("INTERPBENCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interpbench"
