"""Reading files that anyone may have written: ordinary files, not too large, strict JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from interpbench.errors import InterpbenchError, first_line

MEGABYTE = 1 << 20


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
    """The content of a JSON file without NaN and infinity. Raises InterpbenchError for anything else."""
    data = read_bytes(path, limit)
    try:
        return parse_json(data)
    except ValueError as error:
        raise InterpbenchError(f"{path}: unreadable: {first_line(error)}") from None


def parse_json(text: str | bytes) -> Any:
    """Strict JSON. Raises ValueError for anything else, also for what is nested too deeply."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
