"""What a trainer is, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from interpbench.cases.case import Case

if TYPE_CHECKING:
    from interpbench.graph.circuit import Circuit
    from interpbench.transformer.model import Transformer


@dataclass(frozen=True, eq=False)
class Trained:
    """What a trainer returns: the transformer, its true circuit, and facts for its card (plain JSON)."""

    model: Transformer
    circuit: Circuit
    facts: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
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
