"""The conformance kit for trainers; what it shares with that for techniques is tested there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from interpbench.testing import CHECKS, TRAINER_CHECKS
from interpbench.trainers.siit import TRAINERS

HEAD, ALGORITHM = "__init__.py", "algorithm.py"


def bad(check: str, file: str, old: str, new: str, slow: bool = False) -> Any:
    """A check, and what to write in a file of the template instead of something else, so that it fails."""
    return pytest.param(check, file, old, new, id=f"{check}: {new.strip()[-30:]}", marks=[pytest.mark.slow] * slow)


BAD_TRAINERS = [
    bad("check_leaves_global_state_alone", ALGORITHM, "    return", "    torch.manual_seed(0)\n    return"),
    bad(
        "check_config_round_trips",
        HEAD,
        "__post_init__(self) -> None:",
        '__post_init__(self) -> None:\n        object.__setattr__(self, "lr", self.lr / 2)',
    ),
    bad(
        "check_options_are_its_own",
        HEAD,
        "    steps:",
        "    jobs: int = option(1, 'x')\n    steps:",
    ),
    bad(
        "check_model_fits_the_case",
        ALGORITHM,
        "initialize(reference.subject_config",
        "initialize(__import__('dataclasses').replace(reference.subject_config, d_vocab=50)",
    ),
    bad("check_weights_are_finite", ALGORITHM, "    return", "    adam.state['average'][0] = torch.nan\n    return"),
    bad(
        "check_weights_are_finite", ALGORITHM, "adam.averaged(),", "adam.averaged().to(dtype=torch.float64),", slow=True
    ),
    bad(
        "check_circuit_is_the_true_one",
        ALGORITHM,
        "    return",
        "    circuit = type(circuit)(circuit.graph, frozenset(circuit.graph.edges))\n    return",
    ),
    bad("check_facts_are_json", ALGORITHM, '{"steps": state.step})', '{"steps": {state.step}})'),
    bad(
        "check_is_deterministic",
        ALGORITHM,
        "initialize(reference.subject_config, config.seed)",
        "initialize(reference.subject_config, __import__('time').time_ns() % 2**31)",
    ),
    bad("check_seed_matters", ALGORITHM, "config.seed", "0"),
    bad(
        "check_leaves_reference_alone",
        ALGORITHM,
        "    return",
        "    reference.model.weights['unembed.W_U'].mul_(2)\n    return",
    ),
    bad("check_reports_progress", ALGORITHM, "progress({", "dict({"),
    bad("check_reports_progress", ALGORITHM, '{"step": state.step', '{"step": -state.step', slow=True),
    bad("check_reports_progress", ALGORITHM, '"steps": config.steps,', '"steps": 1,', slow=True),
    bad(
        "check_resumes",
        ALGORITHM,
        "resume(folder, settings, adam, state, generator)",
        "resume(folder, settings, adam, state, generator)\n        state.step = 0",
    ),
    bad("check_knows_its_checkpoints", ALGORITHM, ", **asdict(config)}", "}"),
]


@pytest.mark.parametrize(("check", "file", "old", "new"), BAD_TRAINERS)
def test_a_trainer_that_is_bad_in_one_way(
    template: Callable, failing: Callable, check: str, file: str, old: str, new: str
) -> None:
    assert failing(TRAINER_CHECKS, *template("trainer", file, old, new)) == {check}


def test_every_check_has_something_bad() -> None:
    """No check of the kit that nothing fails."""
    assert {check.__name__ for check in {*TRAINER_CHECKS} - {*CHECKS}} <= {each.values[0] for each in BAD_TRAINERS}


def test_the_template_is_good(template: Callable, failing: Callable) -> None:
    assert failing(TRAINER_CHECKS, *template("trainer")) == set()


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.name)
def test_cores_trainers_are_good(failing: Callable, trainer: Any) -> None:
    config = trainer.Config(steps=4, eval_every=2, eval_rows=20, rows=8, warmup=3)
    assert failing(TRAINER_CHECKS, trainer, config) == set()
