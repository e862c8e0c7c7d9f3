import numpy as np
import pytest
import torch

from interpbench.problem import Incremental, make_problem
from interpbench.testing.toys import random_problem

SHAPES = {
    "bidirectional": {},
    "causal": {"attention_dir": "causal"},
    "deep": {"normalization_type": "LN", "n_heads": 1, "n_layers": 3},
    "wide heads": {"d_head": 10, "attention_dir": "causal", "normalization_type": "LNPre"},
}
KINDS = [("categorical", "kl", "resample"), ("numerical", "mse", "mean")]


def plain_loss(problem, cut, kind):
    return problem.losses(torch.tensor(cut, dtype=torch.float64)[None], kind).item()


def last_scored(problem):
    scored = torch.zeros_like(problem.scored)
    scored[:, -1] = True
    return make_problem(problem.model, problem.clean, problem.corrupted, problem.output, scored, problem.ablation)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("output", "kind", "ablation"), KINDS)
@pytest.mark.parametrize("last", [False, True])
def test_equals_a_whole_pass_after_every_cut(shape, output, kind, ablation, last):
    problem = random_problem(output, 0, ablation, rows=8, **shape)
    problem = last_scored(problem) if last else problem
    rng = np.random.default_rng(0)
    state, cut = Incremental(problem, kind), np.zeros(problem.graph.n_edges, dtype=bool)
    for edge in reversed(range(problem.graph.n_edges)):
        if rng.random() < 0.4:
            attempt = state.attempt(edge)
            cut[edge] = True
            assert attempt.loss == pytest.approx(plain_loss(problem, cut, kind), abs=1e-10)
            cut[edge] = rng.random() < 0.7
            if cut[edge]:
                state.accept(edge, attempt)
    assert np.array_equal(state.cut, cut) and state.loss == pytest.approx(plain_loss(problem, cut, kind), abs=1e-10)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_starts_with_any_set_of_cuts(shape):
    problem = random_problem("categorical", 1, rows=8, **shape)
    for seed in range(10):
        cut = np.random.default_rng(seed).random(problem.graph.n_edges) < 0.1 * seed
        assert Incremental(problem, "kl", cut).loss == pytest.approx(plain_loss(problem, cut, "kl"), abs=1e-10)


def test_what_cannot_reach_the_output_is_not_alive():
    problem = random_problem("categorical", 2)
    graph = problem.graph
    cut = np.zeros(graph.n_edges, dtype=bool)
    cut[graph.edges_from("m1")] = True
    cut[graph.indices(["a1.h0->logits"])] = True
    state = Incremental(problem, "kl", cut)
    dead = {"m1", "a1.h0<q>", "a1.h0<k>", "a1.h0<v>"}
    for i, edge in enumerate(graph.edges):
        assert state.alive(i) == (edge.split("->")[1] not in dead)
        if not state.alive(i):
            assert state.attempt(i).loss == state.loss
