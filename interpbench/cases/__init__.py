"""Core's own cases, provided through the same hook as any plugin's."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from interpbench.case import Case
from interpbench.hookspecs import hookimpl

MODULES = ("numbers", "words", "counting", "positions", "neighbours", "ordering", "verdicts", "ioi")


@hookimpl
def interpbench_cases() -> Iterable[Case]:
    """Every `Case` that stands in one of the modules here."""
    modules = (import_module(f"{__name__}.{module}") for module in MODULES)
    return [value for module in modules for value in vars(module).values() if isinstance(value, Case)]
