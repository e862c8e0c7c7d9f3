"""mytech as a case of interpbench: `interpbench show mytech`.

Every command imports this module: it says what the case is, and compiles nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interpbench import hookimpl

from .program import fraction_of_a

if TYPE_CHECKING:
    from interpbench import Case


@hookimpl
def interpbench_cases() -> list[Case]:
    """The one case of this plugin."""
    return [fraction_of_a]
