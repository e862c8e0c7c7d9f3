"""A discovery judged by what can be seen and by construction, against a plain loop with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from interpbench.certificate.edge_classes import EdgeClasses
from interpbench.evaluation.judge import identifiable, judge, judge_chosen
from interpbench.graph import Circuit, EdgeScores, Graph
from interpbench.graph.graph import GRANULARITIES, Granularity
from interpbench.problem import Discovery

ORDERS = 8
INSUFFICIENT = EdgeClasses("resample", 0, 8, ORDERS, 0.5)


def classes_of(kept: dict[str, int], smallest: tuple[str, ...] = ()) -> EdgeClasses:
    return EdgeClasses("resample", 0, 8, ORDERS, 1.0, kept, (), smallest, 1.0)


def found(graph: Graph, scores: Any, circuit: Circuit | None = None) -> Discovery:
    return Discovery(EdgeScores(graph, np.asarray(scores, dtype=float)), circuit)


def members_of(edge: str, granularity: Granularity) -> list[str]:
    """The members of the universe that an edge merges into, from its name."""
    writer, reader = (end.split("<")[0] for end in edge.split("->"))
    writer = "input" if writer in ("embed", "pos") else writer
    if granularity == "edges":
        return [edge]
    if granularity == "nodes":
        return [end for end in (writer, reader) if end not in ("input", "logits")]
    return [] if (writer, reader) == ("input", "logits") else [f"{writer}->{reader}"]


@dataclass
class Member:
    """One of the universe, by the edges that merge into it."""

    score: float = -np.inf
    is_true: bool = False
    is_seen: bool = False


def plainly(graph: Graph, scores: Any, kept: dict[str, int], granularity: Granularity) -> dict[str, Member]:
    members: dict[str, Member] = {}
    for edge, score in zip(graph.edges, scores, strict=True):
        for name in members_of(edge, granularity):
            member = members.setdefault(name, Member())
            member.score = max(member.score, float(score))
            member.is_true |= edge in kept
            member.is_seen |= kept.get(edge, 0) > 0
    return members


def ranked(pairs: list[tuple[float, bool]]) -> dict[str, Any]:
    scores, true = [score for score, _ in pairs], [is_true for _, is_true in pairs]
    some, mixed = any(true), len(set(true)) == 2
    return {
        "n": len(true),
        "true": sum(true),
        "auroc": pytest.approx(roc_auc_score(true, scores)) if mixed else None,
        "average_precision": pytest.approx(average_precision_score(true, scores)) if some else None,
    }


@st.composite
def judged(draw: st.DrawFn) -> tuple[tuple[int, int], list[int], dict[int, int]]:
    """Layers and heads, scores with ties, and how many minimal circuits hold each true edge, by its position."""
    layers, heads = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    ends = 2 + layers * (heads + 1)
    edges = ends + sum(3 * heads * n + n + heads for n in range(2, ends, heads + 1))
    scores = draw(st.lists(st.integers(-3, 3), min_size=edges, max_size=edges))
    counts = st.sampled_from([0, 0, 3, ORDERS])
    kept = draw(st.dictionaries(st.integers(0, edges - 1), counts, min_size=1, max_size=draw(st.integers(1, edges))))
    return (layers, heads), scores, kept


@settings(deadline=None, max_examples=60)
@given(judged())
def test_both_answers_are_those_of_a_plain_loop(drawn: tuple[tuple[int, int], list[int], dict[int, int]]) -> None:
    size, scores, counts = drawn
    graph = Graph(*size)
    assert graph.n_edges == len(scores)
    kept = {graph.edges[i]: count for i, count in sorted(counts.items())}
    truth = Circuit(graph, frozenset(kept))
    result = judge(found(graph, scores), truth, classes_of(kept))
    for granularity in GRANULARITIES:
        members = plainly(graph, scores, kept, granularity)
        assert set(members) == set(graph.universe(granularity))
        whole = ranked([(each.score, each.is_true) for each in members.values()])
        counted = [each for each in members.values() if each.is_seen or not each.is_true]
        seen = ranked([(each.score, each.is_seen) for each in counted])
        got = dict(result[granularity])
        assert got.pop("identifiable") == {**seen, "ignored": len(members) - len(counted)}
        assert {name: got[name] for name in whole} == whole and got["chosen"] is None


@settings(deadline=None, max_examples=40)
@given(judged(), st.integers(0, 2**32 - 1))
def test_what_is_ignored_counts_for_nothing(
    drawn: tuple[tuple[int, int], list[int], dict[int, int]], seed: int
) -> None:
    """Any scores of edges that only merge into ignored members leave the answer as it is."""
    size, scores, counts = drawn
    graph = Graph(*size)
    kept = {graph.edges[i]: count for i, count in counts.items()}
    truth, classes = Circuit(graph, frozenset(kept)), classes_of(kept)
    for granularity in GRANULARITIES:
        members = plainly(graph, scores, kept, granularity)
        ignored = {name for name, each in members.items() if each.is_true and not each.is_seen}
        other = np.array(scores, dtype=float)
        for i, edge in enumerate(graph.edges):
            if set(members_of(edge, granularity)) <= ignored:
                other[i] = np.random.default_rng([seed, i]).normal(scale=10)
        before, after = (judge(found(graph, each), truth, classes)[granularity] for each in (scores, other))
        assert before["identifiable"] == after["identifiable"]


@settings(deadline=None, max_examples=30)
@given(judged())
def test_if_every_true_edge_is_seen_both_answers_are_the_same(
    drawn: tuple[tuple[int, int], list[int], dict[int, int]],
) -> None:
    size, scores, counts = drawn
    graph = Graph(*size)
    kept = {graph.edges[i]: max(count, 1) for i, count in counts.items()}
    result = judge(found(graph, scores), Circuit(graph, frozenset(kept)), classes_of(kept))
    for each in result.values():
        seen = dict(each["identifiable"])
        assert seen.pop("ignored") == 0
        assert seen == {name: each[name] for name in seen}


GRAPH = Graph(2, 2)
KEPT = {
    "embed->a0.h0<q>": 0,
    "embed->a0.h0<k>": ORDERS,
    "pos->a0.h1<k>": 0,
    "pos->a0.h1<q>": 0,
    "a0.h0->m1": 3,
    "a0.h1->m1": 0,
    "m1->logits": ORDERS,
}
TRUE = Circuit(GRAPH, frozenset(KEPT))
CLASSES = classes_of(KEPT, smallest=("embed->a0.h0<k>", "m1->logits"))


@pytest.mark.parametrize(
    ("granularity", "positive", "ignored"),
    [
        (
            "edges",
            {"embed->a0.h0<k>", "a0.h0->m1", "m1->logits"},
            {"embed->a0.h0<q>", "pos->a0.h1<k>", "pos->a0.h1<q>", "a0.h1->m1"},
        ),
        ("heads", {"input->a0.h0", "a0.h0->m1", "m1->logits"}, {"input->a0.h1", "a0.h1->m1"}),
        ("nodes", {"a0.h0", "m1"}, {"a0.h1"}),
    ],
)
def test_members_are_positive_or_ignored_by_the_best_of_their_edges(
    granularity: Granularity, positive: set[str], ignored: set[str]
) -> None:
    names = np.array(GRAPH.universe(granularity))
    is_positive, is_ignored = identifiable(TRUE, CLASSES, granularity)
    assert set(names[is_positive]) == positive and set(names[is_ignored]) == ignored


def test_leaving_out_what_no_answer_shows_is_no_fault() -> None:
    """A technique that ranks the seen edges first and the dispensable ones last is right, and by construction wrong."""
    scores = [2.0 if KEPT.get(edge) else -float(edge in KEPT) for edge in GRAPH.edges]
    result = judge(found(GRAPH, scores), TRUE, CLASSES)
    for granularity in GRANULARITIES:
        assert result[granularity]["identifiable"]["auroc"] == 1.0
    assert result["edges"]["auroc"] == pytest.approx(3 / 7)
    upside_down = judge(found(GRAPH, [-score for score in scores]), TRUE, CLASSES)
    assert upside_down["edges"]["identifiable"]["auroc"] == 0.0


@pytest.mark.parametrize("classes", [None, INSUFFICIENT])
def test_without_classes_nothing_is_identifiable(classes: EdgeClasses | None) -> None:
    result = judge(found(GRAPH, np.arange(GRAPH.n_edges)), TRUE, classes)
    assert all(each["identifiable"] is None and each["auroc"] is not None for each in result.values())
    with pytest.raises(ValueError, match=r"under resample the true circuit keeps 0\.500 of the answers: no classes"):
        identifiable(TRUE, INSUFFICIENT, "edges")


def test_scores_over_another_graph_are_refused() -> None:
    other = Graph(1, 2)
    with pytest.raises(ValueError, match="expected Graph"):
        judge(found(other, np.zeros(other.n_edges)), TRUE, CLASSES)


def test_nothing_seen_leaves_no_number() -> None:
    result = judge(found(GRAPH, np.zeros(GRAPH.n_edges)), TRUE, classes_of(dict.fromkeys(KEPT, 0)))
    seen = result["edges"]["identifiable"]
    assert (seen["true"], seen["ignored"], seen["auroc"], seen["average_precision"]) == (0, len(KEPT), None, None)


def chosen(*edges: str, granularity: Granularity = "edges") -> Circuit:
    return Circuit(GRAPH, frozenset(edges), granularity)


MINIMAL = ("embed->a0.h0<k>", "a0.h0->m1", "m1->logits")


@pytest.mark.parametrize(
    ("circuit", "accuracy", "false", "core", "sufficient", "exact"),
    [
        (chosen(*KEPT), 1.0, 0, 1.0, True, True),
        (chosen(*MINIMAL), 0.99, 0, 1.0, True, True),
        (chosen(*MINIMAL), 0.9899, 0, 1.0, False, False),
        (chosen("a0.h0->m1", "m1->logits"), 0.3, 0, 0.5, False, False),
        (chosen(*MINIMAL, "embed->logits", "m0->logits"), 1.0, 2, 1.0, True, False),
        (chosen("embed->a0.h0<q>", "pos->a0.h1<k>"), 0.2, 0, 0.0, False, False),
        (chosen("m0->logits"), 1.0, 1, 0.0, True, False),
        (chosen(), 0.1, 0, 0.0, False, False),
        (chosen(*GRAPH.edges), 1.0, GRAPH.n_edges - len(KEPT), 1.0, True, False),
    ],
)
def test_a_chosen_circuit(
    circuit: Circuit, accuracy: float, false: int, core: float, sufficient: bool, exact: bool
) -> None:
    assert judge_chosen(circuit, TRUE, accuracy, CLASSES) == {
        "edges": len(circuit.edges),
        "false_edges": false,
        "core_found": core,
        "accuracy": accuracy,
        "sufficient": sufficient,
        "exact": exact,
        "smallest": 2,
    }


@pytest.mark.parametrize(
    ("names", "false", "core", "exact"),
    [
        (("input->a0.h0", "a0.h0->m1", "m1->logits"), 0, 1.0, True),
        (("input->a0.h1", "a0.h1->m1", "m1->logits"), 0, 0.5, True),
        (("input->a0.h0", "input->m0", "a0.h0->m1", "m1->logits"), 1, 1.0, False),
        (("input->m0", "m0->logits"), 2, 0.0, False),
    ],
)
def test_a_chosen_circuit_at_heads_counts_heads(names: tuple[str, ...], false: int, core: float, exact: bool) -> None:
    """A merged edge is false if none of its edges is true; it holds every core edge that merges into it."""
    result = judge_chosen(chosen(*names, granularity="heads"), TRUE, 1.0, CLASSES)
    assert (result["edges"], result["false_edges"], result["core_found"]) == (len(names), false, core)
    assert result["sufficient"] and result["exact"] is exact


@settings(deadline=None, max_examples=40)
@given(st.sets(st.sampled_from(GRAPH.edges)), st.floats(0, 1))
def test_a_chosen_circuit_by_counting(edges: set[str], accuracy: float) -> None:
    result = judge_chosen(chosen(*edges), TRUE, accuracy, CLASSES)
    assert result["false_edges"] == len(edges - KEPT.keys())
    assert result["core_found"] == len(edges & {"embed->a0.h0<k>", "m1->logits"}) / 2
    assert result["exact"] == (edges <= KEPT.keys() and accuracy >= 0.99)
    merged = judge_chosen(chosen(*edges).heads(), TRUE, accuracy, CLASSES)
    names = {name for edge in edges for name in members_of(edge, "heads")}
    true = {name for edge in KEPT for name in members_of(edge, "heads")}
    assert (merged["edges"], merged["false_edges"]) == (len(names), len(names - true))


@pytest.mark.parametrize("classes", [None, INSUFFICIENT])
def test_a_chosen_circuit_without_classes(classes: EdgeClasses | None) -> None:
    result = judge_chosen(chosen(*MINIMAL), TRUE, 1.0, classes)
    assert (result["core_found"], result["smallest"]) == (None, None)
    assert result["exact"] and result["false_edges"] == 0


def test_without_core_edges_no_share_of_them_is_found() -> None:
    classes = replace(CLASSES, kept=dict.fromkeys(KEPT, 3))
    assert judge_chosen(chosen(*MINIMAL), TRUE, 1.0, classes)["core_found"] is None
