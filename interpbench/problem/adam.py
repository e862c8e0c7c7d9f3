"""Adam (arXiv 1412.6980). Importing PyTorch's own takes a second in every process."""

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
    """The amount to subtract from the parameters at a step, counted from 1.

    `mean` and `square`, running means of the gradient and of its square, start at zero and are updated in place.
    """
    mean.lerp_(gradient, 1 - betas[0])
    square.lerp_(gradient.square(), 1 - betas[1])
    deviation = (square / (1 - betas[1] ** step)).sqrt() + 1e-8
    return lr * (mean / (1 - betas[0] ** step)) / deviation
