import pytest

from interpbench.testing import CHECKS
from interpbench_mytech import MytechTechnique


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check):
    check(MytechTechnique())
