import pytest

from interpbench.testing import CHECKS
from interpbench_baselines import Flow, Hisp, Norm, Patching, Random, Ranks

FIND = ("check_finds_numerical_truth", "check_finds_categorical_truth")
"""Checks that a circuit is found: not for a baseline that looks at nothing, at activations alone or at nodes."""


PAIRS = [
    pytest.param(technique, check, id=f"{technique.name}-{check.__name__}")
    for technique in (Random(), Norm(), Patching(), Hisp(), Flow(), Ranks())
    for check in CHECKS
    if isinstance(technique, Patching | Ranks) or check.__name__ not in FIND
]


@pytest.mark.parametrize(("technique", "check"), PAIRS)
def test_conformance(technique, check):
    check(technique)


def test_the_checks_left_out_are_there_and_chance_fails_them():
    left_out = [check for check in CHECKS if check.__name__ in FIND]
    assert len(left_out) == len(FIND)
    for check in left_out:
        with pytest.raises(AssertionError, match="an edge without any effect"):
            check(Random())
