"""A comparison as tables for people, CSV, Markdown and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from interpbench.report.comparison import Comparison
from interpbench.report.runs import Failure
from interpbench.report.statistics import Mean
from interpbench.table import Table, cell


def tables(told: Comparison, failures: Sequence[Failure] = (), timed: bool = True) -> list[Table]:
    """What there is to say, in order: over cases, pairs, other metrics, per case, stability, seconds, failures.

    Without `timed` they depend on nothing but what was computed.
    """
    return [
        table
        for table in (
            _overall(told),
            _pairs(told),
            _others(told),
            _per_case(f"{told.metric} per case", told, told.numbers, _with_interval),
            _per_case("stability of the circuit over seeds (Jaccard)", told, told.stability, cell),
            _per_case("seconds", told, told.seconds, cell) if timed else None,
            _failures(failures),
        )
        if table is not None and table.rows
    ]


def _overall(told: Comparison) -> Table:
    columns = ("method", "cases>", "mean>", "95 % interval>", "median>")
    rows = [
        (method, numbers["n"], numbers["mean"], _interval(numbers), numbers["median"])
        for method, numbers in told.overall.items()
    ]
    left = sorted(set(told.numbers) - set(told.common), key=list(told.numbers).index)
    missing = f"; without {', '.join(left)}: not every method has a number there" if left else ""
    return Table(f"{told.metric} over {len(told.common)} cases{missing}", columns, tuple(rows))


def _pairs(told: Comparison) -> Table:
    columns = ("method", "against", "cases>", "mean difference>", "Wilcoxon p>", "A12>")
    rows = [(pair.first, pair.second, pair.n, pair.difference, _small(pair.p), pair.a12) for pair in told.pairs]
    return Table("each against each", columns, tuple(rows))


def _others(told: Comparison) -> Table:
    rows = [(name, *(means[method] for method in told.methods)) for name, means in told.others.items()]
    return Table("means of other metrics over these cases", ("metric", *_heads(told.methods)), tuple(rows))


def _per_case(
    title: str, told: Comparison, numbers: Mapping[str, Mapping[str, Any]], shown: Callable[[Any], str]
) -> Table | None:
    if all(value is None for own in numbers.values() for value in own.values()):
        return None
    rows = [(case, *(shown(own.get(method)) for method in told.methods)) for case, own in numbers.items()]
    return Table(title, ("case", *_heads(told.methods)), tuple(rows))


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


def as_csv(told: Comparison) -> str:
    """One line for every case and method: number of seeds, mean, interval, stability, seconds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("case", "method", "metric", "seeds", "mean", "low", "high", "jaccard", "seconds"))
    for case, own in told.numbers.items():
        for method, numbers in own.items():
            measured = (numbers["n"], numbers["mean"], numbers["low"], numbers["high"])
            row = (case, method, told.metric, *measured, told.stability[case][method], told.seconds[case][method])
            writer.writerow("" if value is None else value for value in row)
    return text.getvalue()


def as_markdown(shown: Iterable[Table]) -> str:
    """Tables in Markdown, each under its title."""
    parts = []
    for table in shown:
        rule = ["---:" if column.endswith(">") else "---" for column in table.columns]
        lines = [
            [column.rstrip(">") for column in table.columns],
            rule,
            *([cell(x) for x in row] for row in table.rows),
        ]
        body = "\n".join("| " + " | ".join(x.replace("|", "\\|") for x in line) + " |" for line in lines)
        parts.append(f"**{table.title}**\n\n{body}\n")
    return "\n".join(parts)


def as_json(told: Comparison, failures: Sequence[Failure]) -> str:
    """All of a comparison, and what failed."""
    return json.dumps({**told.to_json(), "failures": [asdict(each) for each in failures]}, indent=1, allow_nan=False)
