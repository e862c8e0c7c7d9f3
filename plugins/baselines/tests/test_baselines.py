from dataclasses import replace

import numpy as np
import pytest
import torch

from interpbench import Transformer, UsageError
from interpbench.problem import make_problem
from interpbench.testing import random_problem, toy_problem
from interpbench_baselines import NoOptions, Norm, Patching, PatchingConfig, Random, interpbench_techniques
from interpbench_baselines.patching import denoising, noising, union

OUTPUTS = ["categorical", "numerical"]


def draw(problem):
    return Random().discover(problem, NoOptions()).scores.values


def test_all_are_marked_as_baselines():
    assert {technique.name: technique.baseline for technique in interpbench_techniques()} == dict.fromkeys(
        ["random", "norm", "patching"], True
    )


def test_random_scores_differ_by_seed_inputs_and_model():
    problem = random_problem("categorical", 0)
    weights = {name: weight + 1 for name, weight in problem.model.weights.items()}
    others = [
        draw(replace(problem, seed=1)),
        draw(problem.take(slice(5))),
        draw(replace(problem, model=Transformer(problem.model.config, weights))),
    ]
    first = draw(problem)
    assert np.array_equal(first, draw(random_problem("categorical", 0)))
    assert all(abs(np.corrcoef(first, other)[0, 1]) < 0.5 for other in others)
    assert Random().discover(problem, NoOptions()).circuit is None


def test_random_scores_are_uniform():
    problem = random_problem("numerical", 0)
    values = np.concatenate([draw(replace(problem, seed=seed)) for seed in range(100)])
    assert values.min() >= 0 and values.max() < 1
    assert np.allclose(np.quantile(values, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03)


def test_the_norm_of_an_edge_is_that_of_its_quieter_node():
    problem = random_problem("categorical", 1)
    found = Norm().discover(problem, NoOptions())
    deviation = found.notes["deviation"]
    assert list(deviation) == list(problem.graph.writers) and deviation["pos"] == 0
    of_edge = dict(zip(problem.graph.edges, found.scores.values))
    assert of_edge["m0->a1.h0<q>"] == min(deviation["m0"], deviation["a1.h0"]) > 0
    assert of_edge["m1->logits"] == deviation["m1"]
    assert found.circuit is None


def test_the_norm_needs_no_corrupted_input():
    problem = random_problem("categorical", 1)
    other = make_problem(problem.model, problem.clean, problem.clean.flip(0), "categorical", ablation="zero")
    scores = [Norm().discover(each, NoOptions()).scores.values for each in (problem, other)]
    assert np.array_equal(*scores)


def test_the_norm_of_one_input_is_refused():
    with pytest.raises(UsageError, match="at least 2 samples"):
        Norm().discover(random_problem("categorical", 1).take(slice(1)), NoOptions())


@pytest.mark.parametrize("ablation", ["resample", "mean", "zero"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_noising_is_the_loss_with_the_edge_cut(output, ablation):
    problem = random_problem(output, 2, ablation)
    loss = problem.faithfulness_loss
    found = noising(problem, loss)
    for edge in range(0, problem.graph.n_edges, 5):
        mask = torch.zeros(problem.graph.n_edges, dtype=torch.float64)
        mask[edge] = 1
        assert found[edge].item() == pytest.approx(problem.loss(problem.logits(mask), loss).item(), abs=1e-12)


@pytest.mark.parametrize("output", OUTPUTS)
def test_denoising_is_a_patch_of_the_corrupted_run(output):
    """The plain route: run on the corrupted inputs, one edge replaced by its value in the clean run."""
    problem, loss = random_problem(output, 3), "mse"
    clean = problem.model.writers(problem.clean)
    corrupted = problem.loss(problem.model(problem.corrupted), loss)
    found = denoising(problem, loss)
    for edge in range(problem.graph.n_edges):
        mask = torch.zeros(problem.graph.n_edges, dtype=torch.float64)
        mask[edge] = 1
        patched = problem.loss(problem.model(problem.corrupted, mask, clean), loss)
        assert found[edge].item() == pytest.approx((corrupted - patched).item(), abs=1e-12)
    assert found.abs().max() > 0


def test_denoising_restores_positions_too():
    problem = random_problem("categorical", 3, "positions")
    found = dict(zip(problem.graph.edges, denoising(problem, "kl").tolist()))
    assert max(abs(value) for edge, value in found.items() if edge.startswith("pos->")) > 0
    plain = dict(zip(problem.graph.edges, denoising(random_problem("categorical", 3), "kl").tolist()))
    assert max(abs(value) for edge, value in plain.items() if edge.startswith("pos->")) < 1e-12
    everything = problem.loss(problem.corrupted_full, "kl") - problem.loss(problem.full, "kl")
    inputs = torch.tensor(problem.graph.edge_writer < 2).to(problem.full)
    assert problem.losses(inputs[None], "kl").item() == pytest.approx(everything.item()), "the corrupted run, as a mask"


def test_denoising_by_zero_starts_from_inputs_of_zero():
    problem = random_problem("categorical", 3, "zero")
    nothing = {name: torch.zeros_like(problem.model.weights[name]) for name in ("embed.W_E", "pos_embed.W_pos")}
    empty = Transformer(problem.model.config, {**problem.model.weights, **nothing})
    clean = problem.model.writers(problem.clean)
    found, start = denoising(problem, "kl"), problem.loss(empty(problem.clean), "kl")
    for edge in range(0, problem.graph.n_edges, 4):
        mask = torch.zeros(problem.graph.n_edges, dtype=torch.float64)
        mask[edge] = 1
        patched = problem.loss(empty(problem.clean, mask, clean), "kl")
        assert found[edge].item() == pytest.approx((start - patched).item(), abs=1e-12)


def test_few_edges_at_once_change_nothing(monkeypatch):
    problem = random_problem("numerical", 4)
    whole = [each(problem, "shift") for each in (noising, denoising)]
    monkeypatch.setattr("interpbench_baselines.patching.AT_ONCE", 7)
    for before, each in zip(whole, (noising, denoising)):
        assert torch.allclose(before, each(problem, "shift"), atol=1e-12)


def test_the_union_is_the_larger_share():
    assert union([torch.tensor([1.0, -3.0])]).tolist() == [1.0, -3.0]
    assert union([torch.tensor([2.0, 0.0, 0.5]), torch.tensor([0.0, 0.1, 0.05])]).tolist() == [1.0, 1.0, 0.5]
    assert union([torch.zeros(2), torch.tensor([0.0, 4.0])]).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("direction", ["noising", "both"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_patching_finds_the_toy_circuit(output, direction):
    problem, truth = toy_problem(output)
    found = Patching().discover(problem, PatchingConfig(direction=direction))
    assert found.circuit == truth and found.notes["direction"] == direction


def test_signs_and_losses():
    problem = random_problem("categorical", 5)
    signed = Patching().discover(problem, PatchingConfig(loss="ce", sign="signed")).scores.values
    absolute = Patching().discover(problem, PatchingConfig(loss="ce")).scores.values
    assert signed.min() < 0 and np.array_equal(absolute, np.abs(signed))
    with pytest.raises(UsageError, match="loss 'shift' is not offered"):
        Patching().discover(problem, PatchingConfig(loss="shift"))
