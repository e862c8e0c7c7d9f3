"""mytech as a trainer of interpbench: `interpbench train mytech --case 3`.

Every command imports this module: what is heavy (torch) is imported inside `train`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpbench import hookimpl, option

if TYPE_CHECKING:
    from interpbench import Case, Trained


@dataclass(frozen=True)
class Config:
    """The options of `interpbench train mytech`. Raises ValueError for values that make no sense."""

    seed: int = option(0, "Seed of weights and inputs.")
    steps: int = option(2000, "Optimiser steps.")
    rows: int = option(256, "Rows a step.")
    lr: float = option(0.003, "Learning rate of Adam.")
    interchange: float = option(0.5, "Share of rows with a variable taken from the source.")
    keep_every: int = option(100, "Steps between checkpoints.")

    def __post_init__(self) -> None:
        if min(self.steps, self.rows, self.keep_every) < 1:
            raise ValueError("steps, rows and keep_every must be at least 1")


class MytechTrainer:
    """Interchange intervention training: each variable at its node in the circuit; other nodes are unconstrained."""

    name = "mytech"
    Config = Config

    def train(
        self, case: Case, config: Config, folder: Path | None, progress: Callable[[dict[str, Any]], None]
    ) -> Trained:
        """Train a subject of `case`; keep checkpoints in `folder`, if given, and resume from them."""
        from .algorithm import train

        return train(case, config, folder, progress)


@hookimpl
def interpbench_trainers() -> list[MytechTrainer]:
    """The one trainer of this plugin."""
    return [MytechTrainer()]
