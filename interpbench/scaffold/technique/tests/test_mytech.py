import pytest

from interpbench.testing import CHECKS, toy_problem
from interpbench_mytech import Config, MytechTechnique


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check):
    check(MytechTechnique())


def test_options_are_checked():
    with pytest.raises(ValueError, match="share between 0 and 1"):
        Config(faithful=2)


@pytest.mark.parametrize("output", ["numerical", "categorical"])
def test_the_circuit_chosen_is_the_true_one(output):
    problem, truth = toy_problem(output)
    assert MytechTechnique().discover(problem, Config(faithful=0.01)).circuit.edges == truth.edges
