"""Circuits, and scores over the edges of a graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interpbench.errors import shown, unknown
from interpbench.graph.graph import Granularity, Graph
from interpbench.graph.names import merged_node, split_edge


@dataclass(frozen=True)
class Circuit:
    """A set of edges of a graph, at `edges` granularity, or merged by `heads()`.

    Raises ValueError for an edge that is not in the graph.
    """

    graph: Graph
    edges: frozenset[str]
    granularity: Granularity = "edges"

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", frozenset(self.edges))
        universe = self.graph.universe(self.granularity)
        for name in sorted(self.edges.difference(universe)):
            raise ValueError(unknown("edge", name, universe))

    @property
    def nodes(self) -> frozenset[str]:
        """Heads and MLPs that an edge of the circuit leaves or enters."""
        ends = (merged_node(end) for edge in self.edges for end in split_edge(edge))
        return frozenset(ends) - {"input", "logits"}

    def heads(self) -> Circuit:
        """The same circuit with q, k, v merged into the head and embed, pos into `input`."""
        if self.granularity == "heads":
            return self
        names = self.graph.universe("heads")
        merged = self.graph.merge(self.mask(), "heads")
        return Circuit(self.graph, frozenset(n for n, v in zip(names, merged, strict=True) if v > 0), "heads")

    def mask(self) -> np.ndarray:
        """1 on the edges of the circuit (at `heads`: on the edges that merge into it); float32 `[edge]`."""
        inside = np.array([name in self.edges for name in self.graph.universe(self.granularity)], dtype=np.float32)
        return self.graph.spread(inside, self.granularity)

    def members(self, granularity: Granularity) -> np.ndarray:
        """Which names of the universe belong to the circuit; bool `[universe]`."""
        return self.graph.merge(self.mask(), granularity) > 0

    @property
    def digest(self) -> str:
        """Hash of the graph and the edges; 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Plain data: `{"n_layers", "n_heads", "granularity", "edges"}`, edges in graph order."""
        order = {name: i for i, name in enumerate(self.graph.universe(self.granularity))}
        edges = sorted(self.edges, key=order.__getitem__)
        graph = {"n_layers": self.graph.n_layers, "n_heads": self.graph.n_heads}
        return {**graph, "granularity": self.granularity, "edges": edges}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Circuit:
        """The inverse of `to_json`. Raises ValueError for data of another form."""
        try:
            graph = Graph(data["n_layers"], data["n_heads"])
            edges, granularity = list(data["edges"]), data["granularity"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a circuit: {error!r}") from None
        if granularity not in ("edges", "heads"):
            raise ValueError(f"not a circuit: granularity {shown(granularity)}, expected 'edges' or 'heads'")
        return cls(graph, frozenset(map(str, edges)), granularity)


@dataclass(frozen=True, eq=False)
class EdgeScores:
    """One score per edge; a higher score ranks the edge higher. `values` is float64 `[edge]`, a copy of what was given.

    Infinity is allowed (an edge that was never ablated), NaN is not. Raises ValueError for NaN or another length.
    """

    graph: Graph
    values: np.ndarray

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        if values.shape != (self.graph.n_edges,):
            raise ValueError(f"scores have shape {values.shape}, expected ({self.graph.n_edges},): one per edge")
        if np.isnan(values).any():
            raise ValueError(f"the score of edge {self.graph.edges[int(np.isnan(values).argmax())]} is NaN")
        object.__setattr__(self, "values", values)

    def __repr__(self) -> str:
        return f"EdgeScores({self.graph}: from {self.values.min():g} to {self.values.max():g})"

    @classmethod
    def of_nodes(cls, graph: Graph, scores: Mapping[str, float] | np.ndarray) -> EdgeScores:
        """The score of an edge is the smaller of its two ends' scores; into `logits` it is its writer's.

        `scores` has one number for each of `graph.writers` (inputs, heads, MLPs): by name, or float `[writer]` in their
        order. Raises ValueError for a node that is missing or unknown, or an array of another shape.
        """
        if isinstance(scores, Mapping):
            for name in scores:
                if name not in graph.writers:
                    raise ValueError(unknown("writer", name, graph.writers))
            missing = [name for name in graph.writers if name not in scores]
            if missing:
                raise ValueError(f"no score for {', '.join(missing)}; expected one for each writer of the graph")
            scores = np.array([scores[name] for name in graph.writers])
        values = np.asarray(scores, dtype=np.float64)
        if values.shape != (len(graph.writers),):
            raise ValueError(f"scores have shape {values.shape}, expected ({len(graph.writers)},): one per writer")
        of_readers = np.append(values, np.inf)[graph.reader_writer]  # the last: the logits
        return cls(graph, np.minimum(values[graph.edge_writer], of_readers[graph.edge_reader]))

    def top(self, k: int) -> Circuit:
        """The circuit of the `k` highest-scored edges; ties go to the earlier edge."""
        chosen = np.argsort(-self.values, kind="stable")[:k]
        return Circuit(self.graph, frozenset(self.graph.edges[i] for i in chosen))

    def top_shares(self, shares: Sequence[float], granularity: Granularity) -> np.ndarray:
        """Which names of the universe are among the highest-scored share of it; bool `[share, universe]`.

        A share is rounded down to whole names; ties go to the earlier one.
        """
        merged = self.graph.merge(self.values, granularity)
        rank = np.argsort(np.argsort(-merged, kind="stable"))
        sizes = np.floor(np.asarray(shares) * len(merged) + 1e-9)
        return rank < sizes[:, None]

    def above(self, threshold: float) -> Circuit:
        """The circuit of the edges scored strictly above `threshold`."""
        return Circuit(self.graph, frozenset(self.graph.edges[i] for i in np.flatnonzero(self.values > threshold)))
