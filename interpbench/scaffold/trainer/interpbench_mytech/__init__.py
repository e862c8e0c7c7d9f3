"""mytech as a trainer of interpbench: `interpbench train mytech --case 3`.

Every command imports this module: what is heavy (torch) is imported inside `train`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpbench import hookimpl

if TYPE_CHECKING:
    from interpbench import Case, Trained


@dataclass(frozen=True)
class Config:
    """The options of `interpbench train mytech`. Raises ValueError for values that make no sense."""

    seed: int = field(default=0, metadata={"help": "Seed of weights and inputs."})
    steps: int = field(default=2000, metadata={"help": "Optimiser steps."})
    rows: int = field(default=256, metadata={"help": "Rows a step."})
    lr: float = field(default=0.003, metadata={"help": "Learning rate of Adam."})
    interchange: float = field(default=0.5, metadata={"help": "Share of rows with a variable taken from the source."})
    keep_every: int = field(default=100, metadata={"help": "Steps between checkpoints."})

    def __post_init__(self) -> None:
        if min(self.steps, self.rows, self.keep_every) < 1:
            raise ValueError("steps, rows and keep_every must be at least 1")


class MytechTrainer:
    """Interchange intervention training: variables of the algorithm where the circuit says, the rest left free."""

    name = "mytech"
    Config = Config

    def train(
        self, case: Case, config: Config, folder: Path | None, progress: Callable[[dict[str, Any]], None]
    ) -> Trained:
        """Train a subject of `case`; checkpoints are kept in `folder`, if given, and gone on from."""
        from .algorithm import train

        return train(case, config, folder, progress)


@hookimpl
def interpbench_trainers() -> list[MytechTrainer]:
    """The one trainer of this plugin."""
    return [MytechTrainer()]
