"""Trainers make the subject of a case: what an author of a trainer needs, and core's own trainers.

Part of the contract with plugins. Names are loaded on first use; importing this package imports no PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from interpbench.hooks import hookimpl
from interpbench.lazy import lazy
from interpbench.trainers.trainer import Trained, Trainer

if TYPE_CHECKING:
    from interpbench.cases.pairs import Data, fresh_data
    from interpbench.certificate.certificate import Measurement
    from interpbench.certificate.measure import Masks, masks_of, measure
    from interpbench.trainers.checkpoint import Progress, resume, save
    from interpbench.trainers.optimizer import FlatAdam
    from interpbench.trainers.rows import Targets, answer_of, targets_of
    from interpbench.trainers.step import row_loss

__all__ = [
    "Data",
    "FlatAdam",
    "Masks",
    "Measurement",
    "Progress",
    "Targets",
    "Trained",
    "Trainer",
    "answer_of",
    "fresh_data",
    "masks_of",
    "measure",
    "resume",
    "row_loss",
    "save",
    "targets_of",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "cases.pairs": ("Data", "fresh_data"),
        "certificate.certificate": ("Measurement",),
        "certificate.measure": ("Masks", "masks_of", "measure"),
        "trainers.checkpoint": ("Progress", "resume", "save"),
        "trainers.optimizer": ("FlatAdam",),
        "trainers.rows": ("Targets", "answer_of", "targets_of"),
        "trainers.step": ("row_loss",),
    },
)


@hookimpl
def interpbench_trainers() -> Iterable[Trainer]:
    """Core's own trainers."""
    from interpbench.trainers.siit import TRAINERS

    return TRAINERS
