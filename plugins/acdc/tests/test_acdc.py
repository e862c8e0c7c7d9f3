import numpy as np
import pytest
import torch

from interpbench.testing import random_problem, toy_problem
from interpbench_acdc import GRIDS, Acdc, Config
from interpbench_acdc.algorithm import visiting_order

TAUS = (1e-3, 1e-2, 0.1)


def plain_acdc(problem, kind, tau, order, absolute=False):
    """One edge at a time, a whole pass for each, no edge left out."""
    mask = torch.zeros(1, problem.graph.n_edges, dtype=torch.float64)
    current = problem.losses(mask, kind).item()
    for edge in order:
        mask[0, edge] = 1
        loss = problem.losses(mask, kind).item()
        rise = abs(loss - current) if absolute else loss - current
        if rise < tau:
            current = loss
        else:
            mask[0, edge] = 0
    return mask[0].numpy() == 1


SETTINGS = {
    "plain": ({}, "numerical", "mse", False, 0),
    "wide": ({"n_layers": 1, "n_heads": 4}, "categorical", "kl", False, 1),
    "deep": ({"n_layers": 3, "n_heads": 1}, "categorical", "ce", True, 7),
    "norm": ({"attention_dir": "causal", "normalization_type": "LN"}, "categorical", "kl", True, 2),
}


@pytest.mark.parametrize(("shape", "output", "kind", "absolute", "seed"), SETTINGS.values(), ids=SETTINGS)
def test_edges_are_those_of_the_plain_algorithm(shape, output, kind, absolute, seed):
    problem = random_problem(output, seed, rows=8, **shape)
    order = visiting_order(problem.graph, seed)
    plain = {tau: plain_acdc(problem, kind, tau, order, absolute) for tau in TAUS}
    assert len({cut.tobytes() for cut in plain.values()}) > 1, "the thresholds differ in effect"
    found = Acdc().discover(problem, Config(tau=TAUS, loss=kind, absolute=absolute, order_seed=seed))
    expected = np.full(problem.graph.n_edges, np.inf)
    for tau in reversed(TAUS):
        expected[plain[tau]] = tau
    assert np.array_equal(found.scores.values, expected)
    assert found.notes["edges_kept"] == [int((~plain[tau]).sum()) for tau in TAUS]
    for tau in TAUS[1:2]:
        alone = Acdc().discover(problem, Config(tau=(tau,), loss=kind, absolute=absolute, order_seed=seed))
        assert np.array_equal(alone.scores.values == tau, plain[tau])
        assert np.array_equal(alone.circuit.mask() == 0, plain[tau])


def test_several_thresholds_share_work():
    problem = random_problem("categorical", 3)
    together = Acdc().discover(problem, Config(tau=TAUS)).notes["tests"]
    apart = [Acdc().discover(problem, Config(tau=(tau,))).notes["tests"] for tau in TAUS]
    assert together < sum(apart) and max(apart) <= problem.graph.n_edges


def test_order_goes_from_the_output_back_and_visits_every_edge_once():
    graph = random_problem("categorical", 0).graph
    order = visiting_order(graph)
    assert sorted(order) == list(range(graph.n_edges))
    readers = list(dict.fromkeys(graph.edges[e].split("->")[1] for e in order))
    heads = [f"a1.h{h}<{x}>" for h in (1, 0) for x in "qkv"]
    assert readers[:8] == ["logits", "m1", *heads]
    assert [graph.edges[e] for e in order[:3]] == ["m1->logits", "a1.h1->logits", "a1.h0->logits"]
    shuffled = visiting_order(graph, 5)
    assert shuffled == visiting_order(graph, 5) != order
    assert list(dict.fromkeys(graph.edges[e].split("->")[1] for e in shuffled)) == readers


@pytest.mark.parametrize("output", ["categorical", "numerical"])
def test_finds_the_toy_circuit_and_nothing_else(output):
    problem, truth = toy_problem(output)
    found = Acdc().discover(problem, Config())
    assert found.circuit == truth
    assert set(found.scores.values[truth.mask() == 0]) == {min(GRIDS["log"])}


def test_thresholds():
    assert Config(tau=(0.5, 0.1, 0.5)).thresholds == (0.1, 0.5)
    assert Config(grid="paper").thresholds == GRIDS["paper"]
    with pytest.raises(ValueError, match=r"tau is -1, expected at least 0"):
        Config(tau=(-1,))
