"""Which cases and subjects a command is about."""

from __future__ import annotations

from interpbench.cases.case import Case
from interpbench.catalogue.suites import suite_cases
from interpbench.errors import UsageError
from interpbench.plugins import registry


def cases(names: str, suite: str) -> list[Case]:
    """The cases named, with commas between, or those of the suite. Raises UsageError unless exactly one is given."""
    installed = registry.load()
    if bool(names) == bool(suite):
        raise UsageError("name cases (with commas between) or a --suite" + (", not both" if names else ""))
    if suite:
        return suite_cases(suite, installed.cases)
    return [installed.case(name) for name in dict.fromkeys(filter(None, map(str.strip, names.split(","))))]


def is_one(names: str, suite: str) -> bool:
    """Whether a single case was named: its JSON is then an object, not a list."""
    return not suite and "," not in names
