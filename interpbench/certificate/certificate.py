"""The numbers of a certificate and their names on a card. Imports no PyTorch: `list` and `show` read cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

THRESHOLD = 0.99
"""Lowest value of every accuracy of a certified subject."""


@dataclass(frozen=True)
class Measurement:
    """Accuracies that training measures too, each against the reference's answers.

    `iia`: interchange accuracy of each variable; `iia_changed`: the same at positions where the interchange changes
    the answer (None if there are none); `iia_circuit_only`: the same with every outside edge replaced as well.
    `strict`: accuracy with one silent node replaced; `strict_all`: with all of them. `edges_heads` and `edges`: with
    every edge outside the circuit replaced, at `heads` and at `edges` granularity.
    """

    accuracy: float
    iia: dict[str, float]
    iia_changed: dict[str, float | None]
    iia_circuit_only: dict[str, float]
    strict: dict[str, float]
    strict_all: float
    edges_heads: float
    edges: float

    @property
    def iia_min(self) -> float:
        """Lowest interchange accuracy of a variable."""
        return min(self.iia.values())

    @property
    def strict_min(self) -> float:
        """Lowest accuracy with one silent node replaced; 1 if there are no silent nodes."""
        return min(self.strict.values(), default=1.0)

    def to_json(self) -> dict[str, Any]:
        """The entries of a card."""
        return {
            "accuracy": self.accuracy,
            "iia": self.iia,
            "iia_min": self.iia_min,
            "iia_changed": self.iia_changed,
            "iia_circuit_only": self.iia_circuit_only,
            "strict": self.strict,
            "strict_min": self.strict_min,
            "strict_all": self.strict_all,
            "edges_heads": self.edges_heads,
            "edges": self.edges,
        }


@dataclass(frozen=True)
class WorstEdge:
    """The outside edge with the lowest accuracy when it alone is replaced; `edge` is None if all edges are inside.

    `edges` were screened on `rows_screened` rows; the lowest few were measured again on `rows`.
    """

    edge: str | None
    accuracy: float
    edges: int
    rows_screened: int
    rows: int


@dataclass(frozen=True)
class Liveliness:
    """Standard deviation of every silent node relative to the circuit's median, and the share of nodes above .01."""

    relative_deviation: dict[str, float]
    share_alive: float | None


@dataclass(frozen=True)
class Certificate:
    """What `certify` measures. `worst_edge` has the keys `heads` and `edges`; undefined shares are None."""

    seed: int
    rows: int
    exhaustive: bool
    measurement: Measurement
    worst_edge: dict[str, WorstEdge]
    necessity: dict[str, float | None]
    liveliness: Liveliness
    shorter_inputs: dict[str, float]
    reference_equals_program: float
    threshold: float = THRESHOLD

    @property
    def certified(self) -> bool:
        """Whether accuracy, every IIA, every silent node, and the outside edges at `heads` (all at once and the worst
        alone) reach the threshold.
        """
        measured = self.measurement
        nodes = min(measured.accuracy, measured.iia_min, measured.strict_min)
        return min(nodes, measured.edges_heads, self.worst_edge["heads"].accuracy) >= self.threshold

    @property
    def certified_edges(self) -> bool:
        """Whether the outside edges at `edges` granularity reach the threshold as well."""
        return self.certified and min(self.measurement.edges, self.worst_edge["edges"].accuracy) >= self.threshold

    def to_json(self) -> dict[str, Any]:
        """The entry `certificate` of a card."""
        return {
            "certified": self.certified,
            "certified_edges": self.certified_edges,
            "threshold": self.threshold,
            "seed": self.seed,
            "rows": self.rows,
            "exhaustive": self.exhaustive,
            **self.measurement.to_json(),
            "worst_edge": {granularity: asdict(worst) for granularity, worst in self.worst_edge.items()},
            "necessity": self.necessity,
            "liveliness": asdict(self.liveliness),
            "shorter_inputs": self.shorter_inputs,
            "reference_equals_program": self.reference_equals_program,
        }


@dataclass(frozen=True)
class Headline:
    """The few numbers of a certificate that lists, ranks and runs use; None for what a card does not hold.

    `worst_edge` is the accuracy of the worst single edge at `edges` granularity.
    """

    certified: bool | None = None
    certified_edges: bool | None = None
    accuracy: float | None = None
    iia_min: float | None = None
    strict_min: float | None = None
    edges: float | None = None
    worst_edge: float | None = None

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Headline:
        """Read it from a card, which may have no certificate."""
        stored = card.get("certificate") or {}
        worst = (stored.get("worst_edge") or {}).get("edges") or {}
        names = ("certified", "certified_edges", "accuracy", "iia_min", "strict_min", "edges")
        return cls(**{name: stored.get(name) for name in names}, worst_edge=worst.get("accuracy"))

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """For choosing the best of several certified or uncertified subjects."""
        shares = (self.accuracy, self.iia_min, self.strict_min, self.edges)
        return bool(self.certified_edges), bool(self.certified), min(share or 0.0 for share in shares)
