"""Hints: what a variable's node writes should tell the variable's value.

Interchange says what a variable must do, not how a node may come to hold it, and some values are hard to come by: the
place where a token stood before (*duplicate* of `ioi`) is a plateau for thousands of steps. A hint is a learned linear
readout of the value from the node's output, trained along; it asks for nothing that the certificate does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from interpbench.case import Reference
from interpbench.graph import Graph

SCALE = 0.3
"""Deviation of a readout's weights at first."""


@dataclass(frozen=True, eq=False)
class Hints:
    """The readouts of a reference's variables, whose weights lie one after the other in one vector."""

    reference: Reference
    graph: Graph
    d_model: int

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Classes and features of every readout, by variable."""
        return {name: (size, self.d_model) for name, size in self.reference.reading_sizes.items()}

    def start(self, seed: int) -> Float[Tensor, " weight"]:
        """Random weights."""
        count = sum(classes * features for classes, features in self.shapes.values())
        return SCALE * torch.randn(count, generator=torch.Generator().manual_seed(seed))

    def loss(
        self,
        weights: Float[Tensor, " weight"],
        outputs: Sequence[Tensor],
        tokens: Int[Tensor, "row position"],
        variable: Int[Tensor, " row"],
    ) -> Float[Tensor, ""]:
        """Sum over variables of the cross-entropy of their values, the last class (none) and the others half each.

        `outputs` are the writers' `[feature, position, row]`. Rows count on which neither the variable itself nor one
        before it is interchanged.
        """
        total = torch.zeros((), device=tokens.device)
        order = list(self.reference.variables)
        parts = weights.split([classes * features for classes, features in self.shapes.values()])
        readings = self.reference.readings(tokens)
        for (name, shape), part in zip(self.shapes.items(), parts, strict=True):
            rows = (variable < 0) | (variable > order.index(name))
            for node in self.reference.variables[name]:
                out = outputs[self.graph.writers.index(node)].movedim((-1, -2), (-3, -2))[rows][:, 1:]
                told = (out @ part.view(shape).T).flatten(0, 1)
                value = readings[name][rows][:, 1:].flatten()
                each = F.cross_entropy(told, value, reduction="none")
                none = value == shape[0] - 1
                for which in (none, ~none):
                    total = total + (each * which).sum() / which.sum().clamp(min=1)
        return total
