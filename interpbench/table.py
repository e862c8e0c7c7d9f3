"""Tables as data: a title, columns, rows, and how a value is written in a cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any, NamedTuple

from interpbench.errors import visible


def cell(value: Any) -> str:
    """A value as people read it, on one line: None is a dash, numbers have three decimals, text is made visible."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value)) or "-"
    return "-" if value is None else visible(str(value))


class Table(NamedTuple):
    """A title, names of columns (one that ends in > holds numbers), and rows of values.

    `shaded`: cells that begin with a number from 0 to 1 have a colour where there are colours.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    shaded: bool = False


def as_markdown(shown: Iterable[Table]) -> str:
    """Tables in Markdown, each under its title."""
    parts = []
    for table in shown:
        rule = ["---:" if column.endswith(">") else "---" for column in table.columns]
        lines = [
            [visible(" ".join(column.rstrip(">").split("\n"))) for column in table.columns],
            rule,
            *([cell(x) for x in row] for row in table.rows),
        ]
        body = "\n".join("| " + " | ".join(x.replace("|", "\\|") for x in line) + " |" for line in lines)
        parts.append(f"**{visible(table.title)}**\n\n{body}\n")
    return "\n".join(parts)


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A line for the columns and for each row; None is an empty cell.

    A spreadsheet would compute a text that begins with = + - @: it has a ' before it.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    return lines.getvalue()


def _csv_cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return visible("'" + value if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value)
