"""Output: tables, lines and JSON on stdout, progress on stderr. Text from outside is made visible here."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from interpbench.cli.fit import fit
from interpbench.cli.streams import tell
from interpbench.errors import visible
from interpbench.table import Table, cell

WIDE = 200
"""Width of tables if stdout is not a terminal."""
EVERY = 60.0
"""Seconds between two lines about the same work, where there are no bars."""

STOPPED = 130
"""The status after Ctrl-C."""

Update = Callable[[str, Mapping[str, Any] | None, str], None]
"""Called with an item's name, numbers to show, and in words how the item has ended ("" if it has not)."""


def print_json(value: Any) -> None:
    """Print strict JSON. Raises ValueError for NaN and infinity."""
    import json

    print(json.dumps(value, indent=1, allow_nan=False))


def print_lines(lines: Iterable[str], to: Literal["stdout", "stderr"] = "stdout") -> None:
    """Print plain lines. What cannot be written to stderr is dropped: there is nowhere to say so."""
    for line in lines:
        if to == "stdout":
            print(visible(line))
        else:
            tell(line)


def print_prose(lines: Iterable[str]) -> None:
    """Print lines that hold no paths and no commands: in a terminal they are folded between words."""
    from textwrap import wrap

    for line in map(visible, lines):
        print("\n".join(wrap(line, width(), break_on_hyphens=False)) if sys.stdout.isatty() else line)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table that fits the terminal (`fit`).

    A column whose name ends in > is aligned to the right, without names there is no header.
    """
    from rich.console import Console

    console = Console(width=10**4, highlight=False, markup=False, emoji=False)
    for part in fit(Table(title, tuple(columns), tuple(map(tuple, rows))), width()):
        if part.title:
            print_prose([part.title])
        console.print(_drawn(part))


def width() -> int:
    """Columns of the terminal; `WIDE` if stdout is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE


def _drawn(table: Table) -> Any:
    from rich import box
    from rich.table import Table as Drawn

    drawn = Drawn(box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(table.columns))
    for column in table.columns:
        drawn.add_column(column.removesuffix(">"), justify="right" if column.endswith(">") else "left")
    for row in table.rows:
        drawn.add_row(*row)
    return drawn


@contextmanager
def progress(title: str, names: Sequence[str]) -> Iterator[Update]:
    """Progress of the work on named items, on stderr.

    On a terminal: bars with steps and the time left, one for all items, one for each that is running. Elsewhere: a line
    for each item that ends, unless it is the only one, and for one that takes long what it is at every minute.
    """
    if not _has_bars():
        yield _Lines(title, len(names))
        return
    with _bars() as bars:
        yield _Bars(bars, None if len(names) == 1 else bars.add_task(title, total=len(names), facts=""), title)


@dataclass
class _Lines:
    title: str
    total: int
    ended: int = 0
    last: float = field(default_factory=time.monotonic)

    def __call__(self, name: str, facts: Mapping[str, Any] | None, ended: str) -> None:
        now = time.monotonic()
        self.ended += bool(ended)
        if ended and self.total > 1:
            tell(f"{self.title}, case {name}: {ended} ({self.ended} of {self.total})")
        elif facts and now - self.last > EVERY:
            self.last = now
            at = f"{facts.get('doing', 'step')} {facts['step']} of {facts.get('steps', '?')}" if "step" in facts else ""
            tell("  ".join(filter(None, (f"{self.title}, case {name}:", at, _numbers(facts)))))


@dataclass
class _Bars:
    bars: Any
    whole: Any
    title: str
    tasks: dict[str, tuple[str, Any]] = field(default_factory=dict)

    def __call__(self, name: str, facts: Mapping[str, Any] | None, ended: str) -> None:
        doing = (facts or {}).get("doing", self.tasks.get(name, ("", None))[0])
        if name in self.tasks and (ended or doing != self.tasks[name][0]):
            self.bars.remove_task(self.tasks.pop(name)[1])
        if ended and self.whole is not None:
            self.bars.advance(self.whole)
        elif not ended:
            if name not in self.tasks:
                what = f"{self.title}, case {name}" if self.whole is None else f"  {name}"
                self.tasks[name] = doing, self.bars.add_task(visible(f"{what} {doing}".rstrip()), total=None, facts="")
            told = facts or {}
            self.bars.update(
                self.tasks[name][1], completed=told.get("step"), total=told.get("steps"), facts=_numbers(told)
            )


@contextmanager
def live_table(columns: Sequence[str]) -> Iterator[Callable[[Sequence[Sequence[Any]], str], None]]:
    """A table on stderr, if that is a terminal, removed at the end; elsewhere only lines.

    Yields a function of the table's new rows and a line about how far the work is.
    """
    if not _has_bars():
        said = ""

        def say(rows: Sequence[Sequence[Any]], state: str) -> None:
            nonlocal said
            if state != said:
                said = state
                tell(state)

        yield say
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True, markup=False, emoji=False)

    def drawn(rows: Sequence[Sequence[Any]], state: str) -> Group:
        parts = fit(Table("", tuple(columns), tuple(map(tuple, rows))), console.width)
        return Group(*map(_drawn, parts), Text(visible(state)))

    with Live(console=console, transient=True) as live:
        yield lambda rows, state: live.update(drawn(rows, state))


@dataclass
class Stoppable:
    """A block that Ctrl-C ends without an error, so that what is done can be printed; `stopped` says whether it did."""

    stopped: bool = False

    def __enter__(self) -> Stoppable:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
        return self.stopped


def _has_bars() -> bool:
    """Whether stderr is a terminal on which a line can be written over."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def _bars() -> Any:
    """Progress bars on stderr, removed at the end; the field `facts` of a task is the text after its bar."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Standing(ProgressColumn):
        """Steps, if they are known, the time so far, and the time left."""

        def render(self, task: Task) -> Text:
            steps = "" if task.total is None else f"{task.completed:.0f}/{task.total:.0f} "
            left = "" if task.time_remaining is None else f", {_clock(task.time_remaining)} left"
            return Text(f"{steps}{_clock(task.elapsed or 0.0)}{left}")

    columns = (TextColumn("{task.description}", markup=False), BarColumn(15), Standing())
    columns += (TextColumn("{task.fields[facts]}", markup=False),)
    return Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=600)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _numbers(facts: Mapping[str, Any]) -> str:
    return "  ".join(visible(f"{name} {cell(value)}") for name, value in facts.items() if isinstance(value, float))
