"""The losses that a problem offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

Output = Literal["categorical", "numerical"]


Loss = Literal["kl", "ce", "logit-diff", "shift", "mse", "mae", "label"]


LOSSES: Mapping[Output, tuple[Loss, ...]] = {
    "categorical": ("kl", "ce", "logit-diff", "mse", "mae", "label"),
    "numerical": ("shift", "mse", "mae", "label"),
}


def picked(answers: Tensor, logits: Tensor) -> Tensor:
    """Index `[*circuit, scored, 1]` of the class that is answered."""
    return answers.argmax(-1, keepdim=True).expand(*logits.shape[:-1], 1)
