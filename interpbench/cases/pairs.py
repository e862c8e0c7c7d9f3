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
        return replace(self, places=permuted_places(len(self.source), self.source.shape[1], seed))


def permuted_places(rows: int, positions: int, seed: int) -> Int[Tensor, "row position"]:
    """For each row a random order of the positions after BOS's in which none stays in place; decided by the seed.

    BOS keeps its position; so does a single token after it, which has no other place. A run at these places resamples
    what `pos` writes, as a source resamples what `embed` writes.
    """
    rng, own = np.random.default_rng([seed, 20261127]), np.arange(positions)
    places = np.tile(own, (rows, 1))
    again = np.arange(rows if positions > 2 else 0)
    while len(again):  # about a third of the orders move every position
        places[again, 1:] = rng.permuted(places[again, 1:], axis=1)
        again = again[(places[again, 1:] == own[1:]).any(1)]
    return torch.from_numpy(places)


def draw(case: Case, samples: int, seed: int) -> Data:
    """Clean inputs with corrupted inputs as sources, as passed to techniques."""
    clean, corrupted = case.pairs(samples, seed)
    return Data(torch.from_numpy(clean), torch.from_numpy(corrupted), torch.from_numpy(scored_positions(case, clean)))


def fresh_data(case: Case, rows: int, seed: int) -> Data:
    """Every input if there are at most `rows`, repeated up to `rows` pairs, else random ones; sources independent.

    The order is random, so that the first rows are a sample of all.
    """
    rng = np.random.default_rng([seed, 20240714])
    every = case.all_inputs(rows)
    times = 1 if every is None else -(-rows // len(every))
    clean = case.inputs(rows, rng) if every is None else rng.permutation(np.tile(every, (times, 1)))
    source = case.inputs(len(clean), rng)
    scored = torch.tensor(scored_positions(case, clean))
    return Data(torch.tensor(clean), torch.tensor(source), scored, exhaustive=every is not None)


def scored_positions(case: Case, tokens: np.ndarray) -> np.ndarray:
    """Scored positions: all but BOS, or only the last; bool `[row, position]`."""
    scored = np.zeros(tokens.shape, dtype=bool)
    scored[:, 1 if case.scored == "all" else -1 :] = True
    return scored
