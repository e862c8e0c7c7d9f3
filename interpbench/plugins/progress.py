"""News of work under way, for whoever follows it: the hook `interpbench_progress`.

Core knows no tracking service. It states what happened as a `ProgressEvent`; a plugin writes it where its users look.
A plugin that fails there is reported on stderr and left out from then on: what it follows goes on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from interpbench.errors import one_line

LOG = logging.getLogger("interpbench")
"""Without a handler of the caller's, Python writes warnings to stderr."""
Listener = Callable[..., Any]
"""The hook of one plugin, called as `listener(event=...)`."""


@dataclass(frozen=True)
class ProgressEvent:
    """One piece of news. `name` is the trainer's or technique's; `total` is None where nobody knows.

    `numbers` are finite floats by name, what is nested as `part/name`. An event that has `ended` is the last of its
    work and has the numbers that it came to; work that fails has none.
    """

    what: Literal["train", "bench"]
    case: str
    name: str
    seed: int
    step: int = 0
    total: int | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    ended: bool = False

    def after(self, facts: Mapping[str, Any], ended: bool = False) -> ProgressEvent:
        """News of the same work: `step` and `steps` among the facts are its step and total, the rest its numbers."""
        step, total = facts.get("step", self.step), facts.get("steps", self.total)
        rest = {name: value for name, value in facts.items() if name not in ("step", "steps")}
        return replace(self, step=step, total=total, numbers=numbers_of(rest), ended=ended)


def numbers_of(facts: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """All finite numbers among facts, nested ones too; yes and no are 1 and 0."""
    numbers: dict[str, float] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            numbers |= numbers_of(value, f"{prefix}{name}/")
        elif isinstance(value, (bool, int, float)) and math.isfinite(value):
            numbers[f"{prefix}{name}"] = float(value)
    return numbers


def notifier(listeners: Mapping[str, Listener]) -> Callable[[ProgressEvent], None]:
    """A function that tells an event to every listener (`Registry.listeners`) that has not failed before."""
    listening = dict(listeners)

    def notify(event: ProgressEvent) -> None:
        for plugin, listener in list(listening.items()):
            try:
                listener(event=event)
            except Exception as error:  # whatever a follower raises must not end what it follows
                del listening[plugin]
                LOG.warning("plugin '%s' failed and gets no further events: %s", plugin, one_line(error))

    return notify
