import pytest

from interpbench.testing import CHECKS
from interpbench_baselines import Flow, Hisp, Norm, Patching, Random, Ranks

EACH = [Random(), Norm(), Patching(), Hisp(), Flow(), Ranks()]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("technique", EACH, ids=lambda technique: technique.name)
def test_conformance(technique, check):
    check(technique)


@pytest.mark.parametrize("technique", [each for each in EACH if hasattr(each, "scores")], ids=lambda each: each.name)
def test_what_does_not_score_edges_fails_where_it_does_not_say_so(technique, monkeypatch):
    monkeypatch.setattr(type(technique), "scores", "edges")
    for check in CHECKS:
        if check.__name__.startswith("check_finds"):
            with pytest.raises(AssertionError, match="edge without any effect"):
                check(technique)
