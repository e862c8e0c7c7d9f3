"""Subnetwork probing as a technique of interpbench: `interpbench run sp --case 3`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from interpbench import PAPER_GRID, hookimpl, option

if TYPE_CHECKING:
    from interpbench.problem import Discovery, Problem


@dataclass(frozen=True)
class Config:
    """What is learnt and how. Raises ValueError for values that make no sense."""

    edgewise: bool = option(
        True, "A mask for every edge, or for every node (q, k, v input, MLP output).", flags="--edgewise/--nodewise"
    )
    lambda_: tuple[float, ...] = option((1.0,), "Weights of the share of units kept; a mask is learnt for each.")
    target: float = option(
        0.0,
        "Learn a mask that keeps this share of the units instead: edge pruning (arXiv 2406.16778), whose two weights "
        "rise and fall with what is missing (0: the weights are lambda's).",
    )
    constant: Literal["given", "learnt"] = option(
        "given",
        "What cut edges carry while masks are learnt: the problem's values, or a constant of each writer, learnt with "
        "the masks (optimal ablation, arXiv 2409.09951).",
    )
    relative: bool = option(True, "Count lambda in units of the loss of cutting every edge.")
    loss: Literal["auto", "kl", "ce", "logit-diff", "shift", "mse", "mae", "label"] = option(
        "auto", "Loss; auto: KL to the full model for classes, squared error to it for numbers."
    )
    steps: int = option(300, "Optimiser steps at most.")
    lr: float = option(0.1, "Peak learning rate (Adam, linear warm-up and decay).")
    rows: int = option(16, "Rows a step, drawn anew (0: all).", least=0)
    draws: int = option(16, "Random masks a step, each on all rows of the step.")
    patience: int = option(50, "Stop when the final mask has not changed for this many steps.")
    faithful: float = option(
        0.1,
        "Choose the smallest circuit found that leaves this share of the fully cut model's loss.",
        least=0,
        most=1,
    )

    def __post_init__(self) -> None:
        if not self.lambda_ or min(self.lambda_) < 0:
            raise ValueError(f"lambda is {self.lambda_}, expected one or more numbers of at least 0")
        if not 0 <= self.target < 1:
            raise ValueError(f"target is {self.target}, expected a share of at least 0 and less than 1")
        for name in ("steps", "lr", "draws", "patience"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")


class Sp:
    """Subnetwork probing (arXiv 2104.03514), over nodes or over edges."""

    name = "sp"
    version = "0.1.2"
    Config = Config
    presets = {"paper": {"lambda_": PAPER_GRID, "relative": False, "loss": "mse"}}

    def discover(self, problem: Problem, config: Config) -> Discovery:
        """Learn a stochastic mask, and return the deterministic one that it ends in."""
        from interpbench_sp.algorithm import discover

        return discover(problem, config)


@hookimpl
def interpbench_techniques() -> list[Sp]:
    """The one technique of this plugin."""
    return [Sp()]
