"""Pairs of inputs of a case as tensors, and the positions that are scored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interpbench.cases.case import Case


@dataclass(frozen=True)
class Data:
    """Inputs, independent inputs that supply replacement values, and scored positions, each `[row, position]`.

    `places`: the positions that the source's tokens stand at, where they are not their own (`permuted_places`).
    """

    clean: Int[Tensor, "row position"]
    source: Int[Tensor, "row position"]
    scored: Bool[Tensor, "row position"]
    exhaustive: bool = False
    places: Int[Tensor, "row position"] | None = None

    def head(self, n: int) -> Data:
        """The first `n` rows."""
        return self.take(slice(n))

    def take(self, rows: slice | Bool[Tensor, " row"]) -> Data:
        """Some of the rows; the result is not marked as exhaustive."""
        places = None if self.places is None else self.places[rows]
        return Data(self.clean[rows], self.source[rows], self.scored[rows], places=places)

    def with_permuted_places(self, seed: int) -> Data:
        """The same inputs, the sources' positions resampled."""
        return replace(self, places=permuted_places(*self.source.shape, seed))


def permuted_places(rows: int, positions: int, seed: int) -> Int[Tensor, "row position"]:
    """For each row a random order of the positions after BOS's, which stays; decided by the seed.

    A run at these places resamples what `pos` writes, as a source resamples what `embed` writes.
    """
    places = np.tile(np.arange(positions), (rows, 1))
    np.random.default_rng([seed, 20261127]).permuted(places[:, 1:], axis=1, out=places[:, 1:])
    return torch.from_numpy(places)


def draw(case: Case, samples: int, seed: int) -> Data:
    """Clean inputs with corrupted inputs as sources, as passed to techniques."""
    clean, corrupted = case.pairs(samples, seed)
    return Data(torch.from_numpy(clean), torch.from_numpy(corrupted), torch.from_numpy(scored_positions(case, clean)))


def scored_positions(case: Case, tokens: np.ndarray) -> np.ndarray:
    """Scored positions: all but BOS, or only the last; bool `[row, position]`."""
    scored = np.zeros(tokens.shape, dtype=bool)
    scored[:, 1 if case.scored == "all" else -1 :] = True
    return scored
