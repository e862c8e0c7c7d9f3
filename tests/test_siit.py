"""The trainer: rows, masks, determinism, checkpoints, and (slow) a certified subject from nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import interpbench
from interpbench.certificate import certify, masks_of
from interpbench.errors import InterpbenchError
from interpbench.trainers.rows import draw_masks, make_pool
from interpbench.trainers.siit import TRAINERS, Config, IitConfig, NaturalConfig
from interpbench.trainers.state import FlatAdam
from interpbench.trainers.training import train
from interpbench.transformer import initialize

SHORT = Config(steps=6, eval_every=2, eval_rows=40, rows=16, group=4, warmup=3)


def masks_for(name: str):
    reference = interpbench.load_case(name).reference()
    return masks_of(reference, reference.circuit(reference.subject.graph))


@pytest.mark.parametrize("name", ["2", "3", "18", "ioi"])
def test_masks_replace_only_variables_and_what_is_outside(name: str) -> None:
    masks = masks_for(name)
    weights = torch.ones(len(masks.variables))
    generator = torch.Generator().manual_seed(0)
    columns = list(masks.variables.values())
    shares = set()
    for is_open in (False, True):
        mask, variable = draw_masks(masks, Config(), 300, is_open, weights, generator)
        for row, v in zip(mask, variable.tolist(), strict=True):
            inside = row * (1 - masks.outside_edges)
            expected = columns[v] * (1 - masks.outside_edges) if v >= 0 else torch.zeros_like(row)
            assert torch.equal(inside, expected)
            shares.add(round(float((row * masks.outside_edges).sum() / masks.outside_edges.sum()), 1))
        if not is_open:
            assert shares == {1.0}, "the circuit first: everything outside is replaced on every row"
    assert {0.0, 0.1, 0.5, 1.0} <= shares


def test_shares_of_rows() -> None:
    masks = masks_for("4")
    generator = torch.Generator().manual_seed(0)
    weights = torch.tensor([0.0, 0.0, 1.0, 0.0])
    mask, variable = draw_masks(masks, NaturalConfig(), 200, True, weights, generator)
    assert (variable == -1).all() and not mask.any()
    mask, variable = draw_masks(masks, IitConfig(interchange=1.0), 200, True, weights, generator)
    assert (variable == 2).all() and torch.equal(mask, list(masks.variables.values())[2].expand_as(mask))


def test_training_is_deterministic_and_seeds_differ() -> None:
    case = interpbench.load_case("3")
    first, again, other = (train(case, replace(SHORT, seed=s)) for s in (0, 0, 1))
    for name, weight in first.model.weights.items():
        assert torch.equal(weight, again.model.weights[name])
    assert not torch.equal(first.model.weights["embed.W_E"], other.model.weights["embed.W_E"])
    assert first.circuit.heads().edges == {"input->m0", "input->a1.h2", "m0->a1.h2", "a1.h2->logits"}


def test_a_run_cut_off_resumes_to_the_same_weights(tmp_path: Path) -> None:
    case = interpbench.load_case("3")
    whole = train(case, SHORT)

    class Killed(Exception):
        pass

    def kill(facts: dict) -> None:
        if facts["step"] == 5:
            raise Killed

    with pytest.raises(Killed):
        train(case, SHORT, tmp_path, kill)
    resumed = train(case, SHORT, tmp_path)
    for name, weight in whole.model.weights.items():
        assert torch.equal(weight, resumed.model.weights[name])
    steps = []
    train(case, SHORT, tmp_path, lambda facts: steps.append(facts["step"]))
    assert steps == [], "a finished run is not run again"


def test_a_run_made_longer_is_the_longer_run(tmp_path: Path) -> None:
    case = interpbench.load_case("3")
    train(case, replace(SHORT, steps=4), tmp_path)
    longer, whole = train(case, SHORT, tmp_path), train(case, SHORT)
    assert torch.equal(longer.model.weights["embed.W_E"], whole.model.weights["embed.W_E"])


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    case = interpbench.load_case("3")
    train(case, SHORT, tmp_path)
    with pytest.raises(InterpbenchError, match=r"made with lr=0.005, not 0.01"):
        train(case, replace(SHORT, lr=0.01), tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InterpbenchError, match="is damaged"):
        train(case, SHORT, tmp_path)


def test_a_loss_that_is_not_finite_stops_in_one_line() -> None:
    with pytest.raises(InterpbenchError, match="diverged at step"):
        train(interpbench.load_case("3"), replace(SHORT, lr=1e30, warmup=1, steps=50))


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="a share between 0 and 1"):
        Config(strict=1.5)
    with pytest.raises(ValueError, match="multiple of group"):
        Config(rows=10, group=4)


def test_adam_is_torchs() -> None:
    config = interpbench.load_case("3").reference().subject
    adam = FlatAdam(initialize(config, 0))
    weights = adam.state["weights"].clone().requires_grad_()
    torchs = torch.optim.Adam([weights], lr=0.01, betas=adam.betas)
    for seed in range(5):
        gradient = torch.randn(len(weights), generator=torch.Generator().manual_seed(seed))
        weights.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([weights], 0.5)
        torchs.step()
        adam.update(gradient, 0.01, 0.5)
    assert torch.allclose(adam.state["weights"], weights.detach(), atol=1e-6)


def test_sources_are_independent_and_partly_counterfactual() -> None:
    case = interpbench.load_case("ioi")
    pool = make_pool(case, 0)
    tokens, source = pool.draw(400, torch.Generator().manual_seed(0))
    same_template = (tokens == source).float().mean(1) > 0.75
    assert 0.15 < same_template.float().mean() < 0.6
    assert (tokens != source).any(1).all()


def test_names_are_shares_of_rows() -> None:
    assert {t.name: (t.Config().strict > 0, t.Config().interchange > 0) for t in TRAINERS} == {
        "siit": (True, True),
        "iit": (False, True),
        "natural": (False, False),
    }


@pytest.mark.slow
def test_case_4_from_nothing_to_certified() -> None:
    case = interpbench.load_case("4")
    trained = train(case, Config())
    assert certify(case, trained.model, trained.circuit)["certified_edges"]
