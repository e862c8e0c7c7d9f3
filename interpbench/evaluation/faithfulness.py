"""Faithfulness of circuits to the whole model, with the metrics of MIB (arXiv 2504.13151).

A circuit's *faithfulness* is (m(circuit) - m(nothing)) / (m(everything) - m(nothing)). Here m is the logit difference
between the clean and the corrupted answer (for numerical outputs: minus the `shift` loss), with every edge outside the
circuit ablated. Faithfulness is 1 for the whole model, and undefined if m is the same with all edges and with none.

Edges are those of MIB's graph: `embed` and `pos` are merged into `input`, whose edges have the larger of both scores;
queries, keys and values are separate readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interpbench.evaluation.ranking import auroc
from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.problem.losses import Loss
from interpbench.problem.problem import Problem

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of the edges that are kept by circuits of growing size."""

NOTHING = 1e-9
"""Differences of m below this count as rounding errors."""


@dataclass(frozen=True)
class FaithfulnessCurve:
    """Faithfulness of circuits of the highest-scored edges.

    Circuit i keeps `kept[i]` merged edges, the share `shares[i]` of all, rounded down. `cpr` is the area under
    `faithfulness` (higher is better), `cmd` the area under |1 - faithfulness| (0 is best), both by the trapezoid rule
    over `shares`. All three are None if faithfulness is undefined.
    """

    shares: tuple[float, ...]
    kept: tuple[int, ...]
    faithfulness: tuple[float, ...] | None
    cpr: float | None
    cmd: float | None


def faithfulness(problem: Problem, masks: Float[Tensor, "circuit edge"]) -> list[float] | None:
    """Faithfulness of circuits given by masks (1: ablated), measured in one batch; None if undefined."""
    loss: Loss = "logit-diff" if problem.output == "categorical" else "shift"
    ends = torch.tensor([[0.0], [1.0]]).expand(2, problem.graph.n_edges)
    everything, nothing, *circuits = (-problem.losses(torch.cat([ends.to(masks), masks]), loss)).tolist()
    if abs(everything - nothing) < NOTHING:
        return None
    return [(each - nothing) / (everything - nothing) for each in circuits]


def faithfulness_curve(problem: Problem, scores: EdgeScores, shares: Sequence[float] = SHARES) -> FaithfulnessCurve:
    """Faithfulness of the highest-scored `shares` of the merged edges, with the areas CPR and CMD.

    Ties go to the earlier edge. Raises ValueError if the scores belong to another graph than the problem's.
    """
    graph = problem.graph
    if scores.graph != graph:
        raise ValueError(f"scores over {scores.graph}, expected {graph}")
    kept = scores.top_shares(shares, "mib")
    sizes = tuple(kept.sum(-1).tolist())
    found = faithfulness(problem, torch.tensor(graph.spread(~kept, "mib"), device=problem.device).to(problem.full))
    if found is None:
        return FaithfulnessCurve(tuple(shares), sizes, None, None, None)
    areas = (float(np.trapezoid(heights, shares)) for heights in (found, np.abs(1 - np.array(found))))
    return FaithfulnessCurve(tuple(shares), sizes, tuple(found), *areas)


def edge_auroc(scores: EdgeScores, truth: Circuit) -> float | None:
    """MIB's AUROC, over merged edges, against the true circuit; None if that holds all of them or none."""
    return auroc(scores.graph.merge(scores.values, "mib"), truth.members("mib"))
