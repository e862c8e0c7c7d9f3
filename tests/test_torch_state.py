"""What a caller, a technique or a trainer sets of the state that all code shares reaches no result of another."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import interpbench as ib
from interpbench.evaluation.circuit_score import evaluate_circuit
from interpbench.evaluation.node_effects import node_effects
from interpbench.graph import EdgeScores
from interpbench.problem import make_problem
from interpbench.runs.make import make_subject
from interpbench.testing import toy_problem
from interpbench.testing.toys import toy_case
from interpbench.torch_state import clean_state
from interpbench.trainers import Trained
from interpbench.transformer.model import initialize


@contextmanager
def changed(change: Callable[[], Any], back: Callable[[], Any]) -> Iterator[None]:
    change()
    yield
    back()


STATES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "gradients off": lambda: torch.set_grad_enabled(False),
    "inference mode": lambda: torch.inference_mode(),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float64": lambda: changed(
        lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_default_dtype(torch.float32)
    ),
    "bfloat16": lambda: changed(
        lambda: torch.set_default_dtype(torch.bfloat16), lambda: torch.set_default_dtype(torch.float32)
    ),
    "another default device": lambda: changed(
        lambda: torch.set_default_device("meta"), lambda: torch.set_default_device(None)
    ),
    "within a device": lambda: torch.device("meta"),
    "NumPy raises": lambda: np.errstate(all="raise"),
}


def state() -> dict[str, Any]:
    return {
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "type": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "NumPy": np.geterr(),
        "generators": [str(np.random.get_state()), torch.get_rng_state().tolist()],
    }


@dataclass(frozen=True)
class Config:
    """No options."""


class Unruly:
    """Scores are numbers of the global generators; it sets all that it can, for whoever comes next."""

    name, version, Config = "unruly", "1", Config

    def discover(self, problem: ib.Problem, config: Any) -> ib.Discovery:
        assert state() == {**state(), "gradients": True, "inference": False, "autocast": False, "type": torch.float32}
        drawn = torch.rand(problem.graph.n_edges).numpy() + np.random.rand() + random.random()
        spoil()
        return ib.Discovery(EdgeScores(problem.graph, drawn))


def spoil() -> None:
    torch.set_grad_enabled(False)
    torch.inference_mode().__enter__()
    torch.set_autocast_enabled("cpu", True)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    np.seterr(all="raise")
    random.seed(1), np.random.seed(1), torch.manual_seed(1)


class Trainer:
    """Returns a subject at once, and spoils the state."""

    name, Config = "unruly", Config

    def train(self, case: ib.Case, config: Any, folder: Path | None, progress: Any) -> Trained:
        reference: Any = case.reference()
        model = initialize(reference.subject_config, 0)
        spoil()
        return Trained(model, reference.circuit(model.graph))


@pytest.fixture(scope="module")
def subject() -> ib.Subject:
    return ib.load_subject("3")


@pytest.fixture(scope="module")
def plain(subject: ib.Subject) -> dict[str, Any]:
    return results(subject)


def results(subject: ib.Subject) -> dict[str, Any]:
    """What every public function returns that computes."""
    fresh = ib.load_subject("3")
    return {
        "run": ib.run("eap", fresh, samples=20).scores.values.tolist(),
        "predict": subject.predict([subject.case.vocab[:1] * 3]),
        "circuit": evaluate_circuit(fresh, fresh.circuit, samples=20),
        "nodes": node_effects(fresh, samples=20),
        "classes": ib.edge_classes(fresh, "mean"),
    }


@pytest.mark.parametrize("name", STATES)
def test_results_do_not_depend_on_the_callers_state(name: str, subject: ib.Subject, plain: dict[str, Any]) -> None:
    with STATES[name]():
        before = state()
        assert results(subject) == plain
        assert state() == before


@pytest.mark.parametrize("name", ["gradients off", "inference mode"])
def test_gradients_are_taken_whatever_the_caller_set(name: str) -> None:
    toy, _ = toy_problem("categorical")

    def gradients() -> list[Any]:
        problem = make_problem(toy.model, toy.clean, toy.corrupted, "categorical")
        middle = torch.full((1, problem.graph.n_edges), 0.5)
        return [problem.gradients(middle, "kl").tolist(), problem.attributions(middle, "kl").tolist()]

    plain = gradients()
    with STATES[name]():
        assert gradients() == plain


@pytest.mark.parametrize("name", ["plain", *STATES])
def test_a_technique_leaves_nothing_behind(name: str, subject: ib.Subject) -> None:
    with STATES.get(name, clean_state)():
        before = state()
        one, two, other = (ib.run(Unruly(), subject, samples=5, seed=seed).scores.values for seed in (3, 3, 4))
        assert state() == before
    assert (one == two).all() and (one != other).all(), "global generators start from the seed"


def test_nor_does_one_that_fails_or_a_trainer(subject: ib.Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state()
    monkeypatch.setattr(ib, "Discovery", None)
    with pytest.raises(TypeError):
        ib.run(Unruly(), subject, samples=5)
    assert state() == before
    for what in ("certify.certify", "classify.stated_on_card"):
        monkeypatch.setattr(f"interpbench.certificate.{what}", lambda *_, **__: SimpleNamespace(to_json=state))
    made = make_subject(Trainer(), toy_case("categorical"), Config())
    assert state() == before
    assert made.card["certificate"]["gradients"] and made.card["certificate"]["device"].type == "cpu"


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_half_precision_is_refused_where_it_would_compute(kind: str, subject: ib.Subject) -> None:
    half = subject.model.to(dtype=getattr(torch, kind))
    with pytest.raises(ib.UsageError, match=rf"are {kind}, expected float32: model.to\(dtype=torch.float32\)"):
        replace(subject, model=half)
    clean = subject.case.inputs(4, np.random.default_rng(0))
    with pytest.raises(ib.UsageError, match=f"are {kind}, expected float32 or float64"):
        make_problem(half, clean, clean, subject.case.output)
    mixed = replace(half, weights=half.weights | {"unembed.b_U": subject.model.weights["unembed.b_U"]})
    with pytest.raises(ib.UsageError, match=f"are {kind} and float32"):
        replace(subject, model=mixed)
    assert replace(subject, model=half.to(dtype=torch.float32)).predict([subject.case.vocab[:1] * 3])


def test_a_problem_may_be_of_float64(subject: ib.Subject) -> None:
    clean = subject.case.inputs(20, np.random.default_rng(0))
    models = (subject.model, subject.model.to(dtype=torch.float64))
    one, other = (make_problem(model, clean, clean[::-1].copy(), subject.case.output) for model in models)
    cut = torch.full((1, one.graph.n_edges), 0.3)
    torch.testing.assert_close(one.gradients(cut, "mse").double(), other.gradients(cut, "mse"))
