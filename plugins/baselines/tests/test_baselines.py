from dataclasses import replace

import numpy as np
import pytest
import torch

from interpbench import Transformer, UsageError
from interpbench.problem import make_problem
from interpbench.testing import random_problem, toy_problem
from interpbench_baselines import (
    Flow,
    FlowConfig,
    GradientConfig,
    Hisp,
    NoOptions,
    Norm,
    Patching,
    PatchingConfig,
    Random,
    Ranks,
    RanksConfig,
    interpbench_techniques,
)
from interpbench_baselines.nodes import shares_of
from interpbench_baselines.patching import UNITS, denoising, noising, union
from interpbench_baselines.ranks import attributions

OUTPUTS = ["categorical", "numerical"]


def every(problem):
    return UNITS["edges"](problem.graph)


def draw(problem):
    return Random().discover(problem, NoOptions()).scores.values


def test_all_are_marked_as_baselines():
    assert {technique.name: technique.baseline for technique in interpbench_techniques()} == dict.fromkeys(
        ["random", "norm", "patching", "hisp", "flow", "ranks"], True
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
    found = noising(problem, loss, every(problem))
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
    found = denoising(problem, loss, every(problem))
    for edge in range(problem.graph.n_edges):
        mask = torch.zeros(problem.graph.n_edges, dtype=torch.float64)
        mask[edge] = 1
        patched = problem.loss(problem.model(problem.corrupted, mask, clean), loss)
        assert found[edge].item() == pytest.approx((corrupted - patched).item(), abs=1e-12)
    assert found.abs().max() > 0


def test_denoising_restores_positions_too():
    problem = random_problem("categorical", 3, "positions")
    found = dict(zip(problem.graph.edges, denoising(problem, "kl", every(problem)).tolist()))
    assert max(abs(value) for edge, value in found.items() if edge.startswith("pos->")) > 0
    plain = dict(zip(problem.graph.edges, denoising(random_problem("categorical", 3), "kl", every(problem)).tolist()))
    assert max(abs(value) for edge, value in plain.items() if edge.startswith("pos->")) < 1e-12
    everything = problem.loss(problem.corrupted_full, "kl") - problem.loss(problem.full, "kl")
    inputs = torch.tensor(problem.graph.edge_writer < 2).to(problem.full)
    assert problem.losses(inputs[None], "kl").item() == pytest.approx(everything.item()), "the corrupted run, as a mask"


def test_denoising_by_zero_starts_from_inputs_of_zero():
    problem = random_problem("categorical", 3, "zero")
    nothing = {name: torch.zeros_like(problem.model.weights[name]) for name in ("embed.W_E", "pos_embed.W_pos")}
    empty = Transformer(problem.model.config, {**problem.model.weights, **nothing})
    clean = problem.model.writers(problem.clean)
    found, start = denoising(problem, "kl", every(problem)), problem.loss(empty(problem.clean), "kl")
    for edge in range(0, problem.graph.n_edges, 4):
        mask = torch.zeros(problem.graph.n_edges, dtype=torch.float64)
        mask[edge] = 1
        patched = problem.loss(empty(problem.clean, mask, clean), "kl")
        assert found[edge].item() == pytest.approx((start - patched).item(), abs=1e-12)


def test_few_edges_at_once_change_nothing(monkeypatch):
    problem = random_problem("numerical", 4)
    whole = [each(problem, "shift", every(problem)) for each in (noising, denoising)]
    monkeypatch.setattr("interpbench_baselines.patching.AT_ONCE", 7)
    for before, each in zip(whole, (noising, denoising)):
        assert torch.allclose(before, each(problem, "shift", every(problem)), atol=1e-12)


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


def test_nodes_are_patched_with_everything_they_write():
    problem = random_problem("categorical", 2)
    found = Patching().discover(problem, PatchingConfig(by="nodes", loss="kl"))
    of_edge = dict(zip(problem.graph.edges, found.scores.values))
    effects = {}
    for writer in ("m0", "a1.h0"):
        mask = torch.zeros(problem.graph.n_edges, dtype=torch.float64)
        mask[torch.tensor(problem.graph.edges_from(writer))] = 1
        effects[writer] = abs(problem.loss(problem.logits(mask), "kl").item())
    assert of_edge["m0->a1.h0<q>"] == pytest.approx(min(effects.values()), abs=1e-12)
    assert of_edge["a1.h0->logits"] == pytest.approx(effects["a1.h0"], abs=1e-12)


@pytest.mark.parametrize("output", OUTPUTS)
def test_importances_are_outputs_times_gradients_row_by_row(output):
    """The other route: a node's output as a replacement by itself, whose gradient autograd gives."""
    problem = random_problem(output, 3)
    found = Hisp().discover(problem, GradientConfig())
    loss, raw = found.notes["loss"], {}
    for i, writer in enumerate(problem.graph.writers):
        mask = torch.zeros(problem.graph.n_edges, dtype=torch.float64)
        mask[torch.tensor(problem.graph.edges_from(writer))] = 1
        itself = problem.model.writers(problem.clean).requires_grad_()
        (slope,) = torch.autograd.grad(problem.loss(problem.model(problem.clean, mask, itself), loss), itself)
        raw[writer] = (itself * slope)[i].sum((0, 1)).abs().mean().item() * len(problem.clean)
    heads = [name for name in raw if name.startswith("a0.")]
    norm = sum(raw[name] ** 2 for name in heads) ** 0.5
    for name in heads:
        assert found.notes["importance"][name] == pytest.approx(raw[name] / norm)
    assert found.notes["importance"]["m0"] == pytest.approx(1.0), "alone in its layer"


def test_routes_are_what_a_search_by_threshold_reaches():
    problem = random_problem("categorical", 4)
    graph = problem.graph
    shares = shares_of(problem, torch.arange(len(problem.clean))) / len(problem.clean)
    into = [shares[graph.starts[r] : graph.starts[r + 1]].sum().item() for r in range(len(graph.readers))]
    assert max(into) <= 1 + 1e-9 and min(into) > 0.5, "none where no output is near the sum"
    found = Flow().discover(problem, FlowConfig()).scores.values
    for threshold in np.quantile(found, [0.2, 0.5, 0.8, 0.95]):
        reached, edges = {"logits"}, set()
        for _ in graph.nodes:
            for edge, share in zip(graph.edges, shares.tolist()):
                writer, reader = edge.split("->")
                if share >= threshold and reader.partition("<")[0] in reached:
                    edges.add(edge)
                    reached.add(writer)
        assert edges == {edge for edge, score in zip(graph.edges, found) if score >= threshold}


def test_ranks_are_the_mean_over_attributions():
    problem = random_problem("numerical", 5)
    found = Ranks().discover(problem, RanksConfig(steps=3))
    each = [effects.abs().numpy() for effects in attributions(problem, "shift", 3).values()]
    places = [[(sizes < size).sum() + ((sizes == size).sum() - 1) / 2 for size in sizes] for sizes in each]
    assert found.scores.values == pytest.approx(np.mean(places, axis=0) / (problem.graph.n_edges - 1))


@pytest.mark.parametrize("technique", [Hisp(), Ranks()])
def test_a_loss_that_does_not_fit_is_refused(technique):
    with pytest.raises(UsageError, match="not offered"):
        technique.discover(random_problem("numerical", 1), technique.Config(loss="ce"))
