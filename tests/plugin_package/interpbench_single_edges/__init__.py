"""A circuit-discovery technique in a package of its own: what the loss rises by when an edge alone is cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from interpbench import hookimpl


@dataclass(frozen=True)
class Config:
    keep: int = field(default=5, metadata={"help": "How many edges to choose."})

    def __post_init__(self) -> None:
        if self.keep < 0:
            raise ValueError(f"keep is {self.keep}, expected at least 0")


class SingleEdges:
    """Cut every edge alone and see how much the loss rises."""

    name = "single-edges"
    version = "1"
    Config = Config

    def discover(self, problem: Any, config: Config) -> Any:
        import torch

        from interpbench.graph import EdgeScores
        from interpbench.problem import Discovery

        rises = problem.losses(torch.eye(problem.graph.n_edges), problem.faithfulness_loss)
        scores = EdgeScores(problem.graph, rises.numpy())
        return Discovery(scores, scores.top(config.keep), {"largest": float(rises.max())})


@hookimpl
def interpbench_techniques() -> Iterable[SingleEdges]:
    return [SingleEdges()]
