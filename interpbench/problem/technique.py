"""The interface of a technique, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.problem.problem import Problem

SCORES = ("edges", "nodes", "sizes", "nothing")
ATTENTION = ("traced", "frozen")
"""What a technique may declare about its scores; see `Technique`."""


@dataclass(frozen=True, eq=False)
class Discovery:
    """The result of a technique: a score per edge, and optionally a chosen circuit and notes (small JSON).

    `circuits` maps thresholds of the technique to circuits, for a technique that searches anew at each threshold.
    """

    scores: EdgeScores
    circuit: Circuit | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    circuits: Mapping[float, Circuit] = field(default_factory=dict)


@runtime_checkable
class Technique(Protocol):
    """A method of circuit discovery. `Config` is a frozen dataclass of simple fields, with `{"help": ...}` as metadata.

    A technique may have `presets`: for a protocol, values that replace the defaults of fields. One whose `baseline` is
    True is there to be beaten, and results say so.

    A technique may have `scores`: what its scores are, by which the conformance kit checks them. `edges` (the default)
    are effects of edges, `nodes` effects of nodes (an edge has those of its ends), `sizes` are what nodes write,
    whatever its effect, `nothing` is for a baseline that looks at nothing. Its `attention` is `frozen` if effects
    through queries and keys are not seen, else `traced`.
    """

    name: str
    version: str
    Config: type

    def discover(self, problem: Problem, config: Any) -> Discovery:
        """Find a circuit. Must be deterministic given the problem (with its `seed`) and the configuration.

        Raises UsageError if the configuration does not fit the problem.
        """
        ...
