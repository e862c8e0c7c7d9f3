"""Automatic circuit discovery as a technique of interpbench: `interpbench run acdc --case 3`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from interpbench import PAPER_GRID, hookimpl, option

if TYPE_CHECKING:
    from interpbench.problem import Discovery, Problem

GRIDS = {
    "log": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
    "paper": PAPER_GRID,
}
"""Thresholds; `paper` are those of the published results (arXiv 2407.14494)."""


@dataclass(frozen=True)
class Config:
    """Thresholds, loss and order. Raises ValueError for a negative threshold."""

    tau: tuple[float, ...] = option((), "Thresholds: an edge is cut where the loss rises by less. None: the grid.")
    grid: Literal["log", "paper"] = option("log", "Thresholds if none are given.")
    loss: Literal["auto", "kl", "ce", "logit-diff", "shift", "mse", "mae", "label"] = option(
        "auto", "Loss; auto: KL to the full model for classes, squared error to it for numbers."
    )
    absolute: bool = option(False, "Compare the size of the change with the threshold, not the rise.")
    order_seed: int = option(0, "Shuffle the order of the edges into each reader (0: later writers first).", least=0)
    faithful: float = option(
        0.1,
        "Choose the smallest circuit found that leaves this share of the fully cut model's loss.",
        least=0,
        most=1,
    )

    def __post_init__(self) -> None:
        if any(tau < 0 for tau in self.tau):
            raise ValueError(f"tau is {min(self.tau)}, expected at least 0")

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The thresholds to use, ascending."""
        return tuple(sorted({float(tau) for tau in self.tau or GRIDS[self.grid]}))


class Acdc:
    """Automatic circuit discovery (arXiv 2304.14997)."""

    name = "acdc"
    version = "0.1.0"
    Config = Config
    presets = {"paper": {"grid": "paper"}}

    def discover(self, problem: Problem, config: Config) -> Discovery:
        """Cut edges greedily from the output back, once for every threshold."""
        from interpbench_acdc.algorithm import discover

        return discover(problem, config)


@hookimpl
def interpbench_techniques() -> list[Acdc]:
    """The one technique of this plugin."""
    return [Acdc()]
