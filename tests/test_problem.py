import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import interpbench.problem.problem as problem_module
from interpbench.cases.pairs import permuted_places
from interpbench.errors import UsageError
from interpbench.graph import EdgeScores
from interpbench.problem import ABLATIONS, LOSSES, choose_among, choose_top, make_problem
from interpbench.testing.toys import TOY_CIRCUITS, random_problem, toy_inputs, toy_model, toy_problem

OUTPUTS = list(TOY_CIRCUITS)
PAIRS = [(output, loss) for output in OUTPUTS for loss in LOSSES[output]]
plain = runpy.run_path(str(Path(__file__).parent / "benchmarks" / "plain.py"))


def random_masks(problem, n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, problem.graph.n_edges, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("output", "loss"), PAIRS)
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_mask_gradient_is_the_textbook_formula_at_the_clean_point(output, loss, ablation):
    problem = random_problem(output, 1, ablation)
    clean = torch.zeros(1, problem.graph.n_edges, dtype=torch.float64)
    assert torch.allclose(problem.gradients(clean, loss), problem.attributions(clean, loss), atol=1e-12)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("norm", [None, "LN", "LNPre"])
def test_mask_gradient_is_that_of_an_independent_implementation(output, norm):
    problem = random_problem(output, 2, normalization_type=norm, attention_dir="causal")
    loss = "logit-diff" if output == "categorical" else "shift"
    ours = problem.gradients(torch.zeros(1, problem.graph.n_edges, dtype=torch.float64), loss)[0].numpy()
    assert np.allclose(ours, plain["plain_eap"](problem, loss), atol=1e-12)
    assert np.abs(ours).max() > 1e-4


def test_the_two_formulas_differ_where_much_is_cut():
    problem = random_problem("categorical", 3)
    everything = torch.ones(1, problem.graph.n_edges, dtype=torch.float64)
    gradient, textbook = problem.gradients(everything, "ce")[0], problem.attributions(everything, "ce")[0]
    from_inputs = torch.tensor(problem.graph.edge_writer < 2)
    assert torch.allclose(gradient[from_inputs], textbook[from_inputs], atol=1e-12)
    assert gradient[~from_inputs].abs().max() < 1e-12 < textbook[~from_inputs].abs().max()


@pytest.mark.parametrize(("output", "loss"), PAIRS)
def test_gradients_are_finite_differences(output, loss):
    problem = random_problem(output, 4)
    mask, direction = random_masks(problem, 2)
    step = 1e-5 * direction
    rise = problem.losses(torch.stack([mask + step, mask - step]), loss)
    expected = (rise[0] - rise[1]) / 2e-5
    assert torch.isclose((problem.gradients(mask[None], loss)[0] * direction).sum(), expected, rtol=1e-5)


@pytest.mark.parametrize(("loss", "ablation"), [("kl", "resample"), ("logit-diff", "mean")])
def test_chunks_change_nothing(monkeypatch, loss, ablation):
    problem = random_problem("categorical", 5, ablation)
    masks = random_masks(problem, 3)
    whole = problem.losses(masks, loss), problem.gradients(masks, loss), problem.attributions(masks, loss)
    monkeypatch.setattr(problem_module, "CHUNK", 7000)
    assert len(list(problem._chunks(3))) > 6
    parts = problem.losses(masks, loss), problem.gradients(masks, loss), problem.attributions(masks, loss)
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_losses_are_what_they_say():
    problem = random_problem("categorical", 6)
    logits = problem.logits(random_masks(problem, 1)[0])
    at, full, corrupted = (x[problem.scored] for x in (logits, problem.full, problem.corrupted_full))
    rows, right, wrong = torch.arange(len(at)), full.argmax(-1), corrupted.argmax(-1)
    kl = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=full), torch.distributions.Categorical(logits=at)
    )
    expected = {
        "kl": kl.mean(),
        "ce": torch.nn.functional.cross_entropy(at, right),
        "logit-diff": -(at[rows, right] - at[rows, wrong]).mean(),
        "mse": ((at - full) ** 2).mean(),
        "mae": (at - full).abs().mean(),
    }
    for kind, value in expected.items():
        assert problem.loss(logits, kind).item() == pytest.approx(value.item())


def test_shift_is_the_gradient_of_the_squared_error_at_the_corrupted_output():
    problem = random_problem("numerical", 7)
    logits = problem.logits(random_masks(problem, 1)[0])
    at, full, corrupted = (x[problem.scored] for x in (logits, problem.full, problem.corrupted_full))
    assert problem.loss(logits, "shift").item() == pytest.approx(((at - full) * (corrupted - full)).mean().item())
    assert problem.loss(problem.full, "shift") == 0 < problem.loss(problem.corrupted_full, "shift")


@pytest.mark.parametrize("output", OUTPUTS)
def test_distances_to_the_own_output_are_lowest_where_nothing_is_cut(output):
    problem = random_problem(output, 8)
    clean = torch.zeros(1, problem.graph.n_edges, dtype=torch.float64)
    for kind in set(problem.losses_offered) & {"kl", "mse", "mae"}:
        assert problem.losses(clean, kind).abs() < 1e-12
        assert kind == "mae" or problem.gradients(clean, kind).abs().max() < 1e-12


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_a_cut_edge_carries_what_the_ablation_says(ablation):
    problem = random_problem("categorical", 9, ablation)
    of_corrupted = problem.model.writers(problem.corrupted)
    places = permuted_places(*problem.corrupted.shape, problem.seed)
    expected = {
        "resample": of_corrupted,
        "positions": problem.model.writers(problem.corrupted, places),
        "mean": of_corrupted.mean(-1, keepdim=True),
        "zero": torch.zeros_like(of_corrupted[..., :1]),
    }
    assert torch.allclose(problem.other, expected[ablation])
    assert problem.take(slice(3)).other.shape[-1] == (3 if ablation in ("resample", "positions") else 1)
    if ablation in ("resample", "positions"):
        everything = torch.ones(problem.graph.n_edges, dtype=torch.float64)
        assert torch.allclose(problem.logits(everything), problem.corrupted_full)


def test_permuted_places_keep_that_of_bos_and_depend_on_the_seed_alone():
    places = permuted_places(50, 6, seed=3)
    assert (places[:, 0] == 0).all() and (places.sort(-1).values == torch.arange(6)).all()
    assert (places[:, 1:] != torch.arange(1, 6)).all()
    assert torch.equal(permuted_places(2, 2, 0), torch.tensor([[0, 1], [0, 1]]))
    assert torch.equal(places, permuted_places(50, 6, seed=3)) and not torch.equal(places, permuted_places(50, 6, 4))
    assert len(places.unique(dim=0)) > 30


@pytest.mark.parametrize("output", OUTPUTS)
def test_edges_outside_the_toy_circuit_have_no_effect_and_those_inside_do(output):
    problem, circuit = toy_problem(output)
    inside = circuit.mask()
    alone = torch.eye(problem.graph.n_edges)[torch.tensor(inside > 0)]
    masks = torch.cat([1 - torch.tensor(inside)[None], alone])
    outside_cut, *true_cut = problem.losses(masks, problem.faithfulness_loss).tolist()
    assert outside_cut < 1e-10 and min(true_cut) > 0.01
    deviation = problem.model.writers(problem.clean).std(-1).amax((-1, -2))
    silent = [node not in circuit.nodes for node in problem.graph.nodes]
    assert deviation[2:][torch.tensor(silent)].min() > 0.1, "silent nodes are alive"


def test_the_toys_compute_what_they_say():
    tokens = toy_inputs("numerical", 50, 0)
    share = (tokens >= 4).float().mean(-1, keepdim=True).expand(tokens.shape)
    assert torch.allclose(toy_model("numerical")(tokens)[..., 0], share, atol=1e-5)
    tokens = toy_inputs("categorical", 50, 0)
    letter = tokens.amax(-1, keepdim=True).expand(tokens.shape) % 4
    assert torch.equal(toy_model("categorical")(tokens).argmax(-1), letter)


@pytest.mark.parametrize("output", OUTPUTS)
def test_choosing_finds_the_smallest_faithful_circuit(output):
    problem, circuit = toy_problem(output)
    noise = np.random.default_rng(0).random(problem.graph.n_edges)
    assert choose_top(problem, EdgeScores(problem.graph, circuit.mask() + 0.5 * noise), 0.1) == circuit
    nothing = np.zeros(problem.graph.n_edges, dtype=bool)
    some = circuit.mask() == 0
    some[np.flatnonzero(some)[:3]] = False
    cuts = torch.tensor(np.stack([nothing, some, circuit.mask() == 0, ~nothing]))
    assert choose_among(problem, cuts, 0.1) == 2
    assert choose_among(problem, cuts[[3, 3]], 0.1) == 0


def test_bad_input_is_refused_in_one_line():
    model, tokens = toy_model("numerical"), toy_inputs("numerical", 4, 0)
    with pytest.raises(UsageError, match=r"expected the same \[row, position\] for all"):
        make_problem(model, tokens, tokens[:3], "numerical")
    with pytest.raises(UsageError, match="no position is scored"):
        make_problem(model, tokens, tokens, "numerical", torch.zeros(tokens.shape))
    with pytest.raises(UsageError, match="there are resample, positions, mean, zero"):
        make_problem(model, tokens, tokens, "numerical", ablation="none")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="does not fit 'categorical'"):
        make_problem(model, tokens, tokens, "categorical")
    problem = make_problem(model, tokens.numpy(), tokens.numpy(), "numerical")
    with pytest.raises(UsageError, match="loss 'kl' is not offered for numerical outputs; offered: shift, mse, mae"):
        problem.losses(torch.zeros(1, problem.graph.n_edges), "kl")
