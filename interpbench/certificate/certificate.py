"""The numbers of a certificate and their names on a card. Imports no PyTorch: `list` and `show` read cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

THRESHOLD = 0.99
"""Lowest value of every accuracy of a certified subject."""

VERSION = 2
"""What a certificate demands. Version 1 knew neither permuted positions nor mean and zero ablation."""


@dataclass(frozen=True)
class Strictness:
    """Accuracies with something outside the true circuit replaced by its values on the source.

    `strict`: one silent node; `strict_all`: all of them. `edges_heads` and `edges`: every edge outside the circuit, at
    `heads` and at `edges` granularity.
    """

    strict: dict[str, float]
    strict_all: float
    edges_heads: float
    edges: float

    @property
    def strict_min(self) -> float:
        """Lowest accuracy with one silent node replaced; 1 if there are no silent nodes."""
        return min(self.strict.values(), default=1.0)

    def to_json(self) -> dict[str, Any]:
        """The entries of a card."""
        return {
            "strict": self.strict,
            "strict_min": self.strict_min,
            "strict_all": self.strict_all,
            "edges_heads": self.edges_heads,
            "edges": self.edges,
        }


@dataclass(frozen=True)
class Measurement(Strictness):
    """Accuracies that training measures too, each against the reference's answers.

    `iia`: interchange accuracy of each variable; `iia_changed`: the same at positions where the interchange changes
    the answer (None if there are none); `iia_circuit_only`: the same with every outside edge replaced as well.
    """

    accuracy: float
    iia: dict[str, float]
    iia_changed: dict[str, float | None]
    iia_circuit_only: dict[str, float]

    @property
    def iia_min(self) -> float:
        """Lowest interchange accuracy of a variable."""
        return min(self.iia.values())

    def to_json(self) -> dict[str, Any]:
        """The entries of a card."""
        return {
            "accuracy": self.accuracy,
            "iia": self.iia,
            "iia_min": self.iia_min,
            "iia_changed": self.iia_changed,
            "iia_circuit_only": self.iia_circuit_only,
            **super().to_json(),
        }


@dataclass(frozen=True)
class AllEdges:
    """Accuracies with all outside edges replaced at once, at `heads` and at `edges` granularity."""

    edges_heads: float
    edges: float


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
class Positions(Strictness):
    """Strictness with the positions of the source permuted as well (`cases.pairs.permuted_places`)."""

    worst_edge: dict[str, WorstEdge]

    def to_json(self) -> dict[str, Any]:
        """The entries of a card."""
        return {**super().to_json(), "worst_edge": {name: asdict(worst) for name, worst in self.worst_edge.items()}}


@dataclass(frozen=True)
class Robustness:
    """Reported, not demanded: accuracies with all outside edges (at `edges`) replaced in ways that no training saw.

    `apart`: each writer by its values on the source of a row of its own; `twice`: each by twice its own output.
    """

    apart: float
    twice: float


@dataclass(frozen=True)
class Certificate:
    """What `certify` measures. `worst_edge` has the keys `heads` and `edges`; undefined shares are None.

    `exclusive` is the share of positions with different answers at which the subject gives the source's when all edges
    of the circuit are replaced and nothing else: nothing outside carries the task. `norm_auroc` is that of the `norm`
    baseline at `heads`: how well activations alone find the circuit.
    """

    seed: int
    rows: int
    exhaustive: bool
    measurement: Measurement
    worst_edge: dict[str, WorstEdge]
    positions: Positions
    mean: AllEdges
    zero: AllEdges
    exclusive: float | None
    necessity: dict[str, float | None]
    robustness: Robustness
    liveliness: Liveliness
    norm_auroc: float | None
    shorter_inputs: dict[str, float]
    reference_equals_program: float
    threshold: float = THRESHOLD

    @property
    def certified(self) -> bool:
        """Whether every demand is met."""
        return all(demand.is_met for demand in demands(self._numbers()))

    def to_json(self) -> dict[str, Any]:
        """The entry `certificate` of a card."""
        return {"certified": self.certified, **self._numbers()}

    def _numbers(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "threshold": self.threshold,
            "seed": self.seed,
            "rows": self.rows,
            "exhaustive": self.exhaustive,
            **self.measurement.to_json(),
            "worst_edge": {granularity: asdict(worst) for granularity, worst in self.worst_edge.items()},
            "positions": self.positions.to_json(),
            "mean": asdict(self.mean),
            "zero": asdict(self.zero),
            "exclusive": self.exclusive,
            "necessity": self.necessity,
            "robustness": asdict(self.robustness),
            "liveliness": asdict(self.liveliness),
            "norm_auroc": self.norm_auroc,
            "shorter_inputs": self.shorter_inputs,
            "reference_equals_program": self.reference_equals_program,
        }


@dataclass(frozen=True)
class Demand:
    """One thing that a certificate demands: what was replaced, by what, and the share of right answers.

    `share` is the lowest of several, and `lowest` names which; it is None where there was nothing to measure.
    """

    replaced: str
    by: str
    share: float | None
    threshold: float
    lowest: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the share reaches the threshold; so it is where there was nothing to measure."""
        return self.share is None or self.share >= self.threshold


def demands(certificate: Mapping[str, Any]) -> list[Demand]:
    """What a certificate demands by its version, from the entry of a card. Raises KeyError if it lacks a number."""
    at_least = certificate["threshold"]

    def demand(replaced: str, by: str, shares: float | Mapping[str, float] | None) -> Demand:
        if isinstance(shares, Mapping):
            lowest = min(shares, key=shares.__getitem__, default="")
            return Demand(replaced, by, shares.get(lowest), at_least, lowest)
        return Demand(replaced, by, shares, at_least)

    def strictness(numbers: Mapping[str, Any], by: str) -> list[Demand]:
        found = [demand("each silent node", by, numbers["strict"])]
        for granularity, key in (("heads", "edges_heads"), ("edges", "edges")):
            worst = numbers["worst_edge"][granularity]
            found.append(demand(f"each outside edge, {granularity}", by, {worst["edge"] or "": worst["accuracy"]}))
            found.append(demand(f"all outside edges, {granularity}", by, numbers[key]))
        return found

    source = "the source's"
    found = [demand("nothing", "", certificate["accuracy"]), demand("each variable", source, certificate["iia"])]
    if version_of(certificate) == 1:
        return [*found, *strictness(certificate, source)]
    found.append(demand("each variable and all outside edges", source, certificate["iia_circuit_only"]))
    found += strictness(certificate, source)
    found += strictness(certificate["positions"], f"{source}, positions permuted")
    for ablation, by in (("mean", "the mean"), ("zero", "zero")):
        for granularity, key in (("heads", "edges_heads"), ("edges", "edges")):
            found.append(demand(f"all outside edges, {granularity}", by, certificate[ablation][key]))
    return [*found, demand("the circuit's edges; the source's answer", source, certificate["exclusive"])]


def version_of(certificate: Mapping[str, Any]) -> int:
    """Version of a stored certificate; those of version 1 did not say theirs."""
    return certificate.get("version", 1)


@dataclass(frozen=True)
class Headline:
    """The few numbers of a certificate that lists, ranks and runs use; None for what a card does not hold.

    `certified` is about the present version: one of version 1 certifies less. It is what the numbers say: a yes beside
    numbers that do not meet every demand is none. `positions` and `zero` are the accuracies
    with all outside edges replaced, at `edges`. `met` counts the demands that are met, and `lowest` is their lowest
    share.
    """

    version: int | None = None
    certified: bool | None = None
    accuracy: float | None = None
    iia_min: float | None = None
    strict_min: float | None = None
    edges: float | None = None
    positions: float | None = None
    zero: float | None = None
    exclusive: float | None = None
    met: int = 0
    lowest: float = 0.0

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Headline:
        """Read it from a card, which may have no certificate."""
        stored = card.get("certificate")
        if not stored:
            return cls()
        version = version_of(stored)
        try:
            made = demands(stored)
            shares = [each.share for each in made if each.share is not None]
            reached = {"met": sum(each.is_met for each in made), "lowest": min(shares)}
            meets = stored["threshold"] >= THRESHOLD and all(each.is_met for each in made)
        except (AttributeError, KeyError, TypeError):
            reached, meets = {}, False
        numbers = {name: stored.get(name) for name in ("accuracy", "iia_min", "strict_min", "edges", "exclusive")}
        inside = {name: (stored.get(name) or {}).get("edges") for name in ("positions", "zero")}
        certified = stored.get("certified") is True and version == VERSION and meets
        return cls(version, certified, **numbers, **inside, **reached)

    @property
    def rank(self) -> tuple[bool, int, float]:
        """For choosing the best of several subjects."""
        return bool(self.certified), self.met, self.lowest
