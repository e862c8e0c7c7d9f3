import pytest

from interpbench.testing import CASE_CHECKS
from interpbench_mytech import fraction_of_a


@pytest.mark.parametrize("check", CASE_CHECKS, ids=lambda check: check.__name__)
def test_conformance(check):
    check(fraction_of_a)


def test_by_hand():
    assert fraction_of_a.expected("abac") == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
