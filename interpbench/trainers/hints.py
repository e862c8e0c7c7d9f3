"""Hints: what a variable's node writes should tell the variable's value.

Interchange says what a variable must do, not how a node may come to hold it, and some values are hard to come by: the
place where a token stood before (*duplicate* of `ioi`) is a plateau for thousands of steps. A hint is a learned linear
readout of the value from the node's output, trained along; it asks for nothing that the certificate does not.
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
"""Deviation of a readout's weights at first."""

SMOOTHING = 0.05
"""Of the values asked for: without it outputs grow for ever to tell them more surely."""

LEAST = 1e-6
"""Variance of a number below which it counts as a constant, of which there is nothing to tell."""


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

        `outputs` are the writers' `[feature, position, row]`. A variable is asked where it has a value and is not
        interchanged itself. To be asked for the absence of a value too would teach a head that a position can be told
        by itself: *duplicate* of `ioi` then attends to nothing else, and never learns.
        """
        total = torch.zeros((), device=weights.device)
        order = list(self.reference.variables)
        parts = weights.split([self.d_model * size for _, size in self.readouts])
        variable = rows.variable.flatten()
        for (name, size), part, reading in zip(self.readouts, parts, rows.readings, strict=True):
            own = variable != order.index(name)
            value = reading.flatten(0, 1)[own][:, 1:].flatten()
            asked = value != size if size > 1 else torch.ones_like(value, dtype=torch.bool)
            value = value[asked]
            if not len(value) or (value == value[0]).all():  # to tell a constant surely only makes outputs grow
                continue
            for node in self.reference.variables[name]:
                out = outputs[self.graph.writers.index(node)].movedim((-1, -2), (-3, -2))[own][:, 1:]
                told = out.flatten(0, 1)[asked] @ part.view(size, -1).T
                if size > 1:
                    total = total + F.cross_entropy(told, value, label_smoothing=SMOOTHING)
                    continue
                spread = value.var()
                missed = F.mse_loss(told.squeeze(-1), value) / spread.clamp(min=LEAST)
                total = total + missed * (spread > LEAST)
        return total
