"""Counting the forward and backward passes of a piece of work: its cost without a clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

from jaxtyping import Float
from torch import Tensor


@dataclass(eq=False)
class Passes:
    """Passes counted so far, in rows: a pass of 5 circuits on 10 rows is 50."""

    forward: int = 0
    backward: int = 0
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def add(self, forward: int = 0, backward: int = 0) -> None:
        """Count more rows."""
        with self._lock:
            self.forward += forward
            self.backward += backward


_open: ContextVar[tuple[Passes, ...]] = ContextVar("open", default=())


@contextmanager
def counting() -> Iterator[Passes]:
    """Count the passes of all models in this block.

    A gradient counts for the blocks in which its forward pass ran, also after they end. Where blocks are nested, the
    outer ones count too. Passes in another thread or task count only if it runs in a copy of this block's context.
    """
    passes = Passes()
    token = _open.set((*_open.get(), passes))
    try:
        yield passes
    finally:
        _open.reset(token)


def count_forward(rows: int) -> None:
    """Count a forward pass of so many rows (circuits times rows)."""
    for passes in _open.get():
        passes.add(forward=rows)


def count_run(logits: Float[Tensor, "... row position vocab_out"]) -> None:
    """Count the forward pass that ended in these logits, and every later gradient that goes back through them."""
    counters = _open.get()
    if counters:
        rows = logits.shape[:-2].numel()
        count_forward(rows)
        if logits.requires_grad:
            logits.register_hook(partial(_count_backward, counters, rows))


def _count_backward(counters: tuple[Passes, ...], rows: int, _: Tensor) -> None:
    """Autograd may call this in a thread of its own, so the counters come from the forward pass."""
    for passes in counters:
        passes.add(backward=rows)
