"""Ways to make a subject for a case: what a trainer is, and core's own, provided through the same hook as any."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from interpbench.case import Case
from interpbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from interpbench.graph import Circuit
    from interpbench.transformer import Transformer


@dataclass(frozen=True, eq=False)
class Trained:
    """What a trainer returns: the transformer, its true circuit, and facts for its card (plain JSON)."""

    model: Transformer
    circuit: Circuit
    facts: dict[str, Any] = field(default_factory=dict)


class Trainer(Protocol):
    """Makes subjects. Its options are the fields of `Config`, a frozen dataclass with help text in the metadata."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        ...

    @property
    def Config(self) -> type[Any]:
        """A frozen dataclass."""
        ...

    def train(
        self, case: Case, config: Any, folder: Path | None, progress: Callable[[dict[str, Any]], None]
    ) -> Trained:
        """Train a subject; keep checkpoints in `folder`, if given, and resume from them.

        `progress` is called now and then with numbers worth showing.
        """
        ...


@hookimpl
def interpbench_trainers() -> Iterable[Trainer]:
    """Core's own trainers."""
    from interpbench.trainers.siit import TRAINERS

    return TRAINERS
