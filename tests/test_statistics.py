"""Statistics of comparison against scipy and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from interpbench.report.statistics import EXACT, a12, jaccard, mean_interval, wilcoxon

numbers = st.floats(-10, 10, allow_nan=False)


@pytest.mark.parametrize(("n", "method"), [(4, "exact"), (16, "exact"), (EXACT, "exact"), (EXACT + 1, "approx")])
def test_wilcoxon_agrees_with_scipy(n: int, method: str) -> None:
    a, b = np.random.default_rng(n).normal(size=(2, n))
    assert wilcoxon(a, b + 0.2) == pytest.approx(stats.wilcoxon(a, b + 0.2, method=method).pvalue, rel=1e-12)


@pytest.mark.parametrize("n", [5, 9])
def test_wilcoxon_with_ties_is_exact(n: int) -> None:
    a, b = np.random.default_rng(n).integers(0, 4, size=(2, n)).astype(float)
    a[0] = b[0] + 2
    differs = a != b
    every = stats.PermutationMethod(n_resamples=np.inf)
    theirs = stats.wilcoxon(a[differs], b[differs], method=every, zero_method="wilcox").pvalue
    assert wilcoxon(a, b) == pytest.approx(theirs, rel=1e-12)


def test_wilcoxon_of_many_with_ties_agrees_with_scipy() -> None:
    a, b = np.random.default_rng(0).integers(0, 6, size=(2, 120)).astype(float)
    theirs = stats.wilcoxon(a, b, method="approx", correction=False).pvalue
    assert wilcoxon(a, b) == pytest.approx(theirs, rel=1e-12)


def test_wilcoxon_needs_a_difference() -> None:
    assert wilcoxon(np.ones(5), np.ones(5)) is None
    assert wilcoxon(np.array([]), np.array([])) is None


@given(st.lists(numbers, min_size=1, max_size=8), st.lists(numbers, min_size=1, max_size=8))
def test_a12_is_the_mann_whitney_statistic(a: list[float], b: list[float]) -> None:
    theirs = stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)) if len(set(a + b)) > 1 else 0.5
    assert a12(np.array(a), np.array(b)) == pytest.approx(theirs)


def test_intervals_cover_the_mean_and_are_the_same_each_time() -> None:
    values = np.random.default_rng(1).normal(size=40).tolist()
    told = mean_interval([*values, None])
    assert told == mean_interval([None, *values]) and told["n"] == 40
    assert told["low"] < told["mean"] < told["high"]
    exact = 1.96 * np.std(values) / np.sqrt(40)
    assert told["high"] - told["low"] == pytest.approx(2 * exact, rel=0.1)
    assert mean_interval([0.5]) == {"n": 1, "mean": 0.5, "median": 0.5, "low": None, "high": None}
    assert mean_interval([None])["mean"] is None


def test_jaccard() -> None:
    assert jaccard([["a", "b"], ["b", "c"]]) == pytest.approx(1 / 3)
    assert jaccard([["a"], ["a"], []]) == pytest.approx(1 / 3)
    assert jaccard([[], []]) == 1 and jaccard([["a"]]) is None
