import pytest

from interpbench.testing import TRAINER_CHECKS
from interpbench_mytech import Config, MytechTrainer

# The checks train some fifteen times: name few steps of your own Config here.
SHORT = Config(steps=6, rows=16, keep_every=2)


@pytest.mark.parametrize("check", TRAINER_CHECKS, ids=lambda check: check.__name__)
def test_conformance(check):
    check(MytechTrainer(), SHORT)
