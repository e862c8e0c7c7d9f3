import pytest

from interpbench.testing import TRAINER_CHECKS
from interpbench_mytech import Config, MytechTrainer

SHORT = Config(steps=6, rows=16, keep_every=2)


@pytest.mark.parametrize("check", TRAINER_CHECKS, ids=lambda check: check.__name__)
def test_conformance(check):
    check(MytechTrainer(), SHORT)


def test_options_are_checked():
    with pytest.raises(ValueError, match="at least 1"):
        Config(steps=0)
