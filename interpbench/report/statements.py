"""What a comparison says, in plain sentences: whether the techniques differ, and how far their ranking repeats."""

from __future__ import annotations

from collections.abc import Sequence

from interpbench.report.comparison import ALPHA, Comparison, Pair, Undefined
from interpbench.report.planted import LOSS
from interpbench.report.runs import LOWER
from interpbench.report.statistics import HALVES
from interpbench.table import cell

NAMED = 6
"""More names or pairs than these are counted, not listed."""


def statements(comparison: Comparison) -> list[str]:
    """Whether techniques differ, two summary numbers, what each fails at, where there is no number; a line each.

    Empty without runs.
    """
    if not comparison.methods:
        return []
    undefined = [_undefined(comparison, one) for one in comparison.undefined]
    return [_whether_they_differ(comparison), _summary(comparison), *_failing(comparison), *undefined]


def _whether_they_differ(comparison: Comparison) -> str:
    names, pairs = comparison.techniques, comparison.tested
    if not pairs:
        return "Fewer than two techniques: nothing to compare." if len(names) < 2 else "No two techniques share a case."
    metric = comparison.metric + (" (lower is better)" if comparison.metric in LOWER else "")
    differing = [pair for pair in pairs if pair.differs]
    tests = f"{len(differing)} of {len(pairs)} pairs after Holm's correction (p < {ALPHA:g}) on {_cases(pairs)}"
    if not differing and all(2 * len(pairs) / 2**pair.n >= ALPHA for pair in pairs):
        return f"Too few cases to say whether {_list(names)} differ in {metric}: {tests}."
    if not differing:
        return f"{_list(names)} do not differ in {metric}: {tests}."
    named = [_ordered(pair) for pair in differing]
    shown = "; ".join(named[:NAMED]) + (f"; and {len(named) - NAMED} more" if len(named) > NAMED else "")
    return f"{_list(names)} differ in {metric} in {tests}: {shown}."


def _ordered(pair: Pair) -> str:
    """Which of two methods has the larger numbers."""
    larger, smaller = (pair.first, pair.second) if (pair.difference or 0) > 0 else (pair.second, pair.first)
    return f"{larger} above {smaller}"


def _cases(pairs: Sequence[Pair]) -> str:
    fewest, most = min(pair.n for pair in pairs), max(pair.n for pair in pairs)
    return f"{_count(most)}" if fewest == most else f"{fewest} to {_count(most)} a pair"


def _summary(comparison: Comparison) -> str:
    halves = "it needs three techniques and four cases that all of them have"
    if comparison.reliability is not None:
        halves = (
            f"mean rank correlation of their means between {HALVES} random halves of {_count(len(comparison.common))}"
        )
    separation, reliability = cell(comparison.separation), cell(comparison.reliability)
    return f"Separation {separation} (share of pairs of techniques that differ); reliability {reliability} ({halves})."


def _failing(comparison: Comparison) -> list[str]:
    """For each technique the planted properties at which others are much better, by the metric that is compared."""
    if not comparison.planted or comparison.metric in LOWER:
        return []
    planted, found = comparison.planted[0], []
    for method in comparison.techniques:
        lost = planted.losses(method, comparison.techniques)
        named = ", ".join(f"{property} ({mean:.2f})" for property, mean in lost.items())
        measured = sum(means[method]["mean"] is not None for means in planted.means.values())
        at = f"{LOSS:g} or more below the best at {len(lost)} of {measured} properties"
        found.append(f"{method}: {at}{': ' if named else ''}{named}.")
    return found


def _undefined(comparison: Comparison, one: Undefined) -> str:
    whose = "" if set(one.methods) == set(comparison.methods) else f" for {_list(one.methods)}"
    named = f" ({', '.join(one.cases)})" if len(one.cases) <= NAMED else ""
    share = f"{len(one.cases)} of {_count(len(comparison.numbers))}"
    return f"No {comparison.metric}{whose} in {share}{named}: {one.reason}."


def _count(cases: int) -> str:
    return f"{cases} case" + ("" if cases == 1 else "s")


def _list(names: Sequence[str]) -> str:
    """Names as in a sentence; many are counted."""
    if len(names) > NAMED:
        return f"{len(names)} techniques"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
