"""Comparison of runs: a number for every case and method, means over cases, and tests of method against method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, product
from typing import Any, Literal, TypeVar

import numpy as np

from interpbench.report.chance import chance
from interpbench.report.planted import Planted, by_property
from interpbench.report.runs import METRICS, Run, SubjectId, case_order, number, other_form
from interpbench.report.statistics import (
    Mean,
    a12,
    holm,
    jaccard,
    mean_interval,
    rank_biserial,
    reliability,
    wilcoxon,
)

Value = TypeVar("Value")
Family = Literal["technique", "baseline"]
Values = dict[str, dict[str, float]]
"""Numbers by method, then by case."""
Cells = dict[str, dict[str, list[Run]]]
"""Runs by case, then by method."""

WAYS = ("forward", "backward")
"""Directions of passes through a model."""
ALPHA = 0.05
"""A pair of methods differs if its corrected p value is below."""
EXACT = "chosen.exact"
"""The metric that is compared by property beside the one that is asked for."""


@dataclass(frozen=True)
class Pair:
    """One method against another over the `n` cases where both have a number.

    `family` is `technique` for two techniques, `baseline` for a technique against a baseline. `difference` is the mean
    difference, `p` that of the two-sided Wilcoxon test, and `holm` the same after Holm's correction within the family.
    `a12` is the probability that a number of the first is larger, and `rank_biserial` the matched-pairs rank-biserial
    correlation. All are None without a common case.
    """

    family: Family
    first: str
    second: str
    n: int
    difference: float | None = None
    p: float | None = None
    holm: float | None = None
    a12: float | None = None
    rank_biserial: float | None = None

    @property
    def differs(self) -> bool:
        """Whether the two differ after correction."""
        return self.holm is not None and self.holm < ALPHA


@dataclass(frozen=True)
class Undefined:
    """Cases and methods of the runs without a number, for one reason."""

    reason: str
    cases: tuple[str, ...]
    methods: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs compared by one metric.

    `methods` end with the `baselines`; the others are called techniques here. `numbers[case][method]` are over seeds.
    `overall[method]` is over all cases where the method has a number, and `beside[method]` is the mean of the metric's
    other form (`runs.other_form`) over the same cases; it is empty if there is none. `means[metric][method]` is the
    mean of each metric over all cases where the method has a number for it.

    `common` are the cases where all techniques have a number; `over_common[method]` and `others[metric][method]` are
    means over these of the metric and of the other metrics. `reliability` says how far the
    ranking of the techniques repeats (`statistics.reliability`). `chance` is that of the metric and of its other form,
    with an interval over random scores; it is empty for a metric that ranks no edges.

    `planted` are means by property of generated cases, of the metric and of `EXACT`; it is empty if there are none.

    `stability[case][method]` is the mean Jaccard index of the chosen circuits over seeds. `seconds` and `passes` are
    means over seeds, and `subjects` says which subject the runs of a cell are on.
    """

    metric: str
    methods: tuple[str, ...]
    baselines: tuple[str, ...]
    numbers: Mapping[str, Mapping[str, Mean]]
    overall: Mapping[str, Mean]
    beside: Mapping[str, Mean]
    common: tuple[str, ...]
    over_common: Mapping[str, Mean]
    means: Mapping[str, Mapping[str, float | None]]
    others: Mapping[str, Mapping[str, float | None]]
    pairs: tuple[Pair, ...]
    reliability: float | None
    undefined: tuple[Undefined, ...]
    chance: Mapping[str, Mean]
    planted: tuple[Planted, ...]
    stability: Mapping[str, Mapping[str, float | None]]
    seconds: Mapping[str, Mapping[str, float]]
    passes: Mapping[str, Mapping[str, Mapping[str, float]]]
    subjects: Mapping[str, Mapping[str, Mapping[str, str]]]

    @property
    def techniques(self) -> tuple[str, ...]:
        """The methods that are not baselines."""
        return tuple(method for method in self.methods if method not in self.baselines)

    @property
    def tested(self) -> tuple[Pair, ...]:
        """The pairs of techniques that share a case."""
        return tuple(pair for pair in self.pairs if pair.family == "technique" and pair.n)

    @property
    def separation(self) -> float | None:
        """The share of pairs of techniques that differ; None if no pair shares a case."""
        return sum(pair.differs for pair in self.tested) / len(self.tested) if self.tested else None

    def label(self, method: str) -> str:
        """The method's name as it stands in tables and figures."""
        return f"{method} (baseline)" if method in self.baselines else method

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "separation": self.separation}


def compare(runs: Sequence[Run], metric: str = METRICS[0]) -> Comparison:
    """Compare the runs by a metric; cases and methods stand in the order of the runs, baselines last."""
    baselines = tuple(dict.fromkeys(run.method for run in runs if run.record["baseline"]))
    techniques = tuple(dict.fromkeys(run.method for run in runs if not run.record["baseline"]))
    methods = (*techniques, *baselines)
    cells = _cells(runs, methods)
    measured = [name for name in METRICS if name == metric or any(run.number(name) is not None for run in runs)]
    values = {name: _values(cells, methods, name) for name in measured}
    other = other_form(metric)
    own, beside = values[metric], values.get(other or "", {})
    common = tuple(case for case in cells if all(case in own[method] for method in techniques or methods))
    return Comparison(
        metric,
        methods,
        baselines,
        numbers=_by_cell(cells, lambda runs: mean_interval([run.number(metric) for run in runs])),
        overall={method: mean_interval(list(own[method].values())) for method in methods},
        beside={method: _mean(beside[method], own[method]) for method in methods if beside},
        common=common,
        over_common={method: _mean(own[method], common) for method in methods},
        means=_means(values, None),
        others=_means({name: values[name] for name in measured if name != metric}, common),
        pairs=_pairs(own, techniques, baselines),
        reliability=reliability(np.array([[own[method][case] for case in common] for method in techniques], ndmin=2)),
        undefined=_undefined(runs, metric),
        chance={name: found for name in (metric, other) if name and (found := chance(runs, name)) is not None},
        planted=_planted({name: values[name] for name in (metric, EXACT) if name in values}, list(cells)),
        stability=_by_cell(cells, lambda runs: _stability([run.record for run in runs])),
        seconds=_by_cell(cells, lambda runs: float(np.mean([run.record["seconds"] for run in runs]))),
        passes=_by_cell(cells, _passes),
        subjects=_by_cell(cells, lambda runs: SubjectId.of(runs[0].record)._asdict()),
    )


def summary(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Runs of one method on one case from several data seeds: every metric over seeds, and the circuits' stability."""
    found: dict[str, Any] = {"seeds": [record["seed"] for record in records]}
    for metric in METRICS:
        values = [number(record, metric) for record in records]
        if any(value is not None for value in values):
            found[metric] = mean_interval(values)
    return found | {"jaccard": _stability(records)}


def _planted(values: Mapping[str, Values], cases: Sequence[str]) -> tuple[Planted, ...]:
    found = (by_property(metric, own, cases) for metric, own in values.items())
    return tuple(each for each in found if each is not None)


def _cells(runs: Sequence[Run], methods: Sequence[str]) -> Cells:
    cells: Cells = {case: {} for case in sorted({run.case for run in runs}, key=case_order)}
    for run in sorted(runs, key=lambda run: methods.index(run.method)):
        cells[run.case].setdefault(run.method, []).append(run)
    return cells


def _by_cell(cells: Cells, value: Callable[[list[Run]], Value]) -> dict[str, dict[str, Value]]:
    return {case: {method: value(own) for method, own in row.items()} for case, row in cells.items()}


def _values(cells: Cells, methods: Sequence[str], metric: str) -> Values:
    """The mean over seeds for every method and case where there is one."""
    values: Values = {method: {} for method in methods}
    for case, row in cells.items():
        for method, runs in row.items():
            if there := [value for run in runs if (value := run.number(metric)) is not None]:
                values[method][case] = float(np.mean(there))
    return values


def _mean(values: Mapping[str, float], cases: Iterable[str]) -> Mean:
    return mean_interval([values[case] for case in cases if case in values])


def _means(values: Mapping[str, Values], cases: Sequence[str] | None) -> dict[str, dict[str, float | None]]:
    """Means by metric and method over these cases, or over all that the method has a number for."""

    def mean(own: Mapping[str, float]) -> float | None:
        there = [own[case] for case in (own if cases is None else cases) if case in own]
        return float(np.mean(there)) if there else None

    return {name: {method: mean(own) for method, own in found.items()} for name, found in values.items()}


def _stability(records: Sequence[Mapping[str, Any]]) -> float | None:
    return jaccard([record["circuit"]["edges"] for record in records if record["circuit"]])


def _passes(runs: Sequence[Run]) -> dict[str, float]:
    """Mean numbers of passes in a row of the data, by direction."""
    return {way: float(np.mean([run.record["passes"][way] for run in runs])) for way in WAYS}


def _pairs(values: Values, techniques: Sequence[str], baselines: Sequence[str]) -> tuple[Pair, ...]:
    """Technique against technique, then technique against baseline: two families of tests."""
    among = [_pair("technique", values, *names) for names in combinations(techniques, 2)]
    against = [_pair("baseline", values, *names) for names in product(techniques, baselines)]
    return (*_corrected(among), *_corrected(against))


def _corrected(family: Sequence[Pair]) -> list[Pair]:
    adjusted = holm([pair.p for pair in family])
    return [replace(pair, holm=p) for pair, p in zip(family, adjusted, strict=True)]


def _pair(family: Family, values: Values, first: str, second: str) -> Pair:
    cases = [case for case in values[first] if case in values[second]]
    if not cases:
        return Pair(family, first, second, 0)
    x, y = (np.array([values[method][case] for case in cases]) for method in (first, second))
    p = wilcoxon(x, y)
    return Pair(
        family,
        first,
        second,
        len(cases),
        difference=float((x - y).mean()),
        p=1.0 if p is None else p,
        a12=a12(x, y),
        rank_biserial=rank_biserial(x, y),
    )


def _undefined(runs: Sequence[Run], metric: str) -> tuple[Undefined, ...]:
    """Where the metric of a run is None, by the reason."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        if run.number(metric) is None:
            found.setdefault(_reason(run, metric), []).append(run)
    return tuple(
        Undefined(
            reason, tuple(dict.fromkeys(run.case for run in own)), tuple(dict.fromkeys(run.method for run in own))
        )
        for reason, own in found.items()
    )


def _reason(run: Run, metric: str) -> str:
    """Why a metric of a run is None: by the first part of its path that is."""
    value: Any = run.record["metrics"]
    for part in metric.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            return _REASONS.get(part, _UNDEFINED)
    return _UNDEFINED


_UNDEFINED = "it is undefined there"
_BOTH = "every edge counts as true there, or none does"
_REASONS = {
    "chosen": "no circuit was chosen",
    "identifiable": "the true circuit alone does not keep the answers there, so its edges have no classes",
    "core_found": "the true circuit has no core edge there, or its edges have no classes",
    "auroc": _BOTH,
    "average_precision": _BOTH,
    "paper": "it belongs to the protocol 'paper'",
    "mib": "it belongs to the protocol 'mib'",
}
"""Reasons by the part of a metric's path that is None."""
