"""Nodes, edges, circuits and edge scores. Needs no PyTorch. Part of the contract with plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.graph import GRANULARITIES, Granularity, Graph
from interpbench.lazy import lazy

if TYPE_CHECKING:
    from interpbench.graph.drawing import circuit_svg

__all__ = ["GRANULARITIES", "Circuit", "EdgeScores", "Granularity", "Graph", "circuit_svg"]

__getattr__, __dir__ = lazy(__name__, {"graph.drawing": ("circuit_svg",)})
