"""Cases: tasks with a known algorithm. What an author of cases needs, and core's own cases.

Part of the contract with plugins. Imports neither PyTorch nor Tracr.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from interpbench.cases.case import Case
from interpbench.cases.programs import draws
from interpbench.cases.rasp import pieces
from interpbench.cases.rasp.define import elementwise, rasp_case
from interpbench.cases.reference import ATOL, Reference, defined
from interpbench.cases.tokens import BOS, PAD, Inputs, Token
from interpbench.hooks import hookimpl

__all__ = [
    "ATOL",
    "BOS",
    "PAD",
    "Case",
    "Inputs",
    "Reference",
    "Token",
    "defined",
    "draws",
    "elementwise",
    "pieces",
    "rasp_case",
]

MODULES = ("numbers", "words", "counting", "positions", "neighbours", "ordering", "verdicts", "ioi")


@hookimpl
def interpbench_cases() -> Iterable[Case]:
    """Every `Case` that stands in one of the modules of `programs`."""
    modules = (import_module(f"{__name__}.programs.{module}") for module in MODULES)
    return [value for module in modules for value in vars(module).values() if isinstance(value, Case)]
