"""mytech as a technique of interpbench: `interpbench run mytech --case 3`.

Every command imports this module: what is heavy (torch) is imported inside `discover`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interpbench import hookimpl

if TYPE_CHECKING:
    from interpbench import Discovery, Problem


@dataclass(frozen=True)
class Config:
    """The options of `interpbench run mytech`. Raises ValueError for values that make no sense."""

    faithful: float = field(
        default=0.1, metadata={"help": "Choose the fewest edges that leave this share of the fully cut model's loss."}
    )

    def __post_init__(self) -> None:
        if not 0 <= self.faithful <= 1:
            raise ValueError(f"faithful is {self.faithful}, expected a share between 0 and 1")


class MytechTechnique:
    """Score every edge by what the loss rises when that edge alone is cut."""

    name = "mytech"
    version = "0.1.0"
    Config = Config

    def discover(self, problem: Problem, config: Config) -> Discovery:
        """Score every edge of the problem's model, and choose a circuit."""
        from .algorithm import discover

        return discover(problem, config)


@hookimpl
def interpbench_techniques() -> list[MytechTechnique]:
    """The one technique of this plugin."""
    return [MytechTechnique()]
