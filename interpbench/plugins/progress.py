"""Progress events of training and benchmarks, for the hook `interpbench_progress`.

Core has no code for tracking services: it makes a `ProgressEvent`, which a plugin sends to its service. A plugin whose
hook fails is reported on stderr and gets no further events; the work continues.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from interpbench.errors import contained, one_line

LOG = logging.getLogger("interpbench")
"""If the caller sets no handler, Python writes warnings to stderr."""
Listener = Callable[..., Any]
"""The hook of one plugin, called as `listener(event=...)`."""


@dataclass(frozen=True)
class ProgressEvent:
    """One event. `name` is the trainer's or technique's; `total` is None if it is unknown.

    `numbers` are finite floats by name, nested ones as `part/name`. The event with `ended` is the last one and has the
    final numbers; work that fails has no such event.
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
        """The next event of the same work; `step` and `steps` of the facts are its step and total, the rest numbers."""
        step, total = facts.get("step", self.step), facts.get("steps", self.total)
        rest = {name: value for name, value in facts.items() if name not in ("step", "steps")}
        return replace(self, step=step, total=total, numbers=numbers_of(rest), ended=ended)


def numbers_of(facts: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """All finite numbers among facts, nested ones too; True and False are 1 and 0."""
    numbers: dict[str, float] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            numbers |= numbers_of(value, f"{prefix}{name}/")
        elif isinstance(value, (bool, int, float)) and math.isfinite(value):
            numbers[f"{prefix}{name}"] = float(value)
    return numbers


def notifier(listeners: Mapping[str, Listener]) -> Callable[[ProgressEvent], None]:
    """A function that sends an event to every listener (`Registry.listeners`) that has not failed before."""
    listening = dict(listeners)

    def notify(event: ProgressEvent) -> None:
        for plugin, listener in list(listening.items()):
            try:
                with contained(f"plugin {plugin}"):
                    listener(event=event)
            except Exception as error:  # an error in a plugin must not stop the work
                del listening[plugin]
                LOG.warning("plugin '%s' failed and gets no further events: %s", plugin, one_line(error))

    return notify
