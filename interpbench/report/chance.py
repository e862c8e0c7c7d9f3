"""Chance: what a metric is when the scores of the edges are random.

Merging takes the largest score, so names with many edges rank high whatever the scores mean: chance at `heads` and
`nodes` is not one half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from interpbench.graph.circuit import Circuit
from interpbench.graph.graph import GRANULARITIES, Granularity
from interpbench.report.runs import Run
from interpbench.report.statistics import CONFIDENCE, Mean

DRAWS = 200
"""Number of random scores in every case."""
POSITIVE = ("core", "alternative")
"""Classes of true edges that a technique must find; edges of the other classes are ignored."""


def auroc(scores: Float[np.ndarray, "draw n"], true: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " draw"]:
    """The AUROC of every row (`graph.ranking.auroc`), for scores from 0 to 1."""
    rows = 2.0 * np.arange(len(scores))[:, None]  # moves the rows apart, so that all can be searched at once
    false = np.sort(scores[:, ~true] + rows, axis=1).ravel()
    below = [np.searchsorted(false, (scores[:, true] + rows).ravel(), side) for side in ("left", "right")]
    passed = np.mean(below, axis=0).reshape(len(scores), -1) - (~true).sum() * np.arange(len(scores))[:, None]
    return passed.mean(1) / (~true).sum()


def average_precision(scores: Float[np.ndarray, "draw n"], true: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " draw"]:
    """The average precision of every row (`graph.ranking.average_precision`), for scores without ties."""
    hits = true[np.argsort(-scores, axis=1)]
    precision = hits.cumsum(1) / np.arange(1, len(true) + 1)
    return (precision * hits).sum(1) / true.sum()


def chance(runs: Sequence[Run], metric: str) -> Mean | None:
    """The expected metric under random edge scores: mean over the cases of the runs, interval over `DRAWS` draws.

    The scores are merged and judged as those of a technique are, against the same truths. None for a metric that is
    not a ranking metric, and if it is undefined in every case.
    """
    granularity, *form, name = metric.split(".")
    if granularity not in GRANULARITIES or form not in ([], ["identifiable"]) or name not in _METRICS:
        return None
    means = []
    for case in dict.fromkeys(run.case for run in runs):
        truths = _truths([run for run in runs if run.case == case], identifiable=bool(form))
        drawn = [_draws(case, *truth, granularity, name) for truth in truths]
        if there := [draws for draws in drawn if draws is not None]:
            means.append(np.mean(there, axis=0))
    if not means:
        return None
    over_cases = np.mean(means, axis=0)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(over_cases, [tail, 1 - tail]).tolist()
    mean, median = float(over_cases.mean()), float(np.median(over_cases))
    return {"n": len(means), "mean": mean, "median": median, "low": low, "high": high}


_METRICS = {"auroc": auroc, "average_precision": average_precision}


def _truths(runs: Sequence[Run], identifiable: bool) -> list[tuple[Circuit, Circuit]]:
    """What the runs of a case are judged against, each once: the positive edges, and all true ones.

    By construction, all true edges are positive. The others of an identifiable metric are ignored; without classes of
    edges there is none.
    """
    if not identifiable:
        return [(truth, truth) for truth in dict.fromkeys(run.stored.truth for run in runs)]
    truths = {}
    for run in runs:
        if (classes := run.record["edge_classes"]) is not None:
            positive = frozenset(name for name, one in classes.items() if one in POSITIVE)
            truths[Circuit(run.stored.truth.graph, positive), run.stored.truth] = None
    return list(truths)


def _draws(
    case: str, positive: Circuit, truth: Circuit, granularity: Granularity, name: str
) -> Float[np.ndarray, " draw"] | None:
    """The metric for random scores, drawn by the case's name; None if every edge counts as true or none does."""
    true = positive.members(granularity)
    counted = true | ~truth.members(granularity)
    if not true.any() or true[counted].all():
        return None
    scores = np.random.default_rng(list(case.encode())).random((DRAWS, truth.graph.n_edges))
    return _METRICS[name](truth.graph.merge(scores, granularity)[:, counted], true[counted])
