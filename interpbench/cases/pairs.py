"""Pairs of inputs of a case as tensors, and the positions that are scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interpbench.cases.case import Case


@dataclass(frozen=True)
class Data:
    """Inputs, independent inputs that supply replacement values, and scored positions, each `[row, position]`."""

    clean: Int[Tensor, "row position"]
    source: Int[Tensor, "row position"]
    scored: Bool[Tensor, "row position"]
    exhaustive: bool = False

    def head(self, n: int) -> Data:
        """The first `n` rows."""
        return self.take(slice(n))

    def take(self, rows: slice | Bool[Tensor, " row"]) -> Data:
        """Some of the rows; the result is not marked as exhaustive."""
        return Data(self.clean[rows], self.source[rows], self.scored[rows])


def draw(case: Case, samples: int, seed: int) -> Data:
    """Clean inputs with corrupted inputs as sources, as passed to techniques."""
    clean, corrupted = case.pairs(samples, seed)
    return Data(torch.from_numpy(clean), torch.from_numpy(corrupted), torch.from_numpy(scored_positions(case, clean)))


def scored_positions(case: Case, tokens: np.ndarray) -> np.ndarray:
    """Scored positions: all but BOS, or only the last; bool `[row, position]`."""
    scored = np.zeros(tokens.shape, dtype=bool)
    scored[:, 1 if case.scored == "all" else -1 :] = True
    return scored
