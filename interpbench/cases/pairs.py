"""Pairs of inputs of a case as tensors, and where their answers count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interpbench.cases.case import Case


@dataclass(frozen=True)
class Data:
    """Inputs `[row, position]`, independent sources for what is replaced, and where answers count."""

    clean: Int[Tensor, "row position"]
    source: Int[Tensor, "row position"]
    scored: Bool[Tensor, "row position"]
    exhaustive: bool = False

    def head(self, n: int) -> Data:
        """The first `n` rows."""
        return self.take(slice(n))

    def take(self, rows: slice | Bool[Tensor, " row"]) -> Data:
        """Some of the rows; they are no longer all inputs."""
        return Data(self.clean[rows], self.source[rows], self.scored[rows])


def draw(case: Case, samples: int, seed: int) -> Data:
    """Clean inputs and, as sources, corrupted ones: what techniques get."""
    clean, corrupted = case.pairs(samples, seed)
    return Data(torch.from_numpy(clean), torch.from_numpy(corrupted), torch.from_numpy(scored_positions(case, clean)))


def scored_positions(case: Case, tokens: np.ndarray) -> np.ndarray:
    """Where answers are asked for: all positions but BOS, or the last one; bool `[row, position]`."""
    scored = np.zeros(tokens.shape, dtype=bool)
    scored[:, 1 if case.scored == "all" else -1 :] = True
    return scored
