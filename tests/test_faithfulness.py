"""MIB's numbers, on graphs made by hand and against a plain loop."""

from __future__ import annotations

import json
import math
import runpy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import interpbench as ib
from interpbench.evaluation.circuit_score import evaluate_circuit
from interpbench.evaluation.faithfulness import (
    SHARES,
    faithfulness,
    faithfulness_curve,
    greedy_auroc,
    greedy_circuits,
)
from interpbench.graph import Circuit, EdgeScores, Graph
from interpbench.graph.circuit_file import read_circuit_file
from interpbench.problem import ABLATIONS, Ablation, Problem, make_problem
from interpbench.testing.toys import random_problem, toy_problem

DATA = Path(__file__).parent / "data"
CASES = ("ioi", "3", "2")
"""Edge scores of these cases are recorded as MIB's circuit files, with the numbers of MIB's own code."""

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


def plain_growth(scores: EdgeScores, size: int) -> set[str]:
    """A greedily grown circuit: the whole frontier is looked through for every edge, and networkx prunes."""
    best: dict[str, float] = {}
    for name, score in zip(scores.graph.edges, scores.values, strict=True):
        merged = name.replace("embed->", "input->").replace("pos->", "input->")
        best[merged] = max(score, best.get(merged, -np.inf))
    ends = {name: (name.split("->")[0], name.split("->")[1].split("<")[0]) for name in best}
    nodes, edges = {"logits"}, set[str]()
    for _ in range(size):
        edges.add(max((e for e in best if e not in edges and ends[e][1] in nodes), key=lambda e: abs(best[e])))
        nodes = {"logits"} | {ends[e][0] for e in edges}
    grown = nx.DiGraph([ends[e] for e in edges])
    if "input" not in grown:
        return set()
    between = (nx.descendants(grown, "input") | {"input"}) & (nx.ancestors(grown, "logits") | {"logits"})
    return {e for e in edges if between.issuperset(ends[e])}


def plain_area(circuits: list[set[str]], true: set[str], n: int) -> float:
    points = [(len(c - true) / (n - len(true)), len(c & true) / len(true)) for c in circuits]
    return sum((x - w) * (y + v) / 2 for (w, v), (x, y) in pairwise(points))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 10**6))
def test_circuits_grow_as_in_a_plain_loop(n_layers: int, n_heads: int, seed: int) -> None:
    graph = Graph(n_layers, n_heads)
    scores, names = random_scores(graph, seed), graph.universe("mib")
    sizes = [math.ceil(share * len(names)) for share in SHARES]
    slow = [plain_growth(scores, size) for size in sizes]
    fast = [{name for name, kept in zip(names, row, strict=True) if kept} for row in greedy_circuits(scores)]
    assert fast == slow and fast[-1] == set(names)
    truth = Circuit(graph, frozenset(np.random.default_rng(seed).choice(graph.edges, 4, replace=False).tolist()))
    true = {name for name, held in zip(names, truth.members("mib"), strict=True) if held}
    assert greedy_auroc(scores, truth) == pytest.approx(plain_area(slow, true, len(names)))


def recorded(case: str) -> tuple[EdgeScores, Circuit, dict[str, Any]]:
    path = DATA / f"mib_case_{case}.json"
    data = json.loads(path.read_text())
    graph = Graph(data["cfg"]["n_layers"], data["cfg"]["n_heads"])
    told = data["recorded"]
    return read_circuit_file(path, graph).scores, Circuit(graph, frozenset(told["true"])), told


@pytest.mark.parametrize("case", CASES)
def test_auroc_of_mib_s_own_code(case: str) -> None:
    scores, truth, theirs = recorded(case)
    circuits, true = greedy_circuits(scores), truth.members("mib")
    assert circuits[:, true].mean(-1) == pytest.approx(theirs["tpr"], abs=1e-6)
    assert circuits[:, ~true].mean(-1) == pytest.approx(theirs["fpr"], abs=1e-6)
    assert greedy_auroc(scores, truth) == pytest.approx(theirs["auroc"], abs=1e-6)


@pytest.mark.parametrize("case", ["3", "2"])
def test_cpr_and_cmd_of_mib_s_own_code(case: str) -> None:
    scores, _, theirs = recorded(case)
    subject = ib.load_subject(case, DATA / f"case_{case}_version_1")
    found = evaluate_circuit(subject, subject.circuit, scores, samples=theirs["samples"], seed=theirs["seed"]).mib
    assert found.faithfulness == pytest.approx(theirs["faithfulness"], abs=1e-4)
    assert (found.cpr, found.cmd) == (pytest.approx(theirs["cpr"], abs=1e-4), pytest.approx(theirs["cmd"], abs=1e-4))


def test_auroc_takes_sizes_where_faithfulness_takes_signs() -> None:
    scores, truth, theirs = recorded("3")
    sign = np.where(np.random.default_rng(0).random(len(scores.graph.universe("mib"))) < 0.5, -1, 1)
    signed = EdgeScores(scores.graph, scores.values * scores.graph.spread(sign, "mib"))
    assert greedy_auroc(signed, truth) == pytest.approx(theirs["auroc"], abs=1e-6)
    subject = ib.load_subject("3")
    by_sign, by_size = (evaluate_circuit(subject, truth, signed, samples=100, absolute=x) for x in (False, True))
    plain = evaluate_circuit(subject, truth, scores, samples=100)
    assert by_size.mib == plain.mib != by_sign.mib
    assert (by_sign.absolute, by_size.absolute) == (False, True)


def test_the_command_ranks_by_size_when_it_should(cli: Callable) -> None:
    words = ("eval", "circuit", "--case", "3", "--samples", "50")
    file = ("--file", DATA / "mib_case_3.json")
    told = json.loads(cli(*words, *file, "--absolute", "--json").out)
    assert told["absolute"] and told["auroc"] == pytest.approx(recorded("3")[2]["auroc"], abs=1e-6)
    assert not json.loads(cli(*words, *file, "--json").out)["absolute"]
    assert "edges by absolute score" in cli(*words, *file, "--absolute").out
    assert cli(*words, "--true", "--absolute").err == (
        "error: --absolute ranks the scores of a --file; the true circuit has none\n"
    )


def test_an_edge_without_a_path_from_the_input_is_pruned() -> None:
    graph = Graph(2, 1)
    path = ["pos->a0.h0<q>", "a0.h0->m1", "m1->logits"]
    for extra, stays in (("m0->logits", False), ("embed->m0", False), ("a0.h0->a1.h0<k>", False), ("embed->m1", True)):
        kept = graph.mask([*path, extra]) > 0
        left = {name for name, held in zip(graph.edges, graph.on_paths(kept), strict=True) if held}
        assert left == {*path, *([extra] if stays else [])}


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_edges_on_no_path_change_no_faithfulness(ablation: Ablation) -> None:
    problem = random_problem("categorical", 1, rows=6, n_layers=3, ablation=ablation)
    graph = problem.graph
    kept = np.random.default_rng(0).random((20, graph.n_edges)) < 0.15
    left = problem.on_paths(kept)
    assert (kept != left).any(-1).sum() > 10
    whole, pruned = (faithfulness(problem, torch.from_numpy(~x).to(problem.full)) for x in (kept, left))
    assert whole == pytest.approx(pruned, abs=1e-9)


def test_auroc_without_true_or_without_false_edges() -> None:
    graph = Graph(1, 1)
    for edges in ((), graph.edges):
        assert greedy_auroc(random_scores(graph, 0), Circuit(graph, frozenset(edges))) is None
