"""Ablations: the values that cut edges carry."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from interpbench.cases.pairs import Data, permuted_places
from interpbench.transformer.model import Transformer
from interpbench.transformer.stream import Activations

Ablation = Literal["resample", "positions", "mean", "zero"]


ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)


def ablated(model: Transformer, corrupted: Int[Tensor, "row position"], ablation: str, seed: int = 0) -> Activations:
    """The values that cut edges carry, by writer; one row for `mean` and `zero`.

    `positions`: those on the corrupted input whose positions are permuted as well (`source_places` of the seed).
    """
    if ablation == "zero":
        return torch.zeros_like(model.writers(corrupted[:1]))
    places = source_places(corrupted, ablation, seed)
    rows = torch.arange(len(corrupted), device=corrupted.device).split(1024)
    parts = [model.writers(corrupted[some], None if places is None else places[some]) for some in rows]
    if ablation != "mean":
        return torch.cat(parts, -1)
    return sum((part.sum(-1, keepdim=True) for part in parts[1:]), parts[0].sum(-1, keepdim=True)) / len(corrupted)


def source_places(
    corrupted: Int[Tensor, "row position"], ablation: str, seed: int
) -> Int[Tensor, "row position"] | None:
    """The positions of the corrupted run: permuted by the seed under `positions`, else None, their own."""
    if ablation != "positions":
        return None
    return permuted_places(len(corrupted), corrupted.shape[1], seed).to(corrupted.device)


def constant(model: Transformer, source: Int[Tensor, "row position"], ablation: str) -> Activations | None:
    """The values of an ablation that has the same for all rows; None for those that come from each row's source."""
    return ablated(model, source, ablation) if ablation in ("mean", "zero") else None


def with_sources(data: Data, ablation: str, seed: int) -> Data:
    """The data, under `positions` with the places of the sources permuted as `make_problem` does."""
    return data.with_permuted_places(seed) if ablation == "positions" else data
