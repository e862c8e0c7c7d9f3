"""Output: tables and JSON on stdout, progress on stderr if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from interpbench.table import cell

WIDE = 200
"""Width of tables if stdout is not a terminal."""


def print_json(value: Any) -> None:
    """Print strict JSON. Raises ValueError for NaN and infinity."""
    import json

    print(json.dumps(value, indent=1, allow_nan=False))


def print_lines(lines: Iterable[str], to: Literal["stdout", "stderr"] = "stdout") -> None:
    """Print plain lines."""
    for line in lines:
        print(line, file=getattr(sys, to))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; a column whose name ends in > is aligned to the right, without names there is no header."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDE
    Console(width=width, highlight=False, markup=False).print(_table(title, columns, rows))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(columns))
    for column in columns:
        number = column.endswith(">")
        table.add_column(column.rstrip(">"), justify="right" if number else "left", overflow="fold", no_wrap=number)
    for row in rows:
        table.add_row(*map(cell, row))
    return table


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Callable[[int, Mapping[str, Any]], None]]:
    """A progress bar on stderr, if that is a terminal; yields a function of the steps done and numbers to show."""
    if not sys.stderr.isatty():
        yield lambda done, facts: None
        return
    with _bars() as bar:
        task = bar.add_task(title, total=total, facts="")

        def update(done: int, facts: Mapping[str, Any]) -> None:
            bar.update(task, completed=done, total=facts.get("steps", total), facts=_numbers(facts))

        yield update


@contextmanager
def progress_of_many(
    title: str, names: Sequence[str]
) -> Iterator[Callable[[str, Mapping[str, Any] | None, bool], None]]:
    """Progress bars on stderr, if that is a terminal: one for all items, one for each that is running.

    Yields a function of an item's name, the numbers to show, and whether the item has ended.
    """
    if not sys.stderr.isatty():
        yield lambda name, facts, ended: None
        return
    with _bars() as bar:
        whole = bar.add_task(title, total=len(names), facts="")
        tasks: dict[str, Any] = {}

        def update(name: str, facts: Mapping[str, Any] | None, ended: bool) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(f"  {name}", facts="")
            if ended:
                bar.remove_task(tasks[name])
                bar.advance(whole)
            elif facts is not None:
                bar.update(tasks[name], completed=facts.get("step"), total=facts.get("steps"), facts=_numbers(facts))

        yield update


@contextmanager
def live_table(columns: Sequence[str]) -> Iterator[Callable[[Sequence[Sequence[Any]]], None]]:
    """A table on stderr, if that is a terminal; yields a function that draws it with new rows. Removed at the end."""
    if not sys.stderr.isatty():
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True) as live:
        yield lambda rows: live.update(_table("", columns, rows))


def _bars() -> Any:
    """Progress bars on stderr, removed at the end; the field `facts` of a task is the text after its bar."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("{task.fields[facts]}"), console=Console(stderr=True), transient=True)


def _numbers(facts: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {cell(value)}" for name, value in facts.items() if isinstance(value, float))
