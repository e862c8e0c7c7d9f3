from dataclasses import dataclass

import pytest

from interpbench.testing import CHECKS
from interpbench_eap import Config, Eap


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check):
    check(Eap())


@dataclass(frozen=True)
class Relevance(Config):
    backward: str = "relp"


def test_attention_held_constant_is_declared(monkeypatch):
    monkeypatch.setattr(Eap, "Config", Relevance)
    find = next(check for check in CHECKS if check.__name__ == "check_finds_categorical_truth")
    with pytest.raises(AssertionError, match="true edge .* scores 0"):
        find(Eap())
    monkeypatch.setattr(Eap, "attention", "frozen", raising=False)
    find(Eap())
