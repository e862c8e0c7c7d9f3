import numpy as np
import pytest
import torch

from interpbench import UsageError
from interpbench.testing import random_problem, toy_problem
from interpbench_eap import Config, Eap
from interpbench_eap.algorithm import attribute, points

DEFAULT = {"categorical": "logit-diff", "numerical": "shift"}
OUTPUTS = list(DEFAULT)


def loss_of_cutting(problem, kind, edges):
    masks = torch.zeros(2, problem.graph.n_edges, dtype=torch.float64)
    masks[1, edges] = 1
    kept, cut = problem.losses(masks, kind).tolist()
    return cut - kept


@pytest.mark.parametrize("output", OUTPUTS)
def test_default_is_the_textbook_formula(output):
    problem = random_problem(output, 0)
    found = Eap().discover(problem, Config(sign="signed"))
    nothing = torch.zeros(1, problem.graph.n_edges, dtype=torch.float64)
    assert np.allclose(found.scores.values, problem.attributions(nothing, DEFAULT[output])[0].numpy())
    assert found.notes["loss"] == DEFAULT[output]


@pytest.mark.parametrize(("output", "loss"), [("categorical", "kl"), ("numerical", "mse"), ("numerical", "mae")])
def test_a_flat_loss_at_the_clean_point_is_refused(output, loss):
    problem, _ = toy_problem(output)
    with pytest.raises(UsageError, match=f"loss '{loss}' compares with the model's own clean output") as refused:
        Eap().discover(problem, Config(ig="none", at="clean", loss=loss))
    assert "\n" not in str(refused.value)
    for elsewhere in (Config(ig="none", at="corrupt", loss=loss), Config(ig="masks", loss=loss)):
        assert np.abs(Eap().discover(problem, elsewhere).scores.values).max() > 0


def test_other_combinations_that_are_refused():
    with pytest.raises(ValueError, match="exclude each other"):
        Config(at="corrupt", ig="masks")
    with pytest.raises(ValueError, match="ig_steps is 0"):
        Config(ig="masks", ig_steps=0)
    with pytest.raises(UsageError, match="not offered for numerical"):
        Eap().discover(toy_problem("numerical")[0], Config(loss="ce"))


@pytest.mark.parametrize("output", OUTPUTS)
def test_integrated_gradients_add_up_to_the_change_of_the_loss(output):
    """Completeness, of each path in its own way."""
    problem, kind = random_problem(output, 2), DEFAULT[output]
    graph = problem.graph
    every = np.arange(graph.n_edges)
    assert abs(loss_of_cutting(problem, kind, every)) > 0.01
    inputs = np.flatnonzero(graph.edge_writer < 2)

    masks = attribute(problem, Config(ig="masks", ig_steps=50), kind)
    assert masks.sum().item() == pytest.approx(loss_of_cutting(problem, kind, every), rel=2e-2)
    by_input = attribute(problem, Config(ig="inputs", ig_steps=500), kind)
    assert by_input[inputs].sum().item() == pytest.approx(loss_of_cutting(problem, kind, inputs), rel=2e-2)
    by_activation = attribute(problem, Config(ig="activations", ig_steps=50), kind)
    for writer in ("embed", "a0.h1", "m0"):
        edges = graph.edges_from(writer)
        assert by_activation[edges].sum().item() == pytest.approx(loss_of_cutting(problem, kind, edges), rel=2e-2)


@pytest.mark.parametrize(
    "config",
    [Config(ig="none"), Config(ig="inputs"), Config(ig="activations"), Config(ig="masks")],
    ids=lambda config: config.ig,
)
@pytest.mark.parametrize("output", OUTPUTS)
def test_every_variant_finds_the_toy_circuit(config, output):
    problem, truth = toy_problem(output)
    assert Eap().discover(problem, config).circuit == truth


def test_sign_and_normalisation():
    problem = random_problem("categorical", 2)
    signed = Eap().discover(problem, Config(sign="signed")).scores.values
    absolute = Eap().discover(problem, Config(sign="absolute")).scores.values
    assert signed.min() < 0 and np.array_equal(absolute, np.abs(signed))
    assert np.abs(Eap().discover(problem, Config(normalise="max")).scores.values).max() == pytest.approx(1)
    assert np.abs(Eap().discover(problem, Config(normalise="sum")).scores.values).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("middles", [1 / 8, 3 / 8, 5 / 8, 7 / 8]),
        ("ends", [0, 1 / 4, 1 / 2, 3 / 4, 1]),
        ("clean", [0, 1 / 4, 1 / 2, 3 / 4]),
        ("corrupted", [1 / 4, 1 / 2, 3 / 4, 1]),
    ],
)
def test_points_of_a_path_by_name(name, expected):
    for ig in ("inputs", "activations", "masks"):
        assert sorted(points(Config(ig=ig, ig_steps=4, points=name)).tolist()) == expected


@pytest.mark.parametrize(("ig", "default"), [("inputs", "clean"), ("activations", "middles"), ("masks", "middles")])
def test_points_by_default(ig, default):
    problem = random_problem("categorical", 2)
    left, named = (attribute(problem, Config(ig=ig, points=x), "logit-diff") for x in ("auto", default))
    assert torch.equal(left, named) and left.abs().max() > 0.1


@pytest.mark.parametrize("output", OUTPUTS)
def test_points_of_the_path_of_inputs_are_runs_on_interpolated_embeddings(output):
    """With one step: `clean` is the textbook formula, `corrupted` the gradient where both inputs are corrupted."""
    problem = random_problem(output, 2)
    kind = DEFAULT[output]
    inputs = torch.zeros(1, problem.graph.n_edges, dtype=torch.float64)
    inputs[:, problem.graph.edge_writer < 2] = 1
    for name, at in (("clean", 0 * inputs), ("corrupted", inputs), ("middles", inputs / 2)):
        found = attribute(problem, Config(ig="inputs", ig_steps=1, points=name), kind)
        assert torch.allclose(found, problem.attributions(at, kind)[0])
    both = attribute(problem, Config(ig="inputs", ig_steps=1, points="ends"), kind)
    parts = [attribute(problem, Config(ig="inputs", ig_steps=1, points=x), kind) for x in ("clean", "corrupted")]
    assert torch.allclose(both, sum(parts) / 2) and not torch.allclose(*parts)


@pytest.mark.parametrize("output", ["categorical", "numerical"])
def test_a_descent_of_one_step_is_the_attribution_at_the_corrupted_inputs(output):
    problem = random_problem(output, 3)
    one = Eap().discover(problem, Config(ig="descent", ig_steps=1)).scores.values
    corrupted = Eap().discover(problem, Config(at="corrupt")).scores.values
    assert np.allclose(one, corrupted)
    assert not np.allclose(one, Eap().discover(problem, Config(ig="descent", ig_steps=4)).scores.values)


def test_relevance_holds_attention_constant():
    problem = random_problem("categorical", 3)
    exact, relp, gim = (Eap().discover(problem, Config(backward=name)).scores for name in ("exact", "relp", "gim"))
    into_patterns = np.array([edge.endswith(("<q>", "<k>")) for edge in problem.graph.edges])
    assert (relp.values[into_patterns] == 0).all() and (exact.values[into_patterns] != 0).any()
    assert len({scores.values.tobytes() for scores in (exact, relp, gim)}) == 3
