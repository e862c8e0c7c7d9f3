"""Hints: an auxiliary loss that reads each variable's value off its node with a linear probe trained alongside.

Interchange constrains the effect of a variable, not how a node computes it, and some values are hard to learn: the
earlier position of a token (*duplicate* of `ioi`) stays on a plateau for thousands of steps without a hint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from interpbench.cases.reference import Reference
from interpbench.graph.graph import Graph
from interpbench.trainers.rows import Rows

SCALE = 0.3
"""Standard deviation of a readout's initial weights."""

SMOOTHING = 0.05
"""Label smoothing: without it the outputs grow without bound."""

LEAST = 1e-6
"""Variance below which a number counts as constant and gets no hint."""


@dataclass(frozen=True, eq=False)
class Hints:
    """The readouts of a reference's variables, whose weights lie one after the other in one vector."""

    reference: Reference
    graph: Graph
    d_model: int

    @cached_property
    def readouts(self) -> list[tuple[str, int]]:
        """The variable and the number of outputs of every readout."""
        return [(name, size) for name, sizes in self.reference.reading_sizes.items() for size in sizes]

    def start(self, seed: int) -> Float[Tensor, " weight"]:
        """Random weights."""
        count = self.d_model * sum(size for _, size in self.readouts)
        return SCALE * torch.randn(count, generator=torch.Generator().manual_seed(seed))

    def loss(self, weights: Float[Tensor, " weight"], outputs: Sequence[Tensor], rows: Rows) -> Float[Tensor, ""]:
        """Sum over values of the cross-entropy, or of the squared error in units of the variance.

        `outputs` are the writers' `[feature, position, row]`. Positions where the variable has no value are left out,
        as are rows that interchange it. Including them teaches a head to recognise such a position from itself alone:
        *duplicate* of `ioi` then attends to nothing else and does not learn.
        """
        total = torch.zeros((), device=weights.device)
        order = list(self.reference.variables)
        parts = weights.split([self.d_model * size for _, size in self.readouts])
        variable = rows.variable.flatten()
        for (name, size), part, reading in zip(self.readouts, parts, rows.readings, strict=True):
            own = variable != order.index(name)
            value = reading.flatten(0, 1)[own][:, 1:].flatten()
            defined = value != size if size > 1 else torch.ones_like(value, dtype=torch.bool)
            value = value[defined]
            if not len(value) or (value == value[0]).all():  # a hint of a constant only makes outputs grow
                continue
            for node in self.reference.variables[name]:
                out = outputs[self.graph.writers.index(node)].movedim((-1, -2), (-3, -2))[own][:, 1:]
                read = out.flatten(0, 1)[defined] @ part.view(size, -1).T
                if size > 1:
                    total = total + F.cross_entropy(read, value, label_smoothing=SMOOTHING)
                    continue
                spread = value.var()
                missed = F.mse_loss(read.squeeze(-1), value) / spread.clamp(min=LEAST)
                total = total + missed * (spread > LEAST)
        return total
