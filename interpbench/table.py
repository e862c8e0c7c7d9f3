"""Tables as data: a title, columns, rows, and how a value is written in a cell."""

from __future__ import annotations

from typing import Any, NamedTuple


def cell(value: Any) -> str:
    """A value as people read it: None is a dash, numbers have three decimals."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value)) or "-"
    return "-" if value is None else str(value)


class Table(NamedTuple):
    """A title, names of columns (one that ends in > holds numbers), and rows of values."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
