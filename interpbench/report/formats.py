"""A comparison as tables for people, CSV, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from interpbench.report.comparison import WAYS, Comparison, Family
from interpbench.report.folders import Failure
from interpbench.report.planted import Planted
from interpbench.report.runs import other_form
from interpbench.report.statements import statements
from interpbench.report.statistics import Mean
from interpbench.table import Table, cell, csv_text

CHOSEN = ("chosen.false_edges", "chosen.core_found", "chosen.sufficient", "chosen.exact")
"""Metrics of the circuit that a technique chose, in the order of their columns."""

MOST_PAIRS = 15
"""Of more pairs only those that differ are shown."""


def tables(comparison: Comparison, failures: Sequence[Failure] = (), timed: bool = True) -> list[Table]:
    """The tables of a report: means, by property, circuits and cost, pairs, other metrics, per case, stability,
    seconds, failures.

    Without `timed` there are no seconds, so that the same runs always give the same tables.
    """
    return [
        table
        for table in (
            _overall(comparison),
            *(_planted(comparison, each) for each in comparison.planted),
            _found(comparison, timed),
            _pairs(comparison, "technique", "technique against technique, each two on the cases that they share"),
            _pairs(comparison, "baseline", "technique against baseline, each two on the cases that they share"),
            _others(comparison),
            _per_case(f"{comparison.metric} per case", comparison, comparison.numbers, _with_interval),
            _per_case("stability of the circuit over seeds (Jaccard)", comparison, comparison.stability, cell),
            _per_case("seconds", comparison, comparison.seconds, cell) if timed else None,
            _failures(failures),
        )
        if table is not None and table.rows
    ]


def _overall(comparison: Comparison) -> Table:
    """Means over each method's own cases and, where the cases of the methods differ, over the common ones; chance."""
    metric, n_common = comparison.metric, len(comparison.common)
    other = other_form(metric) if comparison.beside else None
    same = all(numbers["n"] in (0, n_common) for numbers in comparison.overall.values())
    columns = ("method", "cases>", f"{_form(metric)}\nmean, 95 % interval>".lstrip())
    columns += (f"{_form(other)}>".replace(" ", "\n"),) if other else ()
    columns += () if same else (f"mean of the\n{n_common} common>",)

    def row(label: str, own: Mean, beside: Mean | None, common: Mean | None) -> tuple[Any, ...]:
        added = (beside["mean"] if beside else None,) if other else ()
        over_all = common["mean"] if common and common["n"] == n_common else None  # a baseline may lack some
        return label, own["n"], _with_interval(own), *added, *(() if same else (over_all,))

    rows = [
        row(comparison.label(method), own, comparison.beside.get(method), comparison.over_common[method])
        for method, own in comparison.overall.items()
    ]
    if metric in comparison.chance:
        rows.append(row("chance", comparison.chance[metric], comparison.chance.get(other or ""), None))
    where = f"over {n_common} cases" if same else "over the cases of each method"
    return Table(f"{metric} {where}", columns, tuple(rows))


def _form(metric: str) -> str:
    """What a metric judges against, in words, if it has two forms."""
    if other_form(metric) is None:
        return ""
    return "identifiable" if ".identifiable" in metric else "by construction"


def _planted(comparison: Comparison, planted: Planted) -> Table:
    """Means by property; the cells are shaded on a page."""
    rows = []
    for property, means in planted.means.items():
        count = max(mean["n"] for mean in means.values())
        rows.append((property, count, *(_with_interval(means[method]) for method in comparison.methods)))
    columns = ("property", "cases>", *heads(comparison))
    return Table(f"{planted.metric} by property of generated cases", columns, tuple(rows), shaded=True)


def _found(comparison: Comparison, timed: bool) -> Table:
    """What each method chose and what it cost: means over its own cases."""
    columns = ("method", "false\nedges>", "core\nfound>", "suf-\nficient>", "exact>")
    columns += (*(("seconds>",) if timed else ()), "forward\npasses>", "backward\npasses>")
    rows = []
    for method in comparison.methods:
        chosen = [comparison.means[name][method] if name in comparison.means else None for name in CHOSEN]
        cost = [fmean(own[method][way] for own in comparison.passes.values() if method in own) for way in WAYS]
        seconds = fmean(own[method] for own in comparison.seconds.values() if method in own)
        row = (_tenths(chosen[0]), *chosen[1:], *((seconds,) if timed else ()), *map(_tenths, cost))
        rows.append((comparison.label(method), *row))
    return Table(
        "the circuits that were chosen, and the cost: means over the cases of each method", columns, tuple(rows)
    )


def _tenths(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


def _pairs(comparison: Comparison, family: Family, title: str) -> Table:
    """All pairs of a family; of many those that differ."""
    pairs = [pair for pair in comparison.pairs if pair.family == family]
    differing = [pair for pair in pairs if pair.differs]
    if len(pairs) > MOST_PAIRS:
        title += f": {len(differing)} of {len(pairs)} differ, the others are in the JSON"
    columns = ("method", "against", "cases>", "differ-\nence>", "p>", "p after\nHolm>", "A12>", "rank-\nbiserial>")
    rows = [
        (
            comparison.label(pair.first),
            comparison.label(pair.second),
            *(pair.n, pair.difference, _small(pair.p), _small(pair.holm), pair.a12, pair.rank_biserial),
        )
        for pair in (differing if len(pairs) > MOST_PAIRS else pairs)
    ]
    return Table(title, columns, tuple(rows))


def _others(comparison: Comparison) -> Table:
    rows = [(name, *(means[method] for method in comparison.methods)) for name, means in comparison.others.items()]
    title = f"means of other metrics over the {len(comparison.common)} cases that all techniques have"
    return Table(title, ("metric", *heads(comparison)), tuple(rows))


def _per_case(
    title: str, comparison: Comparison, numbers: Mapping[str, Mapping[str, Any]], shown: Callable[[Any], str]
) -> Table | None:
    if all(value is None for own in numbers.values() for value in own.values()):
        return None
    rows = [(case, *(shown(own.get(method)) for method in comparison.methods)) for case, own in numbers.items()]
    return Table(title, ("case", *heads(comparison)), tuple(rows))


def heads(comparison: Comparison) -> tuple[str, ...]:
    """The methods as names of columns of numbers."""
    return tuple(f"{comparison.label(method)}>" for method in comparison.methods)


def _failures(failures: Sequence[Failure]) -> Table | None:
    return Table("failed", ("run", "error"), tuple((each.run, each.error) for each in failures)) if failures else None


def _with_interval(numbers: Mean | None) -> str:
    if numbers is None or numbers["mean"] is None:
        return "-"
    return f"{numbers['mean']:.3f}" + ("" if numbers["low"] is None else f" {_interval(numbers)}")


def _interval(numbers: Mean) -> str:
    return "-" if numbers["low"] is None else f"[{numbers['low']:.3f}, {numbers['high']:.3f}]"


def _small(p: float | None) -> str:
    return "-" if p is None else f"{p:.2g}"


def as_csv(comparison: Comparison) -> str:
    """One line for every case and method: number of seeds, mean, interval, stability, seconds, whether a baseline."""
    columns = ("case", "method", "metric", "seeds", "mean", "low", "high", "jaccard", "seconds", "baseline")
    rows = []
    for case, own in comparison.numbers.items():
        for method, numbers in own.items():
            measured = (numbers["n"], numbers["mean"], numbers["low"], numbers["high"])
            added = (comparison.stability[case][method], comparison.seconds[case][method])
            added += ("yes" if method in comparison.baselines else "no",)
            rows.append((case, method, comparison.metric, *measured, *added))
    return csv_text(columns, rows)


def as_json(comparison: Comparison, failures: Sequence[Failure]) -> dict[str, Any]:
    """A comparison, what it says, and the failures, as plain data."""
    told = {"statements": statements(comparison), **comparison.to_json()}
    return {**told, "failures": [asdict(each) for each in failures]}
