"""Choosing a circuit from scores: the smallest one that is faithful."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.problem.problem import Problem

CHOOSING = 256
"""Number of rows on which the size of a circuit is chosen; edges are ranked on all rows."""


def choose_top(problem: Problem, scores: EdgeScores, share: float) -> Circuit:
    """The smallest faithful circuit of top-scored edges.

    A circuit is faithful if its loss is at most `share` of the loss with every edge cut. The loss is
    `problem.faithfulness_loss` on the first `CHOOSING` rows. The number of edges is found by bisection, which assumes
    that the loss falls with every edge added; it usually does.
    """
    edges = problem.graph.n_edges
    problem = problem.take(slice(CHOOSING))
    rank = torch.tensor(np.argsort(np.argsort(-scores.values, kind="stable")), device=problem.device)

    def loss(kept: int) -> float:
        return problem.losses((rank >= kept)[None].to(problem.full), problem.faithfulness_loss).item()

    low, high, bound = 0, edges, share * loss(0)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if loss(middle) <= bound else (middle + 1, high)
    return scores.top(low)


def choose_among(problem: Problem, cuts: Bool[Tensor, "circuit edge"], share: float) -> int:
    """Index of the faithful circuit that keeps the fewest edges; circuits are given by the edges they cut.

    Faithful is defined as in `choose_top`. If no circuit is faithful, the one with the lowest loss is chosen.
    """
    problem = problem.take(slice(CHOOSING))
    masks = torch.cat([cuts, torch.ones_like(cuts[:1])]).to(problem.full)
    *losses, bound = problem.losses(masks, problem.faithfulness_loss).tolist()
    good = [i for i, loss in enumerate(losses) if loss <= share * bound]
    kept = (~cuts).sum(-1).tolist()
    return min(good, key=kept.__getitem__) if good else losses.index(min(losses))
