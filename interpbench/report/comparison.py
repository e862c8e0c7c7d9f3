"""Comparison of runs: a number for every case and method, means over cases, and tests of method against method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from interpbench.report.runs import METRICS, Run, case_order, number
from interpbench.report.statistics import Mean, a12, jaccard, mean_interval, wilcoxon

Value = TypeVar("Value")
Cells = dict[str, dict[str, list[Run]]]
"""Runs by case, then by method."""


@dataclass(frozen=True)
class Pair:
    """One method against another over `n` cases.

    `difference` is the mean difference, `p` that of the two-sided Wilcoxon test, `a12` the probability that a number of
    the first is larger.
    """

    first: str
    second: str
    n: int
    difference: float | None
    p: float | None
    a12: float | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs compared by one metric.

    `numbers[case][method]` are over seeds. `common` are the cases where all methods have a number. `overall[method]`,
    `pairs` and `others[metric][method]`, the means of the other metrics, are over the common cases.
    `stability[case][method]` is the mean Jaccard index of the chosen circuits over seeds, and `seconds[case][method]`
    the mean time.
    """

    metric: str
    methods: tuple[str, ...]
    numbers: Mapping[str, Mapping[str, Mean]]
    common: tuple[str, ...]
    overall: Mapping[str, Mean]
    pairs: tuple[Pair, ...]
    others: Mapping[str, Mapping[str, float | None]]
    stability: Mapping[str, Mapping[str, float | None]]
    seconds: Mapping[str, Mapping[str, float | None]]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def compare(runs: Sequence[Run], metric: str = METRICS[0]) -> Comparison:
    """Compare the runs by a metric; cases and methods stand in the order of the runs."""
    methods = tuple(dict.fromkeys(run.method for run in runs))
    cells: Cells = {case: {} for case in sorted({run.case for run in runs}, key=case_order)}
    for run in sorted(runs, key=lambda run: methods.index(run.method)):
        cells[run.case].setdefault(run.method, []).append(run)
    numbers = _over_seeds(cells, metric)
    common = tuple(case for case in cells if all(_mean(numbers, case, method) is not None for method in methods))
    by_method = {method: [_mean(numbers, case, method) for case in common] for method in methods}
    measured = [name for name in METRICS if name != metric and any(run.number(name) is not None for run in runs)]
    return Comparison(
        metric,
        methods,
        numbers,
        common,
        overall={method: mean_interval(values) for method, values in by_method.items()},
        pairs=tuple(_pair(a, b, by_method[a], by_method[b]) for a, b in combinations(methods, 2)),
        others={name: _means(_over_seeds(cells, name), common, methods) for name in measured},
        stability=_by_cell(cells, lambda own: _stability([run.record for run in own])),
        seconds=_by_cell(cells, lambda own: float(np.mean([run.record["seconds"] for run in own]))),
    )


def summary(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Runs of one method on one case from several data seeds: every metric over seeds, and the circuits' stability."""
    found: dict[str, Any] = {"seeds": [record["seed"] for record in records]}
    for metric in METRICS:
        values = [number(record, metric) for record in records]
        if any(value is not None for value in values):
            found[metric] = mean_interval(values)
    return found | {"jaccard": _stability(records)}


def _by_cell(cells: Cells, value: Callable[[list[Run]], Value]) -> dict[str, dict[str, Value]]:
    return {case: {method: value(own) for method, own in row.items()} for case, row in cells.items()}


def _over_seeds(cells: Cells, metric: str) -> dict[str, dict[str, Mean]]:
    return _by_cell(cells, lambda own: mean_interval([run.number(metric) for run in own]))


def _stability(records: Sequence[Mapping[str, Any]]) -> float | None:
    return jaccard([record["circuit"]["edges"] for record in records if record["circuit"]])


def _mean(numbers: Mapping[str, Mapping[str, Mean]], case: str, method: str) -> float | None:
    cell = numbers[case].get(method)
    return None if cell is None else cell["mean"]


def _means(
    numbers: Mapping[str, Mapping[str, Mean]], cases: Sequence[str], methods: Sequence[str]
) -> dict[str, float | None]:
    return {method: mean_interval([_mean(numbers, case, method) for case in cases])["mean"] for method in methods}


def _pair(first: str, second: str, a: Sequence[float | None], b: Sequence[float | None]) -> Pair:
    x, y = np.array(a, dtype=float), np.array(b, dtype=float)
    difference = float((x - y).mean()) if len(x) else None
    return Pair(first, second, len(x), difference, wilcoxon(x, y), a12(x, y))
