import pytest

from interpbench.testing import CHECKS
from interpbench_acdc import Acdc


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check):
    check(Acdc())
