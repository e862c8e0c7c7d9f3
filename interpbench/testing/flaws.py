"""What can be wrong with what a technique found on a toy: one line each, empty if nothing is.

A technique says what its scores are by `scores` and `attention` (see `Technique`); the order is judged by that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interpbench.graph.circuit import Circuit
from interpbench.graph.names import node_of, split_edge
from interpbench.problem.problem import Problem
from interpbench.problem.technique import ATTENTION, SCORES, Discovery, Technique

DECLARED = {"scores": SCORES, "attention": ATTENTION}
"""What a technique may declare, and the words for it; the first is the default."""


@dataclass(frozen=True, eq=False)
class Found:
    """A toy's problem and true circuit, and what a technique found."""

    problem: Problem
    truth: Circuit
    discovery: Discovery


def misfit(found: Found) -> str:
    """Scores of another graph."""
    got, expected = found.discovery.scores.graph, found.problem.graph
    return "" if got == expected else f"scores of {got}, a problem of {expected}"


def infinity(found: Found) -> str:
    """Scores that are not finite, but for the infinity of edges that are never cut."""
    scores = found.discovery.scores
    bad = np.isnan(scores.values) | np.isneginf(scores.values)
    return f"the score of {scores.graph.edges[int(bad.argmax())]} is {scores.values[bad.argmax()]}" if bad.any() else ""


def foreign_circuit(found: Found) -> str:
    """A circuit of another graph, or not of edges."""
    if (circuit := found.discovery.circuit) is None:
        return ""
    got, expected = (circuit.graph, circuit.granularity), (found.problem.graph, "edges")
    return "" if got == expected else f"a circuit of {got}, expected {expected}"


def wrong_order(technique: Technique, found: Found) -> str:
    """Something true that is not ranked above all that has no effect, by what the technique declares."""
    scored, values = getattr(technique, "scores", SCORES[0]), found.discovery.scores.values
    if scored == "nothing" or misfit(found):
        return ""
    graph, truth = found.problem.graph, found.truth
    seen = _through_values(truth) if getattr(technique, "attention", ATTENTION[0]) == "frozen" else truth
    if scored == "edges":
        names, must, must_not = graph.edges, seen.members("edges"), ~truth.members("edges")
    else:
        names, values = graph.nodes, graph.merge(values, "nodes")
        must, must_not = np.isin(names, list(seen.nodes)), ~np.isin(names, list(truth.nodes))
    kind, a = ("edge", "an") if scored == "edges" else ("node", "a")
    (true,), (false,) = np.nonzero(must), np.nonzero(must_not)
    worst, best = true[values[true].argmin()], false[values[false].argmax()]
    below = f"true {kind} {names[worst]} scores {values[worst]}, {a} {kind} without any effect {values[best]}"
    return "" if values[worst] > values[best] else below


def _through_values(truth: Circuit) -> Circuit:
    """The edges from which a route goes to the logits that enters no query and no key."""
    kept = truth.mask() > 0
    kept &= np.array([not split_edge(edge)[1].endswith(("<q>", "<k>")) for edge in truth.graph.edges])
    live = {"logits", *np.array(truth.graph.writers)[truth.graph.live_writers(kept)]}
    ends = (node_of(split_edge(edge)[1]) for edge in truth.graph.edges)
    inside = [edge for edge, end, held in zip(truth.graph.edges, ends, kept, strict=True) if held and end in live]
    return Circuit(truth.graph, frozenset(inside))
