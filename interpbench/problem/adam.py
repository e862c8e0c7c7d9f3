"""Adam (arXiv 1412.6980), without the second that importing PyTorch's own takes in every process."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def adam_step(
    mean: Float[Tensor, "*shape"],
    square: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    step: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Float[Tensor, "*shape"]:
    """What to take away from the parameters at a step, counted from 1.

    That is the rate times the mean of the gradients so far over their deviation. `mean` and `square`, zero before the
    first step, are moved along in place.
    """
    mean.lerp_(gradient, 1 - betas[0])
    square.lerp_(gradient.square(), 1 - betas[1])
    deviation = (square / (1 - betas[1] ** step)).sqrt() + 1e-8
    return lr * (mean / (1 - betas[0] ** step)) / deviation
