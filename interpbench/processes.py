"""Run many items of work in several single-threaded processes. A failing item is reported; the others continue."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from interpbench.errors import one_line

Report = Callable[[dict[str, Any]], None]
Work = Callable[[Any, Report], Any]


@dataclass(frozen=True)
class Event:
    """One event of an item: facts on the way, or its end, with a value or an error (one line)."""

    item: int
    facts: dict[str, Any] | None = None
    value: Any = None
    error: str | None = None

    @property
    def ended(self) -> bool:
        """Whether this is the last event of its item."""
        return self.facts is None


def run_jobs(work: Work, items: Sequence[Any], jobs: int) -> Iterator[Event]:
    """Call `work(item, report)` for all items in `jobs` processes, in order, and yield events as they arrive.

    `work` must be a function of a module; it may `report` facts. An exception, or the death of a process, ends that
    item only. If the caller stops early or is killed, the processes end.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(range(len(items)))
    running: dict[Any, tuple[int, Any]] = {}

    def hand_out(pipe: Any, process: Any) -> None:
        if waiting:
            running[pipe] = (waiting.pop(0), process)
            pipe.send(items[running[pipe][0]])
        else:
            pipe.close()

    def start() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(work, theirs), daemon=True)
        process.start()
        theirs.close()
        hand_out(ours, process)

    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                start()
            for pipe in wait(list(running)):
                item, process = running[pipe]
                event = _receive(item, pipe, process)
                if event.ended:
                    del running[pipe]
                    if process.is_alive():
                        hand_out(pipe, process)
                yield event
    finally:
        for _, process in running.values():
            process.terminate()


def _receive(item: int, pipe: Any, process: Any) -> Event:
    try:
        return replace(pipe.recv(), item=item)
    except EOFError:
        process.join()
        return Event(item, error=f"its process ended with status {process.exitcode}")


def _serve(work: Work, pipe: Connection) -> None:
    """The main loop of a process: for each item, send its facts, then its value or error.

    What the work prints goes to stderr: stdout is for results.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        try:
            with redirect_stdout(sys.stderr):
                ended = Event(0, value=work(item, lambda facts: pipe.send(Event(0, facts=facts))))
        except Exception as error:  # sent to the parent, which reports it
            ended = Event(0, error=one_line(error))
        pipe.send(ended)


def _end_with_parent() -> None:
    """End this process when its parent has ended for any reason, since nobody would read the result."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def tune_process(threads: int = 1) -> None:
    """Set PyTorch and the allocator up for models of a few thousand weights.

    One thread: two spin longer in their barriers than they compute. Denormals (saturated attention makes many) count
    as zero. glibc keeps freed memory instead of returning it: otherwise page faults cost as much time as the
    arithmetic. Other C libraries are left alone.
    """
    keep = getattr(ctypes.CDLL(None), "mallopt", None)
    if keep is not None:
        keep(M_MMAP_THRESHOLD, 1 << 30)
        keep(M_TRIM_THRESHOLD, (1 << 31) - 1)

    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
