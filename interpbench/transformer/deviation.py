"""How much the outputs of a transformer's writers vary over inputs."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpbench.transformer.model import Transformer


@torch.no_grad()
def output_deviation(model: Transformer, tokens: Int[Tensor, "row position"]) -> Float[Tensor, " writer"]:
    """For each writer, in the order of `graph.writers`, how much its output varies over the rows of `tokens`.

    The standard deviation is over rows, its root mean square over features and positions. It is 0 for `pos`, which
    writes the same in every row. Raises ValueError for fewer than two rows.
    """
    if len(tokens) < 2:
        raise ValueError(f"a deviation over {len(tokens)} rows; expected at least 2")
    return model.writers(tokens).std(-1).square().mean((-1, -2)).sqrt()
