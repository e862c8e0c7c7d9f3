"""Which cases a command works on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from interpbench.cli.console import print_lines
from interpbench.errors import UsageError

if TYPE_CHECKING:
    from interpbench.cases.case import Case
    from interpbench.plugins.registry import Registry


class Choice(NamedTuple):
    """Cases by name, with commas between, or a suite."""

    names: str
    suite: str

    def cases(self) -> list[Case]:
        """The cases. Raises UsageError unless exactly one of names and suite is given."""
        from interpbench.catalogue.suites import suite_cases
        from interpbench.plugins import registry

        if bool(self.names) == bool(self.suite):
            raise UsageError("name cases (with commas between) or a --suite" + (", not both" if self.names else ""))
        installed = registry.load()
        if self.suite:
            return suite_cases(self.suite, installed)
        return [_case(name, installed) for name in dict.fromkeys(split(self.names))]

    def cases_with(self, model: str) -> list[Case]:
        """The cases; of a suite, those that have the model, and a line on stderr names the others.

        Raises UsageError if no case of a suite has it. A case that is named is not looked at.
        """
        from interpbench.subjects.zoo import is_there, load_subject

        cases = self.cases()
        absent = [case for case in cases if not is_there(case, model)] if self.suite else []
        if absent and len(absent) == len(cases):
            load_subject(absent[0], model)
        if absent:
            print_lines([f"no {model} model, left out: {', '.join(case.name for case in absent)}"], to="stderr")
        return [case for case in cases if case not in absent]

    @property
    def is_one(self) -> bool:
        """Whether a single case is named: the command's JSON is then an object instead of a list."""
        return not self.suite and "," not in self.names


def _case(name: str, installed: Registry) -> Case:
    """The case of that name. Raises UsageError, which says what is right for a suite or a range."""
    from interpbench.catalogue.suites import SUITES

    if name not in installed.cases:
        if name in SUITES:
            raise UsageError(f"'{name}' is a suite: --suite {name}")
        if ends := re.fullmatch(r"(\d{1,4})-(\d{1,4})", name):
            numbers = [str(i) for i in range(int(ends[1]), int(ends[2]) + 1)]
            few = ",".join([*numbers[:3], *["..."] * (len(numbers) > 3)])
            raise UsageError(f"no case '{name}'; name each, with commas between{': ' * bool(few)}{few}")
    return installed.case(name)


def split(text: str) -> list[str]:
    """The words of a text with commas between."""
    return [word for word in map(str.strip, text.split(",")) if word]
