"""Named, versioned sets of cases. A suite's version changes whenever its cases do."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from interpbench.cases.case import Case
from interpbench.catalogue.facts import has_heads
from interpbench.errors import UsageError, unknown
from interpbench.plugins.registry import Registry
from interpbench.subjects.zoo import is_certified


@dataclass(frozen=True)
class Suite:
    """The cases that `holds` says: of all that are installed or, if it is `generated`, of generated ones."""

    name: str
    version: int
    description: str
    holds: Callable[[Case], bool]
    generated: bool = False


def _named(*names: str) -> Callable[[Case], bool]:
    return lambda case: case.name in names


FROZEN = Path(__file__).with_name("hard.json")
"""The generated cases of `hard` and `hard-test`, by name, each with its program's hash."""


@functools.cache
def frozen(suite: str) -> dict[str, str]:
    """Names and program hashes of a suite of generated cases."""
    return json.loads(FROZEN.read_text())[suite]


def _generated(name: str, version: int, description: str) -> Suite:
    return Suite(name, version, description, lambda case: case.name in frozen(name), generated=True)


PAPER16 = "3 4 11 13 18 19 20 21 26 29 33 34 35 36 37 90".split()
SUITES = {
    suite.name: suite
    for suite in (
        Suite("quick", 1, "five small cases", _named("3", "4", "7", "18", "44")),
        Suite("paper16", 1, "the sixteen cases of the paper (arXiv 2407.14494)", _named(*PAPER16)),
        Suite("all", 1, "every case with a compiled reference", lambda case: case.compiled),
        Suite("nontrivial", 1, "compiled cases whose true circuit holds an attention head", has_heads),
        Suite("certified", 2, "cases whose bundled subject is certified", is_certified),
        _generated("hard", 1, "generated cases with planted properties, to develop on"),
        _generated("hard-test", 1, "the same properties from other seeds, to be reported and never tuned on"),
    )
}


def suites_of(case: Case) -> list[str]:
    """Names of the suites that hold a case."""
    return [name for name, suite in SUITES.items() if suite.holds(case)]


def suite_cases(name: str, registry: Registry) -> list[Case]:
    """The cases that a suite holds. Raises UsageError, with the nearest name, if there is no such suite."""
    if name not in SUITES:
        message = unknown("suite", name, SUITES)
        raise UsageError(message if "did you mean" in message else f"{message}; there are: {', '.join(SUITES)}")
    suite = SUITES[name]
    if suite.generated:
        return [registry.case(each) for each in frozen(name)]
    return [case for case in registry.cases.values() if suite.holds(case)]
