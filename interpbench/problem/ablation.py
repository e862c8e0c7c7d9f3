"""Ablations: the values that cut edges carry."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from interpbench.transformer.model import Transformer
from interpbench.transformer.stream import Activations

Ablation = Literal["resample", "mean", "zero"]


ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)


def ablated(model: Transformer, corrupted: Int[Tensor, "row position"], ablation: str) -> Activations:
    """The values that cut edges carry, by writer; one row for `mean` and `zero`."""
    if ablation == "zero":
        return torch.zeros_like(model.writers(corrupted[:1]))
    parts = [model.writers(rows) for rows in corrupted.split(1024)]
    if ablation == "resample":
        return torch.cat(parts, -1)
    return sum((part.sum(-1, keepdim=True) for part in parts[1:]), parts[0].sum(-1, keepdim=True)) / len(corrupted)
