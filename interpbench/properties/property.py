"""A property: what is planted, at which levels, and how a causal model that has it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interpbench.cases.flow import Flow

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Property:
    """A weakness of techniques, as something to plant.

    `levels` describe what is planted at level 1, 2, ... `make(level, rng)` draws a causal model; the generator decides
    everything, so that a name says which model it is.
    """

    name: str
    what: str
    aimed_at: str
    levels: tuple[str, ...]
    make: Callable[[int, np.random.Generator], Flow]
