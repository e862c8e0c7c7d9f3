import pytest

from interpbench.testing import CHECKS
from interpbench_eap import Eap


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check):
    check(Eap())
