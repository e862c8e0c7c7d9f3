"""The metrics of MIB (arXiv 2504.13151), as its code computes them: faithfulness of circuits (CPR, CMD), and AUROC.

A circuit's *faithfulness* is (m(circuit) - m(nothing)) / (m(everything) - m(nothing)). Here m is the logit difference
between the clean and the corrupted answer (for numerical outputs: minus the `shift` loss), with every edge outside the
circuit ablated. Faithfulness is 1 for the whole model, and undefined if m is the same with all edges and with none.

The AUROC is the area below ten points of false and true positive rate, one for each of ten circuits. These grow
greedily from the logits up and are then *pruned*: edges on no path from the input to the logits are left out. MIB
prunes before it measures faithfulness, too. With resampled inputs that changes nothing, so it is not done here.

Edges are those of MIB's graph: `embed` and `pos` are merged into `input`, whose edges have the larger of both scores;
queries, keys and values are separate readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.graph import Graph
from interpbench.graph.names import node_of, split_edge
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

    Edges rank by their score as it is; MIB's code also offers the absolute score. Ties go to the earlier edge. Raises
    ValueError if the scores belong to another graph than the problem's.
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


def greedy_auroc(scores: EdgeScores, truth: Circuit) -> float | None:
    """MIB's AUROC against the true circuit, over merged edges; None if that holds all of them or none.

    Each of the circuits of `greedy_circuits` gives a point of false and true positive rate. The AUROC is the area below
    these points by the trapezoid rule. No point (0, 0) is added: the area starts at the point of the smallest circuit.
    """
    true = truth.members("mib")
    if true.all() or not true.any():
        return None
    circuits = greedy_circuits(scores)
    return float(np.trapezoid(circuits[:, true].mean(-1), circuits[:, ~true].mean(-1)))


def greedy_circuits(scores: EdgeScores, shares: Sequence[float] = SHARES) -> Bool[np.ndarray, "share merged"]:
    """Merged edges of pruned circuits that grow greedily by absolute score, to the given shares of all, rounded up.

    The absolute value is that of the merged score. Infinite scores are allowed.
    """
    graph = scores.graph
    order = greedy_order(graph, np.abs(graph.merge(scores.values, "mib")))
    sizes = np.ceil(np.asarray(shares) * len(order))
    grown = np.argsort(order) < sizes[:, None]
    return graph.merge(graph.on_paths(graph.spread(grown, "mib")), "mib") > 0


def greedy_order(graph: Graph, scores: Float[np.ndarray, " merged"]) -> Int[np.ndarray, " merged"]:
    """Merged edges in the order in which a circuit takes them that grows from the logits up.

    The circuit holds the logits at first. It always takes the highest-scored of the edges into its nodes, and the node
    that this edge leaves. Ties go to the edge whose reader was taken earlier, then to the earlier edge.
    """
    ends = [split_edge(name) for name in graph.universe("mib")]
    into: dict[str, list[int]] = {}
    for edge, (_, reader) in enumerate(ends):
        into.setdefault(node_of(reader), []).append(edge)
    frontier: list[tuple[float, int, int]] = []
    taken = {"logits"}
    newest, order = "logits", []
    while len(order) < len(ends):
        for edge in into.pop(newest, ()):
            heappush(frontier, (-float(scores[edge]), len(taken), edge))
        order.append(heappop(frontier)[-1])
        newest = ends[order[-1]][0]
        taken.add(newest)
    return np.array(order)
