"""Tables in the room there is: heads and words are folded, numbers never; what still does not fit is stacked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from textwrap import fill, wrap

from interpbench.errors import visible
from interpbench.table import Table, cell

GAP = 3
"""What a column takes beside its content (the last one less)."""
BESIDE, ALONE = 12, 20
"""The least width of a column of words, beside numbers and in a table without them."""


def fit(table: Table, width: int) -> list[Table]:
    """The table for a terminal of that width, its values as text.

    Heads are folded first, then words. Numbers that still have no room stand below, in parts with the same columns of
    words. Where that would be a part for every number, or the table has a single row, each row becomes a block of
    lines, a value a line.
    """
    whole = [
        _Column(_head(head), head.endswith(">"), tuple(cell(row[i]) for row in table.rows))
        for i, head in enumerate(table.columns)
    ]
    if _taken(column.width for column in whole) <= width:
        return [_table(table.title, whole)]
    least = BESIDE if any(column.is_number for column in whole) else ALONE
    columns = [column.with_folded_head(least) for column in whole]
    numbers = [column for column in columns if column.is_number]
    around = [min(column.width, least) for column in columns if not column.is_number]
    parts: list[list[_Column]] = [[]]
    for column in numbers:
        if parts[-1] and _taken([*around, *(each.width for each in (*parts[-1], column))]) > width:
            parts.append([])
        parts[-1].append(column)
    one_each = len(parts) > 1 and (len(table.rows) == 1 or len(parts) == len(numbers))
    if one_each or any(_taken([*around, *(each.width for each in part)]) > width for part in parts):
        return [_stacked(table.title, whole, width)]
    return [_part(table.title, [x for x in columns if x in part or not x.is_number], least, width) for part in parts]


@dataclass(frozen=True, eq=False)
class _Column:
    """Head and values of a column, as text."""

    head: str
    is_number: bool
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        return max(map(_longest, (self.head, *self.cells)))

    def with_folded_head(self, least: int) -> _Column:
        """The head takes no more room than the values or, if that is more, its longest word; for words, the `least`."""
        content = max(map(_longest, self.cells), default=0)
        words = max(map(len, self.head.split()), default=1)
        return replace(self, head=_folded(self.head, max(content, words if self.is_number else least)))

    def folded(self, width: int) -> _Column:
        return replace(self, head=_folded(self.head, width), cells=tuple(_folded(text, width) for text in self.cells))


def _head(column: str) -> str:
    return "\n".join(map(visible, column.removesuffix(">").split("\n")))


def _table(title: str, columns: Sequence[_Column]) -> Table:
    heads = tuple(column.head + ">" * column.is_number for column in columns)
    return Table(title, heads, tuple(zip(*(column.cells for column in columns), strict=True)))


def _part(title: str, columns: Sequence[_Column], least: int, width: int) -> Table:
    """Some columns of a table; those of words share the room that the numbers leave."""
    room = width - _taken(column.width if column.is_number else min(column.width, least) for column in columns)
    words = sorted((column for column in columns if not column.is_number), key=lambda column: column.width)
    shown = {column: column for column in columns}
    for i, column in enumerate(words):  # the narrow ones take what they need, the others what is left
        own = min(column.width, least)
        more = min(room // (len(words) - i), column.width - own)
        shown[column], room = column.folded(own + more), room - more
    return _table(title, [*shown.values()])


def _stacked(title: str, columns: Sequence[_Column], width: int) -> Table:
    """A block of lines for each row: the first value, and below it the others that are not empty, with their heads.

    Without any heads, a row is a name and what it has.
    """
    heads = [" ".join(column.head.split()) for column in columns]
    blocks = []
    for row in zip(*(column.cells for column in columns), strict=True):
        lines = [f"{head}: {text}" if head else text for head, text in zip(heads, row, strict=True) if text]
        lines = lines if any(heads) else [": ".join(lines)]
        blocks.append("\n".join(_hung(line, "  " * (i > 0), width) for i, line in enumerate(lines)))
    return Table(title, ("",), tuple((block,) for block in blocks))


def _hung(line: str, indent: str, width: int) -> str:
    return fill(line, width - 2, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)


def _folded(text: str, width: int) -> str:
    return "\n".join(wrap(text, width, break_on_hyphens=False)) if _longest(text) > width else text


def _taken(widths: Iterable[int]) -> int:
    """What columns of these widths take in a row."""
    return sum(width + GAP for width in widths) - 1


def _longest(text: str) -> int:
    """The width of the longest line."""
    return max(map(len, text.split("\n")))
