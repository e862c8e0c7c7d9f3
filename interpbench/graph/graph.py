"""Nodes and edges of a transformer's residual stream; circuits and edge scores over them.

A *writer* adds to the residual stream (`embed`, `pos`, head `a0.h1`, MLP `m0`); a *reader* takes from it
(`a1.h0<q>`, `a1.h0<k>`, `a1.h0<v>`, `m1`, `logits`). An edge `writer->reader` exists where the writer comes earlier.
Edges are numbered by reader, then by writer, and since a reader sees a *prefix* of the writers, the edges into one
reader (and into all readers of one attention layer) are a contiguous range: a mask can be sliced without a table.

Names are those of EAP-IG and MIB, except that `embed` and `pos` stay apart here. Nothing in this module needs torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from interpbench.errors import shown, unknown
from interpbench.graph.names import (
    INPUTS,
    edge_name,
    head_name,
    merged_node,
    mlp_name,
    node_of,
    readers_of,
    split_edge,
)

Granularity = Literal["edges", "heads", "nodes", "mib"]
GRANULARITIES: tuple[Granularity, ...] = ("edges", "heads", "nodes")
"""Granularities at which every result is scored."""
MOST_EDGES = 1_000_000
"""Larger graphs do not fit into memory; a file that asks for one is damaged."""


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

    @property
    def readers_per_layer(self) -> int:
        """How many readers a layer has: q, k, v of each head, and then its MLP."""
        return 3 * self.n_heads + 1

    @cached_property
    def writers(self) -> tuple[str, ...]:
        """Names of the writers in the order in which they write."""
        return (*INPUTS, *(node for layer in range(self.n_layers) for node in self._nodes_of(layer)))

    @cached_property
    def readers(self) -> tuple[str, ...]:
        """Names of the readers in the order in which they read."""
        return (*(reader for node in self.nodes for reader in readers_of(node)), "logits")

    def _nodes_of(self, layer: int) -> tuple[str, ...]:
        """Heads and MLP of a layer, in the order in which they write."""
        return (*(head_name(layer, head) for head in range(self.n_heads)), mlp_name(layer))

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
    def reader_writer(self) -> np.ndarray:
        """Index of the writer that each reader is an input of, -1 for the logits; int `[reader]`."""
        index = {name: i for i, name in enumerate(self.writers)}
        return np.array([index.get(node_of(name), -1) for name in self.readers])

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
            edge_name(self.writers[w], self.readers[r]) for r, w in zip(self.edge_reader, self.edge_writer, strict=True)
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
        return self.writers[len(INPUTS) :]

    def indices(self, edges: Iterable[str]) -> np.ndarray:
        """Positions of the named edges; int `[n]`. Raises ValueError for a name that is not an edge of this graph."""
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
        """Positions of all edges that leave `writer`: ablating them all is an intervention on the node; int `[n]`."""
        if writer not in self.writers:
            raise ValueError(unknown("writer", writer, self.writers))
        return np.flatnonzero(self.edge_writer == self.writers.index(writer))

    def live_writers(self, kept: np.ndarray) -> np.ndarray:
        """Which writers reach the logits along kept edges; bool `[writer]` from bool `[edge]`."""
        live = np.append(np.zeros(len(self.writers), dtype=bool), True)  # the last: the logits
        for r in reversed(range(len(self.readers))):
            if live[self.reader_writer[r]]:
                live[: self.fan_in[r]] |= kept[self.starts[r] : self.starts[r + 1]]
        return live[:-1]

    def on_paths(self, kept: np.ndarray, from_inputs: bool = True) -> np.ndarray:
        """The kept edges on a path of kept edges to the logits and, unless `from_inputs` is False, from the inputs.

        Bool `[*circuit, edge]`. An edge into one of the query, key and value of a head continues into every edge that
        leaves the head.
        """
        owner = np.where(self.reader_writer < 0, len(self.writers), self.reader_writer)  # the last: the logits
        into = [slice(*ends) for ends in zip(self.starts, self.starts[1:], strict=False)]
        live = np.zeros((*kept.shape[:-1], len(self.writers) + 1), dtype=bool)
        fed = np.full_like(live, not from_inputs)
        fed[..., : len(INPUTS)] = live[..., -1] = True
        for node, edges, n in zip(owner, into, self.fan_in, strict=True):
            fed[..., node] |= (kept[..., edges] & fed[..., :n]).any(-1)
        for node, edges, n in reversed(list(zip(owner, into, self.fan_in, strict=True))):
            live[..., :n] |= kept[..., edges] & live[..., node, None]
        return kept & fed[..., self.edge_writer] & live[..., owner[self.edge_reader]]

    @cached_property
    def _merged(self) -> dict[Granularity, tuple[tuple[str, ...], np.ndarray]]:
        """Per granularity: the names, and for every edge the names' indices it belongs to (-1: none); `[edge, k]`."""
        pairs = [(merged_node(writer), node_of(reader)) for writer, reader in map(split_edge, self.edges)]
        heads = list(dict.fromkeys(edge_name(w, r) for w, r in pairs if (w, r) != ("input", "logits")))
        apart = [edge_name(merged_node(writer), reader) for writer, reader in map(split_edge, self.edges)]
        mib = list(dict.fromkeys(apart))
        at_head, at_node, at_mib = ({name: i for i, name in enumerate(names)} for names in (heads, self.nodes, mib))
        return {
            "edges": (self.edges, np.arange(self.n_edges)[:, None]),
            "heads": (tuple(heads), np.array([[at_head.get(edge_name(w, r), -1)] for w, r in pairs])),
            "mib": (tuple(mib), np.array([[at_mib[name]] for name in apart])),
            "nodes": (self.nodes, np.array([[at_node.get(w, -1), at_node.get(r, -1)] for w, r in pairs])),
        }

    def universe(self, granularity: Granularity) -> tuple[str, ...]:
        """Names over which a circuit is scored.

        `edges`: all edges. `heads`: q, k, v merged into the head, embed and pos into `input`, `input->logits` left
        out. `nodes`: heads and MLPs. `mib`: as `edges`, but embed and pos merged into `input` (arXiv 2504.13151).
        """
        return self._merged[granularity][0]

    def merge(self, values: np.ndarray, granularity: Granularity) -> np.ndarray:
        """The largest value among the edges that merge into each name; float `[*, edge]` to `[*, universe]`."""
        names, targets = self._merged[granularity]
        values = np.asarray(values, dtype=float)
        merged = np.full((*values.shape[:-1], len(names)), -np.inf)
        for column in targets.T:
            kept = column >= 0
            np.maximum.at(np.moveaxis(merged, -1, 0), column[kept], np.moveaxis(values, -1, 0)[kept])
        return merged

    def spread(self, values: np.ndarray, granularity: Granularity) -> np.ndarray:
        """Each edge's value from the name it merges into, else 0; `[*, universe]` to `[*, edge]`. Not for `nodes`."""
        targets = self._merged[granularity][1][:, 0]
        values = np.asarray(values)
        return np.where(targets >= 0, values[..., targets], np.zeros((), values.dtype))

    def to_networkx(self) -> Any:
        """The graph at `heads` granularity as a `networkx.DiGraph`, for export and layout. Needs networkx.

        >>> sorted(Graph(1, 1).to_networkx().predecessors("m0"))
        ['a0.h0', 'input']
        """
        import networkx as nx

        return nx.DiGraph(map(split_edge, self.universe("heads")))
