"""Nodes, edges, circuits and edge scores. Needs no PyTorch. Part of the contract with plugins."""

from __future__ import annotations

from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.graph import GRANULARITIES, Granularity, Graph

__all__ = ["GRANULARITIES", "Circuit", "EdgeScores", "Granularity", "Graph"]
