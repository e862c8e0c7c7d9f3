"""Scores against truth, with scikit-learn's definitions as the reference."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from interpbench.evaluation.judge import judge
from interpbench.graph import Circuit, EdgeScores, Graph
from interpbench.graph.ranking import auroc, average_precision, rates, roc
from interpbench.problem import Discovery

SCORES = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        arrays(float, n, elements=st.sampled_from([-2.0, 0.0, 0.5, 0.5, 1.0, 3.0, np.inf])), arrays(bool, n)
    )
)


def finite(scores: np.ndarray) -> np.ndarray:
    """The same order for scikit-learn, which refuses infinity."""
    return np.where(np.isinf(scores), 99.0, scores)


@given(SCORES)
def test_areas_are_those_of_scikit_learn(both: tuple[np.ndarray, np.ndarray]) -> None:
    scores, true = both
    if true.any():
        assert average_precision(scores, true) == pytest.approx(metrics.average_precision_score(true, finite(scores)))
    if true.any() and not true.all():
        assert auroc(scores, true) == pytest.approx(metrics.roc_auc_score(true, finite(scores)))
        fpr, tpr = roc(scores, true)
        assert fpr is not None and tpr is not None
        assert metrics.auc(fpr, tpr) == pytest.approx(metrics.roc_auc_score(true, finite(scores)))
        theirs = metrics.roc_curve(true, finite(scores), drop_intermediate=False)
        assert np.allclose(np.interp(theirs[0], fpr, tpr)[-1], 1) and (fpr[0], tpr[0]) == (0, 0)
        assert {*zip(fpr, tpr, strict=True)} <= {*zip(*theirs[:2], strict=True)}


def test_ties_count_half() -> None:
    true = np.array([True, False, True, False])
    assert auroc(np.zeros(4), true) == 0.5
    assert auroc(np.array([1.0, 1.0, 1.0, 0.0]), true) == 0.75
    assert auroc(np.array([np.inf, 0.0, np.inf, 0.0]), true) == 1


def test_corners_only() -> None:
    true = np.array([True, True, True, False, False])
    fpr, tpr = roc(np.array([5.0, 4.0, 3.0, 2.0, 1.0]), true)
    assert fpr is not None and tpr is not None
    assert (fpr.tolist(), tpr.tolist()) == ([0, 0, 1], [0, 1, 1])


@pytest.mark.parametrize("true", [np.zeros(3, dtype=bool), np.ones(3, dtype=bool)])
def test_undefined_is_none(true: np.ndarray) -> None:
    scores = np.array([1.0, 2.0, 3.0])
    assert auroc(scores, true) is None and roc(scores, true) == (None, None)
    assert average_precision(scores, true) == (1.0 if true.any() else None)


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(arrays(bool, n), arrays(bool, n))))
def test_rates_are_those_of_scikit_learn(both: tuple[np.ndarray, np.ndarray]) -> None:
    chosen, true = both
    found = rates(chosen, true)
    for name, score in (("precision", "precision_score"), ("recall", "recall_score"), ("f1", "f1_score")):
        theirs = getattr(metrics, score)(true, chosen, zero_division=np.nan)
        assert found[name] is None if np.isnan(theirs) else found[name] == pytest.approx(theirs)
    assert found["tpr"] == found["recall"]
    assert found["fpr"] == ((chosen & ~true).sum() / (~true).sum() if not true.all() else None)
    assert found["hamming"] == (chosen != true).sum() and found["size"] == chosen.sum()


GRAPH = Graph(2, 2)
TRUTH = Circuit(GRAPH, frozenset(["embed->m0", "m0->a1.h0<v>", "pos->a1.h0<q>", "a1.h0->logits"]))


def test_a_perfect_discovery_is_perfect_everywhere() -> None:
    found = judge(Discovery(EdgeScores(GRAPH, GRAPH.mask(TRUTH.edges)), TRUTH), TRUTH)
    for granularity, size in (("edges", 4), ("heads", 4), ("nodes", 2)):
        numbers = found[granularity]
        assert (numbers["true"], numbers["auroc"], numbers["average_precision"]) == (size, 1, 1)
        assert (numbers["chosen"]["f1"], numbers["chosen"]["hamming"]) == (1, 0)
        assert numbers["n"] == len(GRAPH.universe(granularity))
    json.dumps(found, allow_nan=False)


def test_heads_merge_what_edges_keep_apart() -> None:
    """The right heads by the wrong input: wrong at `edges`, right at `heads` and `nodes`."""
    swapped = frozenset(edge.replace("<v>", "<k>").replace("embed", "pos") for edge in TRUTH.edges)
    found = judge(Discovery(EdgeScores(GRAPH, GRAPH.mask(swapped)), Circuit(GRAPH, swapped)), TRUTH)
    assert found["edges"]["chosen"]["tpr"] == 0.5 and found["edges"]["auroc"] < 1
    assert found["heads"]["auroc"] == found["heads"]["chosen"]["f1"] == found["nodes"]["auroc"] == 1


def test_no_chosen_circuit_is_none() -> None:
    found = judge(Discovery(EdgeScores(GRAPH, np.zeros(GRAPH.n_edges))), TRUTH)
    assert found["heads"]["chosen"] is None and found["heads"]["auroc"] == 0.5


def test_scores_of_another_graph_are_refused() -> None:
    other = Graph(1, 2)
    with pytest.raises(ValueError, match="expected Graph"):
        judge(Discovery(EdgeScores(other, np.zeros(other.n_edges))), TRUTH)
