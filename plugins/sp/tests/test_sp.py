import numpy as np
import pytest
import torch

from interpbench import Graph
from interpbench.problem import ABLATIONS, make_problem
from interpbench.testing import random_problem, toy_problem
from interpbench_sp import Config, Sp, algorithm
from interpbench_sp.algorithm import (
    SHIFT,
    START,
    LearntConstants,
    between_nodes,
    edge_units,
    hard_concrete,
    node_units,
    train,
)

SHORT = Config(steps=20, draws=4)


@pytest.mark.parametrize("output", ["categorical", "numerical"])
def test_finds_the_toy_circuit(output):
    problem, truth = toy_problem(output)
    found = Sp().discover(problem, Config())
    assert found.circuit == truth
    assert found.notes["steps"][0] < Config().steps, "it stops when the mask no longer changes"


def test_the_seed_decides():
    one, same, another = (Sp().discover(toy_problem("categorical", seed=s)[0], SHORT) for s in (0, 0, 1))
    assert np.array_equal(one.scores.values, same.scores.values)
    assert not np.array_equal(one.scores.values, another.scores.values)


def test_a_mask_does_not_depend_on_the_other_lambdas():
    problem, _ = toy_problem("numerical")
    units = edge_units(problem.graph)
    both = Sp().discover(problem, Config(steps=20, draws=4, lambda_=(1.0, 9.0)))
    scale = both.notes["lambda_scale"]
    each = [train(problem, SHORT, "mse", units, torch.tensor([scale * weight]))[0] for weight in (1.0, 9.0)]
    assert np.allclose(both.scores.values, torch.cat(each).mean(0).numpy())
    assert len(both.notes["edges_kept"]) == 2


def test_hard_concrete_starts_kept_with_probability_nine_tenths():
    noise = torch.empty(200_000, dtype=torch.float64).uniform_(
        1e-4, 1 - 1e-4, generator=torch.Generator().manual_seed(0)
    )
    keep = hard_concrete(START + noise.logit())
    assert keep.min() == 0 and keep.max() == 1
    assert (keep > 0).double().mean().item() == pytest.approx(0.9, abs=0.003)
    assert torch.sigmoid(torch.tensor(START - SHIFT)).item() == pytest.approx(0.9)
    assert hard_concrete(torch.tensor(0.0)).item() == pytest.approx(0.5), "kept if theta > 0"


def test_nodes_are_inputs_of_heads_and_outputs_of_mlps():
    graph = Graph(2, 2)
    units = node_units(graph)
    assert units.max() == 2 * 2 * 3 + 2 - 1
    of = {edge: {u for u in units[i].tolist() if u >= 0} for i, edge in enumerate(graph.edges)}
    assert of["embed->logits"] == set() and len(of["m0->a1.h0<q>"]) == 2
    assert of["m0->m1"] == of["m0->logits"] | of["m1->logits"] and of["embed->a1.h0<q>"] == of["pos->a1.h0<q>"]
    theta = torch.arange(float(units.max() + 1))[None]
    value = dict(zip(graph.edges, between_nodes(graph, theta)[0].tolist(), strict=True))
    unit = {edge: max(of[edge]) for edge in graph.edges if len(of[edge]) == 1}
    assert value["a0.h1->logits"] == unit["embed->a0.h1<v>"], "a head that writes is kept as its q, k or v is"
    assert value["a0.h0->a1.h1<k>"] == unit["embed->a0.h0<v>"] < unit["embed->a1.h1<k>"]
    assert value["m0->a1.h0<q>"] == min(of["m0->a1.h0<q>"]) and value["embed->m1"] == unit["embed->m1"]
    problem, truth = toy_problem("numerical")
    found = Sp().discover(problem, Config(edgewise=False))
    assert truth.edges <= found.circuit.edges and not np.isinf(found.scores.values).any()
    assert found.notes["units"] == "nodes"


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="lambda is"):
        Config(lambda_=())
    with pytest.raises(ValueError, match="steps is 0"):
        Config(steps=0)


@pytest.mark.parametrize("output", ["categorical", "numerical"])
def test_a_target_is_the_share_that_is_kept(output):
    problem, truth = toy_problem(output)
    edges, true = problem.graph.n_edges, len(truth.edges)
    assert Sp().discover(problem, Config(target=true / edges)).circuit == truth
    problem = random_problem(output, 3)
    found = Sp().discover(problem, Config(target=0.3, steps=20))
    best = found.scores.values > np.quantile(found.scores.values, 0.7)
    assert best.sum() == pytest.approx(0.3 * edges, abs=1)
    (on_paths,) = problem.on_paths(best[None])
    assert np.array_equal(found.circuit.mask() > 0, on_paths) and found.notes["edges_kept"] == [on_paths.sum()]


@pytest.mark.parametrize("output", ["categorical", "numerical"])
def test_constants_are_learnt_with_the_mask(output):
    problem, truth = toy_problem(output)
    assert Sp().discover(problem, Config(constant="learnt")).scores.top(len(truth.edges)) == truth
    learnt = LearntConstants(problem)
    start = learnt.values.clone()
    masks = problem.full.new_full((2, problem.graph.n_edges), 0.5)
    slope = learnt.step(problem, masks, "mse", 0.1)
    assert slope.shape == masks.shape and not torch.equal(learnt.values, start)
    assert learnt.values.shape == (*problem.other.shape[:2], 1, 1)


def test_a_share_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="target is 1"):
        Config(target=1.0)


@pytest.mark.parametrize("edgewise", [True, False])
def test_where_nothing_matters_nothing_is_kept(edgewise):
    """Clean and corrupted inputs are the same: cutting an edge changes nothing."""
    toy, _ = toy_problem("categorical")
    problem = make_problem(toy.model, toy.clean, toy.clean, "categorical", toy.scored)
    found = Sp().discover(problem, Config(edgewise=edgewise, draws=2, rows=4))
    assert found.circuit.edges == frozenset() and found.notes["edges_kept"] == [0]


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_edges_on_no_path_are_not_chosen(monkeypatch, ablation):
    """Under mean and zero ablation a node that no input reaches may still say something."""
    problem = random_problem("categorical", 1, rows=6, ablation=ablation)
    path, nowhere, unfed = ("pos->a0.h0<q>", "a0.h0->m1", "m1->logits"), "embed->m0", "a1.h0->logits"
    theta = torch.from_numpy(problem.graph.mask([*path, nowhere, unfed]))[None] - 0.5
    monkeypatch.setattr(algorithm, "train", lambda *_: (theta, [1]))
    resampled = ablation in ("resample", "positions")
    assert Sp().discover(problem, Config()).circuit.edges == {*path, *([] if resampled else [unfed])}
