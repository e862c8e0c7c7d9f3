"""What techniques fail at: their means by the property that generated cases were planted with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interpbench.properties.generated import property_of
from interpbench.report.statistics import Mean, mean_interval

Numbers = Mapping[str, Mapping[str, float]]
"""Numbers by method, then by case."""

LOSS = 0.2
"""By how much a method must be below the best on a property to be said to fail at it."""


@dataclass(frozen=True)
class Planted:
    """A metric by property: `means[property][method]` over the method's cases with that property.

    Properties stand in the order of their names.
    """

    metric: str
    means: Mapping[str, Mapping[str, Mean]]

    def losses(self, method: str, others: Sequence[str]) -> dict[str, float]:
        """The properties at which a method is `LOSS` or more below the best of some methods, each with its mean; the
        lowest first.
        """
        found: dict[str, float] = {}
        for property, means in self.means.items():
            own = means[method]["mean"]
            best = max((mean for each in others if (mean := means[each]["mean"]) is not None), default=None)
            if own is not None and best is not None and own <= best - LOSS:
                found[property] = own
        return dict(sorted(found.items(), key=lambda each: each[1]))


def by_property(metric: str, values: Numbers, cases: Sequence[str]) -> Planted | None:
    """The means of methods over generated cases by property; None if fewer than two properties are among the cases."""
    groups: dict[str, list[str]] = {}
    for case in cases:
        if (property := property_of(case)) is not None:
            groups.setdefault(property, []).append(case)
    if len(groups) < 2:
        return None
    means = {
        property: {
            method: mean_interval([own[case] for case in groups[property] if case in own])
            for method, own in values.items()
        }
        for property in sorted(groups)
    }
    return Planted(metric, means)
