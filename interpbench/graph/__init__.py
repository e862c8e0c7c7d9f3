"""Nodes, edges, circuits and edge scores. Needs no PyTorch. Part of the contract with plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interpbench.lazy import lazy

if TYPE_CHECKING:
    from interpbench.graph.circuit import Circuit, EdgeScores
    from interpbench.graph.drawing import circuit_svg
    from interpbench.graph.graph import GRANULARITIES, Granularity, Graph

__all__ = ["GRANULARITIES", "Circuit", "EdgeScores", "Granularity", "Graph", "circuit_svg"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "graph.circuit": ("Circuit", "EdgeScores"),
        "graph.drawing": ("circuit_svg",),
        "graph.graph": ("GRANULARITIES", "Granularity", "Graph"),
    },
)
