"""Statistics of comparison against scipy and by hand."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from interpbench.report.statistics import (
    EXACT,
    a12,
    holm,
    jaccard,
    mean_interval,
    rank_biserial,
    reliability,
    spearman,
    wilcoxon,
)

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


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.6]) == [1.0, None, 1.0], "a test that was not made is not counted"
    assert holm([]) == [] and holm([None]) == [None]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_closed_testing_with_bonferroni(p_values: list[float]) -> None:
    """A hypothesis falls if every set of hypotheses that holds it falls by the correction of Bonferroni."""
    every = range(len(p_values))
    sets = [each for size in range(1, len(p_values) + 1) for each in combinations(every, size)]
    closed = [max(min(1, len(s) * min(p_values[j] for j in s)) for s in sets if i in s) for i in every]
    assert holm(p_values) == pytest.approx(closed)


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=1, max_size=12))
def test_rank_biserial_is_made_of_the_sums_of_ranks(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype=float).T
    effect = rank_biserial(a, b)
    if (a == b).all():
        assert effect is None
        return
    ranks = stats.rankdata(np.abs((a - b)[a != b]))
    more, less = ranks[(a - b)[a != b] > 0].sum(), ranks[(a - b)[a != b] < 0].sum()
    assert effect == pytest.approx((more - less) / (more + less))
    assert rank_biserial(b, a) == pytest.approx(-effect)


def test_rank_biserial_of_all_in_one_direction() -> None:
    assert rank_biserial(np.array([3.0, 2.0, 5.0]), np.array([1.0, 2.0, 4.0])) == 1.0


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=9))
def test_spearman_agrees_with_scipy(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype=float).T
    assume(len(set(a)) > 1 and len(set(b)) > 1)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_spearman_needs_a_ranking() -> None:
    assert spearman(np.array([1.0, 1.0]), np.array([1.0, 2.0])) is None


def test_reliability_of_what_repeats_and_of_chance() -> None:
    rng = np.random.default_rng(0)
    steady = np.arange(4.0)[:, None] + rng.normal(scale=0.1, size=(4, 20))
    assert reliability(steady) == 1.0 == reliability(-steady)
    chance = [reliability(rng.normal(size=(5, 30))) for _ in range(20)]
    assert abs(np.mean(chance)) < 0.25 and min(chance) < 0
    assert reliability(np.ones((4, 8)) * 0.1) == 0.0, "where nothing differs, nothing is ranked"
    assert reliability(steady[:2]) is None and reliability(steady[:, :3]) is None
    assert reliability(steady) == reliability(steady), "seeded"


def test_halves_are_complementary() -> None:
    """One case decides the ranking: only the half that holds it ranks as it says, the other as the rest says."""
    values = np.zeros((3, 6))
    values[:, 1:] = np.arange(3.0)[:, None]
    values[:, 0] = [100.0, 50.0, 0.0]
    assert reliability(values) == -1.0
