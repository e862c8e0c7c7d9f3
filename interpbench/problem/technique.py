"""What a technique is, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.problem.problem import Problem


@dataclass(frozen=True, eq=False)
class Discovery:
    """What a technique found: a score per edge, perhaps the circuit it would choose, perhaps notes (small JSON).

    `circuits` are those found at each of the technique's own thresholds, where it searches at each of them anew.
    """

    scores: EdgeScores
    circuit: Circuit | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    circuits: Mapping[float, Circuit] = field(default_factory=dict)


@runtime_checkable
class Technique(Protocol):
    """A way to find a circuit. `Config` is a frozen dataclass of simple fields, with `{"help": ...}` as metadata.

    It may have `presets`: by protocol, values of fields that are used where an option is at its default.
    """

    name: str
    version: str
    Config: type

    def discover(self, problem: Problem, config: Any) -> Discovery:
        """Find a circuit. Deterministic given the problem (its `seed` too) and the configuration.

        Raises UsageError for a configuration that does not fit the problem.
        """
        ...
