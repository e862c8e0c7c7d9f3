"""Training rows: inputs and sources from a pool, and what is replaced on each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from interpbench.case import Case
from interpbench.certificate import Masks
from interpbench.trainers.siit import Config

POOL = 1 << 16


@dataclass(frozen=True)
class Pool:
    """Inputs to draw from: clean ones and their counterfactuals, int64 `[input, position]`."""

    clean: Tensor
    corrupted: Tensor

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inputs and sources; a quarter of the sources are the inputs' own counterfactuals, the others independent."""
        rows, others = torch.randint(len(self.clean), (2, n), generator=generator)
        own = torch.rand(n, 1, generator=generator) < 0.25
        return self.clean[rows], torch.where(own, self.corrupted[rows], self.clean[others])


def make_pool(case: Case, seed: int) -> Pool:
    """Every input if there are few, else random ones."""
    rng = np.random.default_rng([seed, 1])
    every = case.all_inputs(POOL)
    clean = case.inputs(POOL, rng) if every is None else every
    return Pool(torch.tensor(clean), torch.tensor(case.corrupt(clean, rng)))


def draw_masks(
    masks: Masks, config: Config, n: int, is_open: bool, variable_weights: Tensor, generator: torch.Generator
) -> tuple[Float[Tensor, "group edge"], Int[Tensor, " group"]]:
    """Masks of `n` groups of rows, and each group's variable (-1: none).

    Edges of a strict group: all outside edges, each with probability .1 or .5, or a single one. Silent nodes of a
    strict group: one, each with probability .5, or all.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def pick(weights: Tensor) -> Tensor:
        return torch.multinomial(weights, n, replacement=True, generator=generator)

    variable = torch.where(uniform(n) < config.interchange, pick(variable_weights), -1)
    columns = torch.stack([*masks.variables.values(), torch.zeros(masks.graph.n_edges)])
    mask = columns[variable]
    outside = masks.outside_edges.expand(n, -1)
    if not is_open:
        return torch.maximum(mask, outside), variable

    share = torch.tensor([1.0, 0.1, 0.5, 0.0])[pick(torch.tensor([0.4, 0.2, 0.2, 0.2]))]
    single = torch.zeros_like(outside).scatter_(1, pick(masks.outside_edges)[:, None], 1)
    some_edges = torch.where(share[:, None] > 0, outside * (uniform(*outside.shape) < share[:, None]), single)
    silent = torch.stack([*masks.silent.values()])
    count = len(silent)
    chosen = F.one_hot(pick(torch.ones(count)), count).float()
    kind = uniform(n, 1)
    chosen = torch.where(kind < 0.5, chosen, (uniform(n, count) < torch.where(kind < 0.75, 0.5, 1.0)).float())
    some_nodes = (chosen @ silent).clamp(max=1)
    strict = torch.where(uniform(n, 1) < config.edges, some_edges, some_nodes)
    strict = strict * (uniform(n, 1) < config.strict)
    return torch.maximum(mask, strict), variable
