"""A comparison as tables for people, CSV, Markdown and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from interpbench.report.comparison import Comparison
from interpbench.report.runs import Failure
from interpbench.report.statistics import Mean
from interpbench.table import Table, cell


def tables(comparison: Comparison, failures: Sequence[Failure] = (), timed: bool = True) -> list[Table]:
    """The tables of a report: over cases, pairs, other metrics, per case, stability, seconds, failures.

    Without `timed` there are no seconds, so that the same runs always give the same tables.
    """
    return [
        table
        for table in (
            _overall(comparison),
            _pairs(comparison),
            _others(comparison),
            _per_case(f"{comparison.metric} per case", comparison, comparison.numbers, _with_interval),
            _per_case("stability of the circuit over seeds (Jaccard)", comparison, comparison.stability, cell),
            _per_case("seconds", comparison, comparison.seconds, cell) if timed else None,
            _failures(failures),
        )
        if table is not None and table.rows
    ]


def _overall(comparison: Comparison) -> Table:
    columns = ("method", "cases>", "mean>", "95 % interval>", "median>")
    rows = [
        (method, numbers["n"], numbers["mean"], _interval(numbers), numbers["median"])
        for method, numbers in comparison.overall.items()
    ]
    left = sorted(set(comparison.numbers) - set(comparison.common), key=list(comparison.numbers).index)
    missing = f"; without {', '.join(left)}: not every method has a number there" if left else ""
    return Table(f"{comparison.metric} over {len(comparison.common)} cases{missing}", columns, tuple(rows))


def _pairs(comparison: Comparison) -> Table:
    columns = ("method", "against", "cases>", "mean difference>", "Wilcoxon p>", "A12>")
    rows = [(pair.first, pair.second, pair.n, pair.difference, _small(pair.p), pair.a12) for pair in comparison.pairs]
    return Table("each against each", columns, tuple(rows))


def _others(comparison: Comparison) -> Table:
    rows = [(name, *(means[method] for method in comparison.methods)) for name, means in comparison.others.items()]
    return Table("means of other metrics over these cases", ("metric", *_heads(comparison.methods)), tuple(rows))


def _per_case(
    title: str, comparison: Comparison, numbers: Mapping[str, Mapping[str, Any]], shown: Callable[[Any], str]
) -> Table | None:
    if all(value is None for own in numbers.values() for value in own.values()):
        return None
    rows = [(case, *(shown(own.get(method)) for method in comparison.methods)) for case, own in numbers.items()]
    return Table(title, ("case", *_heads(comparison.methods)), tuple(rows))


def _heads(methods: Sequence[str]) -> tuple[str, ...]:
    """Methods as names of columns of numbers."""
    return tuple(f"{method}>" for method in methods)


def _failures(failures: Sequence[Failure]) -> Table | None:
    return Table("failed", ("run", "error"), tuple((each.run, each.error) for each in failures)) if failures else None


def _with_interval(numbers: Mean | None) -> str:
    if numbers is None or numbers["mean"] is None:
        return "-"
    return f"{numbers['mean']:.3f}" + (f" {_interval(numbers)}" if numbers["n"] > 1 else "")


def _interval(numbers: Mean) -> str:
    return "-" if numbers["low"] is None else f"[{numbers['low']:.3f}, {numbers['high']:.3f}]"


def _small(p: float | None) -> str:
    return "-" if p is None else f"{p:.2g}"


def as_csv(comparison: Comparison) -> str:
    """One line for every case and method: number of seeds, mean, interval, stability, seconds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("case", "method", "metric", "seeds", "mean", "low", "high", "jaccard", "seconds"))
    for case, own in comparison.numbers.items():
        for method, numbers in own.items():
            measured = (numbers["n"], numbers["mean"], numbers["low"], numbers["high"])
            added = (comparison.stability[case][method], comparison.seconds[case][method])
            row = (case, method, comparison.metric, *measured, *added)
            writer.writerow("" if value is None else value for value in row)
    return text.getvalue()


def as_json(comparison: Comparison, failures: Sequence[Failure]) -> str:
    """A comparison and its failures as JSON."""
    content = {**comparison.to_json(), "failures": [asdict(each) for each in failures]}
    return json.dumps(content, indent=1, allow_nan=False)
