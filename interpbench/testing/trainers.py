"""Checks of a trainer, on a toy case that needs no compiler. They train some fifteen times: give them few steps."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import torch

from interpbench.errors import InterpbenchError
from interpbench.problem.losses import Output
from interpbench.testing.toys import toy_case
from interpbench.testing.workers import (
    check_config_is_simple,
    check_config_round_trips,
    check_import_is_light,
    check_imports_public_modules,
    check_name,
    check_options_are_its_own,
    global_state,
    unchanged_state,
)
from interpbench.torch_state import clean_state
from interpbench.trainers.trainer import Trained, Trainer
from interpbench.transformer.model import Transformer

Tell = Callable[[Mapping[str, Any]], None]


def check_trainer(trainer: Trainer, config: Any = None) -> None:
    """Run every check of `TRAINER_CHECKS`, with the default configuration if none is given."""
    for check in TRAINER_CHECKS:
        check(trainer, trainer.Config() if config is None else config)


def _train(
    trainer: Trainer,
    config: Any,
    output: Output = "numerical",
    folder: Path | None = None,
    tell: Tell = lambda facts: None,
) -> Trained:
    with clean_state():
        return trainer.train(toy_case(output), config, folder, tell)


def _same(one: Transformer, other: Transformer) -> bool:
    pairs = ((weight, other.weights.get(name)) for name, weight in one.weights.items())
    return all(b is not None and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True) for a, b in pairs)


def check_model_fits_the_case(trainer: Trainer, config: Any) -> None:
    """The model takes the case's tokens and positions and gives its answers."""
    for output in get_args(Output):
        case, shape = toy_case(output), _train(trainer, config, output).model.config
        got = (shape.d_vocab, shape.d_vocab_out, shape.n_ctx >= case.n_ctx)
        expected = (len(case.tokens), case.reference().subject_config.d_vocab_out, True)
        assert got == expected, f"tokens, answers, enough positions: {got}, expected {expected}"


def check_weights_are_finite(trainer: Trainer, config: Any) -> None:
    """Weights are finite and float32, as a subject on disk has them, and ask for no gradient."""
    for name, weight in _train(trainer, config).model.weights.items():
        assert weight.dtype == torch.float32 and not weight.requires_grad, f"{name}: {weight.dtype}, or with gradient"
        assert torch.isfinite(weight).all(), f"{name} holds NaN or infinity"


def check_circuit_is_the_true_one(trainer: Trainer, config: Any) -> None:
    """The circuit is the reference's, in the model's graph."""
    trained = _train(trainer, config)
    expected = toy_case().reference().circuit(trained.model.graph)
    assert trained.circuit == expected, f"{sorted(trained.circuit.edges)}, expected {sorted(expected.edges)}"


def check_facts_are_json(trainer: Trainer, config: Any) -> None:
    """Facts for the card are plain JSON: no objects, no NaN."""
    facts = _train(trainer, config).facts
    try:
        json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"facts are not JSON: {error}") from None


def check_is_deterministic(trainer: Trainer, config: Any) -> None:
    """The same configuration gives the same weights, whatever the state of global generators."""
    with clean_state(1):
        first = _train(trainer, config)
    with clean_state(2):
        second = _train(trainer, config)
    assert _same(first.model, second.model), "two trainings gave different weights"


def check_seed_matters(trainer: Trainer, config: Any) -> None:
    """The configuration has a seed, and another one gives other weights: `train --seeds` tries several."""
    assert hasattr(config, "seed"), f"{type(config).__name__} has no field seed"
    other = dataclasses.replace(config, seed=config.seed + 1)
    assert not _same(_train(trainer, config).model, _train(trainer, other).model), "seeds give the same weights"


def check_leaves_reference_alone(trainer: Trainer, config: Any) -> None:
    """The case's reference answers after training as before."""
    case = toy_case()
    tokens = torch.tensor(case.pairs(20, 0)[0])
    before = case.reference().outputs(tokens).clone()
    with clean_state():
        trainer.train(case, config, None, lambda facts: None)
    assert torch.equal(case.reference().outputs(tokens), before), "the reference was changed"


def check_leaves_global_state_alone(trainer: Trainer, config: Any) -> None:
    """Global generators, the default type, and whether gradients are enabled are as they were."""
    with clean_state():
        before = global_state()
        trainer.train(toy_case(), config, None, lambda facts: None)
        unchanged_state(before)


def check_reports_progress(trainer: Trainer, config: Any) -> None:
    """`progress` is called with plain numbers; `step` rises, and not above `steps`, if it is given."""
    reported: list[Any] = []
    _train(trainer, config, tell=lambda facts: reported.append(json.loads(json.dumps(dict(facts)))))
    steps = [facts.get("step") for facts in reported]
    assert steps and all(isinstance(step, int) for step in steps), f"steps reported: {steps}"
    assert all(a < b for a, b in itertools.pairwise(steps)), f"steps do not rise: {steps}"
    assert all(facts["step"] <= facts["steps"] for facts in reported if "steps" in facts), f"beyond the last: {steps}"


class _CutOff(Exception):
    pass


def check_resumes(trainer: Trainer, config: Any) -> None:
    """Cut off half-way and asked again with the same folder, it ends with the same weights; and so when it is done."""
    calls: list[Any] = []
    whole = _train(trainer, config, tell=calls.append)
    if not _same(whole.model, _train(trainer, config).model):
        return  # for `check_is_deterministic` to say
    heard = 0

    def cut(facts: Mapping[str, Any]) -> None:
        nonlocal heard
        heard += 1
        if heard > len(calls) / 2:
            raise _CutOff

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "checkpoints"
        with contextlib.suppress(_CutOff):
            _train(trainer, config, folder=folder, tell=cut)
        for when in ("resumed", "asked again after its end"):
            assert _same(_train(trainer, config, folder=folder).model, whole.model), f"{when}, it has other weights"


def check_knows_its_checkpoints(trainer: Trainer, config: Any) -> None:
    """Checkpoints of other settings are not gone on from: it begins anew, or refuses by an InterpbenchError."""
    if not hasattr(config, "seed"):
        return  # for `check_seed_matters` to say
    other = dataclasses.replace(config, seed=config.seed + 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "checkpoints"
        first = _train(trainer, config, folder=folder)
        try:
            second = _train(trainer, other, folder=folder)
        except InterpbenchError:
            return
        alone = _train(trainer, other)
        taken = _same(second.model, first.model) and not _same(second.model, alone.model)
        assert not taken, "a checkpoint of another seed was taken for its own"


TRAINER_CHECKS: tuple[Callable[[Trainer, Any], None], ...] = (
    check_name,
    check_config_is_simple,
    check_config_round_trips,
    check_options_are_its_own,
    check_import_is_light,
    check_imports_public_modules,
    check_model_fits_the_case,
    check_weights_are_finite,
    check_circuit_is_the_true_one,
    check_facts_are_json,
    check_is_deterministic,
    check_seed_matters,
    check_leaves_reference_alone,
    check_leaves_global_state_alone,
    check_reports_progress,
    check_resumes,
    check_knows_its_checkpoints,
)
