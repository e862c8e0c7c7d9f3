"""For those who write plugins: toy problems whose true circuit is known by construction, and a conformance kit.

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_conformance(check):
        check(MyTechnique())

`TRAINER_CHECKS` are called with a trainer and a configuration of a few steps, `CASE_CHECKS` with a case,
`PROPERTY_CHECKS` with a property. Or all of them at once: `check_technique(MyTechnique())`,
`check_trainer(MyTrainer(), Config(steps=6))`, `check_case(my_case)`, `check_property(MY_PROPERTY)`. A check that fails
raises AssertionError and says what was expected; what one check demands, the others do not depend on.
"""

from __future__ import annotations

from interpbench.plugins.contract import PUBLIC_MODULES
from interpbench.testing.cases import CASE_CHECKS, check_case
from interpbench.testing.properties import PROPERTY_CHECKS, check_property
from interpbench.testing.techniques import CHECKS, NEAR_THE_TRUTH, check_technique
from interpbench.testing.toys import (
    LETTERS,
    POSITIONS,
    TOY_CIRCUITS,
    random_problem,
    toy_case,
    toy_inputs,
    toy_model,
    toy_problem,
)
from interpbench.testing.trainers import TRAINER_CHECKS, check_trainer

__all__ = [
    "CASE_CHECKS",
    "CHECKS",
    "LETTERS",
    "NEAR_THE_TRUTH",
    "POSITIONS",
    "PROPERTY_CHECKS",
    "PUBLIC_MODULES",
    "TOY_CIRCUITS",
    "TRAINER_CHECKS",
    "check_case",
    "check_property",
    "check_technique",
    "check_trainer",
    "random_problem",
    "toy_case",
    "toy_inputs",
    "toy_model",
    "toy_problem",
]
