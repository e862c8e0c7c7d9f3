"""Named, versioned sets of cases. A suite's version changes whenever its cases do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from interpbench.cases.case import Case
from interpbench.catalogue.facts import has_heads
from interpbench.errors import UsageError, unknown
from interpbench.subjects.zoo import is_certified


@dataclass(frozen=True)
class Suite:
    """A set of cases: those that `holds` says, of all that are installed."""

    name: str
    version: int
    description: str
    holds: Callable[[Case], bool]


def _named(*names: str) -> Callable[[Case], bool]:
    return lambda case: case.name in names


PAPER16 = "3 4 11 13 18 19 20 21 26 29 33 34 35 36 37 90".split()
SUITES = {
    suite.name: suite
    for suite in (
        Suite("quick", 1, "five small cases", _named("3", "4", "7", "18", "44")),
        Suite("paper16", 1, "the sixteen cases of the paper (arXiv 2407.14494)", _named(*PAPER16)),
        Suite("all", 1, "every case with a compiled reference", lambda case: case.compiled),
        Suite("nontrivial", 1, "compiled cases whose true circuit holds an attention head", has_heads),
        Suite("certified", 2, "cases whose bundled subject is certified", is_certified),
    )
}


def suites_of(case: Case) -> list[str]:
    """Names of the suites that hold a case."""
    return [name for name, suite in SUITES.items() if suite.holds(case)]


def suite_cases(name: str, cases: Mapping[str, Case]) -> list[Case]:
    """Those of the cases that a suite holds. Raises UsageError, with the nearest name, if there is no such suite."""
    if name not in SUITES:
        message = unknown("suite", name, SUITES)
        raise UsageError(message if "did you mean" in message else f"{message}; there are: {', '.join(SUITES)}")
    return [case for case in cases.values() if SUITES[name].holds(case)]
