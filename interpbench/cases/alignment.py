"""Where the components of a reference sit in a subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from interpbench.graph.names import edge_name, moved_reader, node_of, split_edge


@dataclass(frozen=True)
class Alignment:
    """Maps each component of a reference to the subject's node that carries it, by default the node of the same name.

    `moved` has the components that sit elsewhere: `{"a1.h0": "a1.h2"}`.
    """

    moved: Mapping[str, str] = field(default_factory=dict)

    def node(self, component: str) -> str:
        """The subject's node that carries a component."""
        return self.moved.get(component, component)

    def carry(self, edge: str) -> str:
        """The subject's edge for an edge of the reference: `m0->a1.h0<v>` becomes `m0->a1.h2<v>`."""
        writer, reader = split_edge(edge)
        return edge_name(self.node(writer), moved_reader(reader, self.node(node_of(reader))))
