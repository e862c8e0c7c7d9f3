"""From single numbers to statements: intervals, tests of one technique against another, stability of circuits.

Everything is deterministic: the bootstrap and the random halves are drawn from seeds of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations
from math import erfc, sqrt
from typing import TypedDict

import numpy as np
from jaxtyping import Float, Int

DRAWS, CONFIDENCE = 10_000, 0.95
EXACT = 50
"""Up to so many pairs the distribution of the signed-rank statistic is counted out."""
HALVES = 200
"""Number of random divisions of the cases into two halves."""


class Mean(TypedDict):
    """A mean of `n` numbers with its bootstrap interval; None where there are too few."""

    n: int
    mean: float | None
    median: float | None
    low: float | None
    high: float | None


def mean_interval(values: Sequence[float | None]) -> Mean:
    """Mean, median, and 95 % percentile bootstrap interval of the mean, of those that are not None."""
    there = np.array([value for value in values if value is not None], dtype=float)
    if not len(there):
        return {"n": 0, "mean": None, "median": None, "low": None, "high": None}
    numbers: Mean = {
        "n": len(there),
        "mean": float(there.mean()),
        "median": float(np.median(there)),
        "low": None,
        "high": None,
    }
    if len(there) > 1:
        picked = np.random.default_rng(0).integers(len(there), size=(DRAWS, len(there)))
        tail = (1 - CONFIDENCE) / 2
        numbers["low"], numbers["high"] = np.quantile(there[picked].mean(1), [tail, 1 - tail]).tolist()
    return numbers


def wilcoxon(first: Float[np.ndarray, " pair"], second: Float[np.ndarray, " pair"]) -> float | None:
    """Two-sided p of the signed-rank test (Wilcoxon 1945) on paired numbers; None if no pair differs.

    Pairs without a difference are left out. Exact, ties included, up to 50 pairs, else by the normal approximation
    with the correction for ties.
    """
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    difference = difference[difference != 0]
    n = len(difference)
    if n == 0:
        return None
    doubled = _doubled_ranks(np.abs(difference))
    positive = int(doubled[difference > 0].sum())
    lower = min(positive, int(doubled.sum()) - positive)
    if n <= EXACT:
        ways = np.zeros(int(doubled.sum()) + 1)
        ways[0] = 1
        for rank in doubled:
            ways[rank:] = ways[rank:] + ways[:-rank]
        return float(min(1.0, 2 * ways[: lower + 1].sum() / 2.0**n))
    count = np.unique(doubled, return_counts=True)[1]
    variance = (n * (n + 1) * (2 * n + 1) - ((count**3 - count).sum()) / 2) / 24
    z = (lower / 2 - n * (n + 1) / 4) / sqrt(variance)
    return float(min(1.0, erfc(abs(z) / sqrt(2))))


def _doubled_ranks(values: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Twice the rank of each number from the smallest, 1, upwards. Ties have their mean rank: doubled, it is whole."""
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    return (2 * np.cumsum(count) - count + 1)[group]


def rank_biserial(first: Float[np.ndarray, " pair"], second: Float[np.ndarray, " pair"]) -> float | None:
    """Matched-pairs rank-biserial correlation (Kerby 2014): the effect size of the signed-rank test, from -1 to 1.

    It is the share of the sum of ranks where the first is larger, minus the share where the second is. Pairs without
    a difference are left out; None if no pair differs.
    """
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    difference = difference[difference != 0]
    if not len(difference):
        return None
    ranks = _doubled_ranks(np.abs(difference))
    return float((ranks * np.sign(difference)).sum() / ranks.sum())


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p values of a family of tests by the step-down procedure of Holm (1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none falls below the one before it, and none
    exceeds 1. None stands for a test that was not made: it stays None and is not counted.
    """
    adjusted: list[float | None] = [None] * len(p_values)
    ordered = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    largest = 0.0
    for rank, (p, i) in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * p))
        adjusted[i] = largest
    return adjusted


def spearman(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float | None:
    """Rank correlation (Spearman 1904), ties by mean ranks; None if either has all numbers equal."""
    x, y = (_doubled_ranks(np.asarray(values, dtype=float)).astype(float) for values in (first, second))
    x, y = x - x.mean(), y - y.mean()
    scale = sqrt(float((x * x).sum() * (y * y).sum()))
    return float((x * y).sum() / scale) if scale else None


def reliability(values: Float[np.ndarray, "method case"]) -> float | None:
    """How far a ranking of methods by their means repeats: mean Spearman correlation between halves of the cases.

    The cases are divided at random `HALVES` times (with an odd number, one half has a case more), and the rankings in
    the two halves are compared. A division counts 0 if a half ranks nothing, since all methods have the same mean
    there. None for fewer than 3 methods (between two rankings of 2 the correlation is 1 or -1 and says little) and for
    fewer than 4 cases.
    """
    n_methods, n_cases = values.shape
    if n_methods < 3 or n_cases < 4:
        return None
    rng = np.random.default_rng(0)
    found = []
    for _ in range(HALVES):
        order = rng.permutation(n_cases)
        one, other = (values[:, half].mean(1).round(12) for half in np.array_split(order, 2))
        found.append(spearman(one, other) or 0.0)
    return float(np.mean(found))


def a12(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " m"]) -> float | None:
    """Chance that a number of the first is above one of the second, ties half (Vargha and Delaney 2000)."""
    if not len(first) or not len(second):
        return None
    above = np.asarray(first)[:, None] - np.asarray(second)[None]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def jaccard(circuits: Sequence[Collection[str]]) -> float | None:
    """Mean over pairs of the share of edges in both among those in either; None for fewer than two circuits.

    Two empty circuits are the same.
    """
    pairs = [
        len(set(a) & set(b)) / len(set(a) | set(b)) if set(a) | set(b) else 1.0 for a, b in combinations(circuits, 2)
    ]
    return sum(pairs) / len(pairs) if pairs else None
