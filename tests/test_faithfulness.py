"""MIB's numbers, on graphs made by hand and against a plain loop."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics

from interpbench.evaluation.faithfulness import SHARES, edge_auroc, faithfulness, faithfulness_curve
from interpbench.graph import Circuit, EdgeScores, Graph
from interpbench.problem import Problem, make_problem
from interpbench.testing.toys import random_problem, toy_problem

plain = runpy.run_path(str(Path(__file__).parent / "benchmarks" / "plain.py"))


def random_scores(graph: Graph, seed: int) -> EdgeScores:
    return EdgeScores(graph, np.random.default_rng(seed).normal(size=graph.n_edges))


def textbook(problem: Problem, scores: EdgeScores) -> tuple[list[float], float, float]:
    """f, CPR and CMD: one circuit, one pass and one position at a time, on a dictionary of merged edges."""
    best: dict[str, float] = {}
    for edge, score in zip(scores.graph.edges, scores.values, strict=True):
        merged = edge.replace("embed->", "input->").replace("pos->", "input->")
        best[merged] = max(score, best.get(merged, -np.inf))
    _, other, _ = plain["forward"](problem.model, problem.corrupted)
    other_answers = problem.corrupted_full

    def m(kept: set[str]) -> float:
        cut = {e for e in scores.graph.edges if e.replace("embed->", "input->").replace("pos->", "input->") not in kept}
        logits, _, _ = plain["forward"](problem.model, problem.clean, cut, other)
        told = []
        for row, position in problem.scored.nonzero().tolist():
            here, right, wrong = (x[row, position] for x in (logits, problem.full, other_answers))
            if problem.output == "categorical":
                told.append((here[right.argmax()] - here[wrong.argmax()]).item())
            else:
                told.append(-((here - right) * (wrong - right)).item())
        return sum(told) / len(told)

    ordered = sorted(best, key=best.__getitem__, reverse=True)
    full, nothing = m(set(best)), m(set())
    f = [(m(set(ordered[: int(share * len(best))])) - nothing) / (full - nothing) for share in SHARES]
    cpr = cmd = 0.0
    for i in range(1, len(f)):
        width = SHARES[i] - SHARES[i - 1]
        cpr += width * (f[i] + f[i - 1]) / 2
        cmd += width * (abs(1 - f[i]) + abs(1 - f[i - 1])) / 2
    return f, cpr, cmd


@pytest.mark.parametrize(("output", "shape"), [("categorical", {"n_layers": 3}), ("numerical", {"n_heads": 3})])
def test_agrees_with_a_textbook_loop(output: str, shape: dict[str, int]) -> None:
    problem = random_problem(output, 1, rows=6, **shape)
    scores = random_scores(problem.graph, 2)
    f, cpr, cmd = textbook(problem, scores)
    found = faithfulness_curve(problem, scores)
    assert found.faithfulness == pytest.approx(f, abs=1e-9)
    assert (found.cpr, found.cmd) == (pytest.approx(cpr), pytest.approx(cmd))
    assert found.faithfulness[-1] == 1 and len({round(x, 6) for x in f}) > 3


def test_the_merged_graph() -> None:
    """One layer of one head by hand: four readers and the logits, of which one can be read from three merged nodes."""
    graph = Graph(1, 1)
    heads = [f"input->a0.h0<{x}>" for x in "qkv"]
    last = ["input->m0", "a0.h0->m0", "input->logits", "a0.h0->logits", "m0->logits"]
    assert graph.universe("mib") == (*heads, *last)
    values = np.zeros(graph.n_edges)
    values[graph.indices(["embed->a0.h0<k>", "pos->a0.h0<k>", "a0.h0->logits"])] = (2, 5, 3)
    assert graph.merge(values, "mib").tolist() == [0, 5, 0, 0, 0, 0, 3, 0]
    assert edge_auroc(EdgeScores(graph, values), Circuit(graph, frozenset(["embed->a0.h0<k>"]))) == 1
    kept = graph.spread(graph.merge(values, "mib"), "mib") == 5
    assert {edge for edge, inside in zip(graph.edges, kept) if inside} == {"embed->a0.h0<k>", "pos->a0.h0<k>"}


def test_a_perfect_ranking_is_faithful_as_soon_as_it_holds_the_circuit() -> None:
    for output in ("numerical", "categorical"):
        problem, truth = toy_problem(output)
        found = faithfulness_curve(problem, EdgeScores(problem.graph, truth.mask()))
        size = int(truth.members("mib").sum())
        assert any(kept < size for kept in found.kept) and found.kept[-1] == len(problem.graph.universe("mib"))
        for kept, f in zip(found.kept, found.faithfulness, strict=True):
            assert (f == pytest.approx(1, abs=1e-4)) == (kept >= size)
        backwards = faithfulness_curve(problem, EdgeScores(problem.graph, -truth.mask()))
        assert backwards.cpr < 0.6 < found.cpr and found.cmd < 0.3 < backwards.cmd


def test_kept_edges_are_counted_exactly() -> None:
    """A share times a number of edges that is whole on paper stays whole."""
    problem = random_problem("categorical", 0, rows=2, n_layers=1, n_heads=6)
    n = len(problem.graph.universe("mib"))
    shares = [i / n for i in range(n + 1)]
    assert faithfulness_curve(problem, random_scores(problem.graph, 0), shares).kept == tuple(range(n + 1))


@pytest.mark.parametrize("output", ["categorical", "numerical"])
def test_undefined_where_nothing_can_be_lost(output: str) -> None:
    drawn = random_problem(output, 3)
    problem = make_problem(drawn.model, drawn.clean, drawn.clean, drawn.output)
    assert faithfulness(problem, torch.ones(1, problem.graph.n_edges)) is None
    found = faithfulness_curve(problem, random_scores(problem.graph, 0))
    assert (found.faithfulness, found.cpr, found.cmd) == (None, None, None)


def test_another_graph_is_refused() -> None:
    problem = random_problem("categorical", 0)
    with pytest.raises(ValueError, match=r"expected Graph\(n_layers=2, n_heads=2\)"):
        faithfulness_curve(problem, random_scores(Graph(1, 1), 0))


def test_auroc_is_that_of_scikit_learn_on_the_merged_edges() -> None:
    graph = Graph(2, 3)
    scores = random_scores(graph, 4)
    truth = Circuit(graph, frozenset(np.random.default_rng(1).choice(graph.edges, 12, replace=False).tolist()))
    theirs = metrics.roc_auc_score(truth.members("mib"), graph.merge(scores.values, "mib"))
    assert edge_auroc(scores, truth) == pytest.approx(theirs)
    assert edge_auroc(scores, Circuit(graph, frozenset())) is None
