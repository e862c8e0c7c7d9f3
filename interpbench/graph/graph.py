"""Nodes and edges of a transformer's residual stream; circuits and edge scores over them.

A *writer* adds to the residual stream (`embed`, `pos`, head `a0.h1`, MLP `m0`); a *reader* takes from it
(`a1.h0<q>`, `a1.h0<k>`, `a1.h0<v>`, `m1`, `logits`). An edge `writer->reader` exists where the writer comes earlier.
Edges are numbered by reader, then by writer, and since a reader sees a *prefix* of the writers, the edges into one
reader (and into all readers of one attention layer) are a contiguous range: no table is needed to cut a mask up.

Names are those of EAP-IG and MIB, except that `embed` and `pos` stay apart here. Nothing in this module needs torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from interpbench.errors import shown, unknown

Granularity = Literal["edges", "heads", "nodes", "mib"]
GRANULARITIES: tuple[Granularity, ...] = ("edges", "heads", "nodes")
"""What every result is judged at."""
MOST_EDGES = 1_000_000
"""More than this is a mistake in a file, not a graph that fits into memory."""


@dataclass(frozen=True)
class Graph:
    """All edges of a transformer with `n_layers` layers of `n_heads` heads and one MLP each.

    Raises ValueError unless both are whole numbers of at least 1, and for more than `MOST_EDGES` edges.
    """

    n_layers: int
    n_heads: int

    def __post_init__(self) -> None:
        layers, heads = self.n_layers, self.n_heads
        for name, value in (("n_layers", layers), ("n_heads", heads)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is {shown(value)}, expected a whole number of at least 1")
        ends = 2 + layers * (heads + 1)
        edges = ends + sum(3 * heads * n + n + heads for n in range(2, min(ends, MOST_EDGES), heads + 1))
        if edges > MOST_EDGES:
            raise ValueError(f"{layers} layers of {heads} heads: more than {MOST_EDGES} edges")

    def writers_before_attention(self, layer: int) -> int:
        """How many writers the heads of `layer` can read."""
        return 2 + layer * (self.n_heads + 1)

    def writers_before_mlp(self, layer: int) -> int:
        """How many writers the MLP of `layer` can read."""
        return self.writers_before_attention(layer) + self.n_heads

    @cached_property
    def writers(self) -> tuple[str, ...]:
        """Names of the writers in the order in which they write."""
        layers = [[*(f"a{a}.h{h}" for h in range(self.n_heads)), f"m{a}"] for a in range(self.n_layers)]
        return ("embed", "pos", *(name for layer in layers for name in layer))

    @cached_property
    def readers(self) -> tuple[str, ...]:
        """Names of the readers in the order in which they read."""
        layers = [
            [*(f"a{a}.h{h}<{x}>" for h in range(self.n_heads) for x in "qkv"), f"m{a}"] for a in range(self.n_layers)
        ]
        return (*(name for layer in layers for name in layer), "logits")

    @cached_property
    def fan_in(self) -> np.ndarray:
        """Number of writers that each reader sees, in reader order; int `[reader]`."""
        layers = [
            [self.writers_before_attention(a)] * (3 * self.n_heads) + [self.writers_before_mlp(a)]
            for a in range(self.n_layers)
        ]
        return np.array([n for layer in layers for n in layer] + [len(self.writers)])

    @cached_property
    def starts(self) -> np.ndarray:
        """Index of the first edge into each reader, and the number of edges at the end; int `[reader + 1]`."""
        return np.concatenate([[0], np.cumsum(self.fan_in)])

    @cached_property
    def edge_reader(self) -> np.ndarray:
        """Reader index of every edge; int `[edge]`."""
        return np.repeat(np.arange(len(self.readers)), self.fan_in)

    @cached_property
    def edge_writer(self) -> np.ndarray:
        """Writer index of every edge; int `[edge]`."""
        return np.concatenate([np.arange(n) for n in self.fan_in])

    @cached_property
    def edges(self) -> tuple[str, ...]:
        """Names of all edges, by reader and then by writer."""
        return tuple(
            f"{self.writers[w]}->{self.readers[r]}" for r, w in zip(self.edge_reader, self.edge_writer, strict=True)
        )

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return int(self.starts[-1])

    @cached_property
    def edge_index(self) -> Mapping[str, int]:
        """Position of every edge by name."""
        return {name: i for i, name in enumerate(self.edges)}

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Heads and MLPs: all nodes but the inputs and the logits."""
        return self.writers[2:]

    def indices(self, edges: Iterable[str]) -> np.ndarray:
        """Positions of the named edges; int `[n]`. Raises ValueError for a name that is no edge of this graph."""
        names = list(edges)
        for name in names:
            if name not in self.edge_index:
                raise ValueError(unknown("edge", name, self.edges))
        return np.array([self.edge_index[name] for name in names], dtype=int)

    def mask(self, edges: Iterable[str]) -> np.ndarray:
        """1 on the named edges and 0 elsewhere; float32 `[edge]`."""
        mask = np.zeros(self.n_edges, dtype=np.float32)
        mask[self.indices(edges)] = 1
        return mask

    def edges_from(self, writer: str) -> np.ndarray:
        """Positions of all edges that leave `writer`: cutting them all is an intervention on the node; int `[n]`."""
        if writer not in self.writers:
            raise ValueError(unknown("writer", writer, self.writers))
        return np.flatnonzero(self.edge_writer == self.writers.index(writer))

    def live_writers(self, kept: np.ndarray) -> np.ndarray:
        """Which writers reach the logits along kept edges; bool `[writer]` from bool `[edge]`."""
        live = np.zeros(len(self.writers), dtype=bool)
        for r in reversed(range(len(self.readers))):
            name = self.readers[r].split("<")[0]
            if name == "logits" or live[self.writers.index(name)]:
                live[: self.fan_in[r]] |= kept[self.starts[r] : self.starts[r + 1]]
        return live

    @cached_property
    def _merged(self) -> dict[Granularity, tuple[tuple[str, ...], np.ndarray]]:
        """Per granularity: the names, and for every edge the names' indices it belongs to (-1: none); `[edge, k]`."""
        writers = [_merged_node(w) for w in self.writers]
        readers = [_merged_node(r) for r in self.readers]
        pairs = [(writers[w], readers[r]) for w, r in zip(self.edge_writer, self.edge_reader, strict=True)]
        heads = list(dict.fromkeys(f"{w}->{r}" for w, r in pairs if (w, r) != ("input", "logits")))
        apart = [f"{writers[w]}->{self.readers[r]}" for w, r in zip(self.edge_writer, self.edge_reader, strict=True)]
        mib = list(dict.fromkeys(apart))
        at_head, at_node, at_mib = ({name: i for i, name in enumerate(names)} for names in (heads, self.nodes, mib))
        return {
            "edges": (self.edges, np.arange(self.n_edges)[:, None]),
            "heads": (tuple(heads), np.array([[at_head.get(f"{w}->{r}", -1)] for w, r in pairs])),
            "mib": (tuple(mib), np.array([[at_mib[name]] for name in apart])),
            "nodes": (self.nodes, np.array([[at_node.get(w, -1), at_node.get(r, -1)] for w, r in pairs])),
        }

    def universe(self, granularity: Granularity) -> tuple[str, ...]:
        """Names that a circuit is judged over.

        `edges`: all edges. `heads`: q, k, v merged into the head, embed and pos into `input`, `input->logits` left
        out. `nodes`: heads and MLPs. `mib`: as `edges`, but embed and pos merged into `input` (arXiv 2504.13151).
        """
        return self._merged[granularity][0]

    def merge(self, values: np.ndarray, granularity: Granularity) -> np.ndarray:
        """The largest of the values of the edges that fall together; float `[*, edge]` to `[*, universe]`."""
        names, targets = self._merged[granularity]
        values = np.asarray(values, dtype=float)
        merged = np.full((*values.shape[:-1], len(names)), -np.inf)
        for column in targets.T:
            kept = column >= 0
            np.maximum.at(np.moveaxis(merged, -1, 0), column[kept], np.moveaxis(values, -1, 0)[kept])
        return merged

    def spread(self, values: np.ndarray, granularity: Granularity) -> np.ndarray:
        """To every edge the value of what it merges into (0: nothing); `[*, universe]` to `[*, edge]`. Not of nodes."""
        targets = self._merged[granularity][1][:, 0]
        values = np.asarray(values)
        return np.where(targets >= 0, values[..., targets], np.zeros((), values.dtype))

    def to_networkx(self) -> Any:
        """The graph at `heads` granularity as a `networkx.DiGraph` (for export and layout)."""
        import networkx as nx

        graph = nx.DiGraph()
        for name in self.universe("heads"):
            graph.add_edge(*name.split("->"))
        return graph


def _merged_node(name: str) -> str:
    """The node a writer or reader belongs to when q, k, v and embed, pos are merged."""
    return "input" if name in ("embed", "pos") else name.split("<")[0]


@dataclass(frozen=True)
class Circuit:
    """A set of edges of a graph, at `edges` granularity, or merged by `heads()`.

    Raises ValueError if an edge is not one of the graph's.
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
        ends = (_merged_node(end) for edge in self.edges for end in edge.split("->"))
        return frozenset(ends) - {"input", "logits"}

    def heads(self) -> Circuit:
        """The same circuit with q, k, v merged into the head and embed, pos into `input`."""
        if self.granularity == "heads":
            return self
        names = self.graph.universe("heads")
        merged = self.graph.merge(self.mask(), "heads")
        return Circuit(self.graph, frozenset(n for n, v in zip(names, merged, strict=True) if v > 0), "heads")

    def mask(self) -> np.ndarray:
        """1 on every edge that belongs to the circuit (at `heads`: that merges into it); float32 `[edge]`."""
        inside = np.array([name in self.edges for name in self.graph.universe(self.granularity)], dtype=np.float32)
        return self.graph.spread(inside, self.granularity)

    def members(self, granularity: Granularity) -> np.ndarray:
        """Which names of the universe belong to the circuit; bool `[universe]`."""
        return self.graph.merge(self.mask(), granularity) > 0

    def to_json(self) -> dict[str, Any]:
        """Plain data: `{"n_layers", "n_heads", "granularity", "edges"}`, edges in graph order."""
        order = {name: i for i, name in enumerate(self.graph.universe(self.granularity))}
        edges = sorted(self.edges, key=order.__getitem__)
        graph = {"n_layers": self.graph.n_layers, "n_heads": self.graph.n_heads}
        return {**graph, "granularity": self.granularity, "edges": edges}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Circuit:
        """The inverse of `to_json`. Raises ValueError for anything of another form."""
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
    """One number per edge; higher means more surely in the circuit. `values` is float64 `[edge]`.

    Infinity is allowed (an edge that was never cut), NaN is not. Raises ValueError for NaN or another length.
    """

    graph: Graph
    values: np.ndarray

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.shape != (self.graph.n_edges,):
            raise ValueError(f"scores have shape {values.shape}, expected ({self.graph.n_edges},): one per edge")
        if np.isnan(values).any():
            raise ValueError(f"the score of edge {self.graph.edges[int(np.isnan(values).argmax())]} is NaN")
        object.__setattr__(self, "values", values)

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

    def merged(self, granularity: Granularity) -> dict[str, float]:
        """Score of every name at a granularity: the largest of its edges'."""
        values = self.graph.merge(self.values, granularity)
        return dict(zip(self.graph.universe(granularity), values.tolist(), strict=True))
