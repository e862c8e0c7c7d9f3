"""Comparison of a discovery with the true circuit: ranking metrics of its scores, rates of its circuit.

The universe is all edges, head-level edges or nodes of the subject's graph (`Graph.universe`). Two answers stand side
by side. *By construction*, every true edge is a positive. *Identifiable* leaves out what the run's ablation cannot see:
positives are the core and alternative edges (`certificate/edge_classes.py`), and dispensable ones count for nothing, as
regions to ignore do in object detection.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from interpbench.certificate.certificate import THRESHOLD
from interpbench.certificate.edge_classes import EdgeClasses
from interpbench.graph.circuit import Circuit
from interpbench.graph.graph import GRANULARITIES, Granularity
from interpbench.graph.ranking import auroc, average_precision, rates, roc
from interpbench.problem.technique import Discovery


def judge(
    discovery: Discovery,
    truth: Circuit,
    classes: EdgeClasses | None = None,
    nodes: Float[np.ndarray, " node"] | None = None,
) -> dict[str, dict[str, Any]]:
    """Metrics at `edges`, `heads` and `nodes` granularity; plain JSON.

    Each has the size `n` of the universe, the number of its `true` members, `auroc`, `average_precision`, the corners
    of the `roc` curve, and the `rates` of the `chosen` circuit (None if the technique chose none): by construction.
    `identifiable` has the first four for what `classes` say can be seen, and how many are `ignored`; it is None
    without classes. `nodes` are scores of the nodes themselves; without them, a node has the largest score of its
    edges. Raises ValueError if the graph of the scores is not that of the true circuit.
    """
    if discovery.scores.graph != truth.graph:
        raise ValueError(f"scores over {discovery.scores.graph}, expected {truth.graph}")
    scores = {each: truth.graph.merge(discovery.scores.values, each) for each in GRANULARITIES}
    scores |= {} if nodes is None else {"nodes": nodes}
    return {each: _judge(discovery.circuit, scores[each], truth, classes, each) for each in GRANULARITIES}


def _judge(
    chosen: Circuit | None,
    scores: Float[np.ndarray, " n"],
    truth: Circuit,
    classes: EdgeClasses | None,
    granularity: Granularity,
) -> dict[str, Any]:
    true = truth.members(granularity)
    fpr, tpr = roc(scores, true)
    return {
        "identifiable": _identifiable(scores, truth, classes, granularity),
        **_ranking(scores, true),
        "roc": None if fpr is None or tpr is None else {"fpr": fpr.tolist(), "tpr": tpr.tolist()},
        "chosen": None if chosen is None else rates(chosen.members(granularity), true),
    }


def _ranking(scores: Float[np.ndarray, " n"], true: Bool[np.ndarray, " n"]) -> dict[str, Any]:
    return {
        "n": len(true),
        "true": int(true.sum()),
        "auroc": auroc(scores, true),
        "average_precision": average_precision(scores, true),
    }


def _identifiable(
    scores: Float[np.ndarray, " n"], truth: Circuit, classes: EdgeClasses | None, granularity: Granularity
) -> dict[str, Any] | None:
    if classes is None or classes.kept is None:
        return None
    positive, ignored = identifiable(truth, classes, granularity)
    return {**_ranking(scores[~ignored], positive[~ignored]), "ignored": int(ignored.sum())}


def identifiable(
    truth: Circuit, classes: EdgeClasses, granularity: Granularity
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Positive and ignored members of the universe; the rest are negatives.

    What merges several edges is positive if one of them is core or alternative, and ignored if it holds true edges
    and all of them are dispensable. Raises ValueError if the circuit was not sufficient, and so has no classes.
    """
    if classes.kept is None:
        raise ValueError(
            f"under {classes.ablation} the true circuit keeps {classes.bare:.3f} of the answers: no classes"
        )
    seen = Circuit(truth.graph, frozenset(edge for edge, count in classes.kept.items() if count))
    positive = seen.members(granularity)
    return positive, truth.members(granularity) & ~positive


def judge_chosen(chosen: Circuit, truth: Circuit, accuracy: float, classes: EdgeClasses | None) -> dict[str, Any]:
    """Whether a chosen circuit is right; `accuracy` is the share of answers that stay with all outside it ablated.

    `false_edges` are outside the true circuit, at the granularity of the chosen one. `core_found` is the share of core
    edges in it, and `smallest` the size of the smallest sufficient circuit known (None without classes). It is `exact`
    if it is sufficient and holds no false edge.
    """
    true = truth.members(chosen.granularity)
    inside = chosen.members(chosen.granularity)
    false = int((inside & ~true).sum())
    of_edges = (classes.of_edges if classes else None) or {}
    core = [edge for edge, kind in of_edges.items() if kind == "core"]
    held = chosen.members("edges")[truth.graph.indices(core)]
    sufficient = accuracy >= THRESHOLD
    return {
        "edges": int(inside.sum()),
        "false_edges": false,
        "core_found": float(held.mean()) if core else None,
        "accuracy": accuracy,
        "sufficient": sufficient,
        "exact": sufficient and not false,
        "smallest": len(classes.smallest) if classes and classes.smallest is not None else None,
    }
