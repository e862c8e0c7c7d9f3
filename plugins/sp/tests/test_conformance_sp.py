import pytest

from interpbench.testing import CHECKS
from interpbench_sp import Sp


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check):
    check(Sp())
