"""From single numbers to statements: intervals, tests of one technique against another, stability of circuits.

Everything is deterministic: the bootstrap draws from a seed of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations
from math import erfc, sqrt
from typing import TypedDict

import numpy as np
from jaxtyping import Float

DRAWS, CONFIDENCE = 10_000, 0.95
EXACT = 50
"""Up to so many pairs the distribution of the signed-rank statistic is counted out."""


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
    size = np.abs(difference)
    _, group, count = np.unique(size, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    doubled = (2 * last - count + 1)[group]  # twice the mean rank of each, a whole number
    positive = int(doubled[difference > 0].sum())
    lower = min(positive, int(doubled.sum()) - positive)
    if n <= EXACT:
        ways = np.zeros(int(doubled.sum()) + 1)
        ways[0] = 1
        for rank in doubled:
            ways[rank:] = ways[rank:] + ways[:-rank]
        return float(min(1.0, 2 * ways[: lower + 1].sum() / 2.0**n))
    variance = (n * (n + 1) * (2 * n + 1) - ((count**3 - count).sum()) / 2) / 24
    z = (lower / 2 - n * (n + 1) / 4) / sqrt(variance)
    return float(min(1.0, erfc(abs(z) / sqrt(2))))


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
