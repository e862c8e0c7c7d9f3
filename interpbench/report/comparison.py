"""Runs compared: a number for every case and method, over cases, and one method against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from interpbench.report.runs import METRICS, Run, case_order
from interpbench.report.statistics import Mean, a12, jaccard, mean_interval, wilcoxon


@dataclass(frozen=True)
class Pair:
    """One method against another over `n` cases: mean difference, two-sided p (Wilcoxon), A12 (chance of more)."""

    first: str
    second: str
    n: int
    difference: float | None
    p: float | None
    a12: float | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs compared by one metric.

    `numbers[case][method]` is over seeds; `overall[method]` over the `common` cases, those for which every method has
    a number; so are `pairs`. `others[metric][method]` are the means of the other metrics over the common cases.
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
    cases = sorted({run.case for run in runs}, key=case_order)
    cells: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        cells.setdefault((run.case, run.method), []).append(run)

    def over_seeds(name: str) -> dict[str, dict[str, Mean]]:
        return {
            case: {
                method: mean_interval([run.number(name) for run in cells[case, method]])
                for method in methods
                if (case, method) in cells
            }
            for case in cases
        }

    numbers = over_seeds(metric)
    common = tuple(case for case in cases if all(_mean(numbers, case, method) is not None for method in methods))
    by_method = {method: [_mean(numbers, case, method) for case in common] for method in methods}
    others = {}
    for name in METRICS:
        if name != metric and any(run.number(name) is not None for run in runs):
            table = over_seeds(name)
            others[name] = {m: mean_interval([_mean(table, case, m) for case in common])["mean"] for m in methods}
    return Comparison(
        metric,
        methods,
        numbers,
        common,
        {method: mean_interval(values) for method, values in by_method.items()},
        tuple(_pair(a, b, by_method[a], by_method[b]) for a, b in combinations(methods, 2)),
        others,
        _by_cell(cells, cases, methods, lambda own: jaccard([_edges(run) for run in own if run.record["circuit"]])),
        _by_cell(cells, cases, methods, lambda own: float(np.mean([run.record["seconds"] for run in own]))),
    )


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Runs of one method on one case from several data seeds: every metric over seeds, and the circuits' stability."""
    told: dict[str, Any] = {"seeds": [run.record["seed"] for run in runs]}
    for metric in METRICS:
        values = [run.number(metric) for run in runs]
        if any(value is not None for value in values):
            told[metric] = mean_interval(values)
    return told | {"jaccard": jaccard([_edges(run) for run in runs if run.record["circuit"]])}


def _mean(numbers: Mapping[str, Mapping[str, Mean]], case: str, method: str) -> float | None:
    cell = numbers[case].get(method)
    return None if cell is None else cell["mean"]


def _pair(first: str, second: str, a: Sequence[float | None], b: Sequence[float | None]) -> Pair:
    x, y = np.array(a, dtype=float), np.array(b, dtype=float)
    difference = float((x - y).mean()) if len(x) else None
    return Pair(first, second, len(x), difference, wilcoxon(x, y), a12(x, y))


def _edges(run: Run) -> list[str]:
    return run.record["circuit"]["edges"]


def _by_cell(
    cells: Mapping[tuple[str, str], list[Run]], cases: Sequence[str], methods: Sequence[str], value: Any
) -> dict[str, dict[str, float | None]]:
    return {case: {m: value(cells[case, m]) for m in methods if (case, m) in cells} for case in cases}
