"""Patching of every edge alone, in the clean run or in the corrupted one.

Noising cuts an edge in the clean run. It misses an edge that another can stand in for (an OR of two). Denoising
restores the clean value of an edge in the corrupted run. It misses an edge that has no effect without another (an AND
of two). Both together see either kind (arXiv 2505.10039).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from interpbench import Discovery, EdgeScores
from interpbench.problem import Loss, Problem, choose_top

if TYPE_CHECKING:
    from interpbench_baselines import PatchingConfig

AT_ONCE = 512
"""Number of edges whose masks are held at a time."""


def discover(problem: Problem, config: PatchingConfig) -> Discovery:
    """Score every edge; of the top-scored circuits the smallest faithful one is chosen."""
    loss = problem.check_loss(problem.faithfulness_loss if config.loss == "auto" else config.loss)
    effects = [EFFECTS[name](problem, loss) for name in EFFECTS if config.direction in (name, "both")]
    if config.sign == "absolute":
        effects = [effect.abs() for effect in effects]
    scores = EdgeScores(problem.graph, union(effects).double().cpu().numpy())
    notes = {"direction": config.direction, "loss": loss, "sign": config.sign}
    chosen = f"fewest edges with at most {config.faithful} of the loss"
    return Discovery(scores, choose_top(problem, scores, config.faithful), {**notes, "chosen": chosen})


def union(effects: list[Float[Tensor, " edge"]]) -> Float[Tensor, " edge"]:
    """The largest of an edge's effects, each as a share of the largest of its kind; one kind alone stays as it is.

    A loss that bends makes effects in one direction many times those in the other. Shares let the best edges of both
    come first.
    """
    if len(effects) == 1:
        return effects[0]
    sizes = [effect.abs().max().clamp(min=torch.finfo(effect.dtype).tiny) for effect in effects]
    return torch.stack([effect / size for effect, size in zip(effects, sizes, strict=True)]).amax(0)


def noising(problem: Problem, loss: Loss) -> Float[Tensor, " edge"]:
    """By how much the loss rises where an edge alone is cut."""
    nothing = problem.full.new_zeros(problem.graph.n_edges)
    return _of_each(problem, nothing, loss)


def denoising(problem: Problem, loss: Loss) -> Float[Tensor, " edge"]:
    """By how much the loss falls where an edge alone carries its clean value in the corrupted run.

    The corrupted run is the one with every edge from `embed` and `pos` cut. All other writers then have their corrupted
    outputs already, so for those the clean outputs take the place of `other`, and a mask of 1 restores an edge.
    """
    inputs = len(problem.graph.writers) - len(problem.graph.nodes)
    clean = problem.model.writers(problem.clean)
    given = problem.other[:inputs].expand(clean[:inputs].shape)
    corrupted = replace(problem, other=torch.cat([given, clean[inputs:]]))
    from_inputs = torch.from_numpy(problem.graph.edge_writer < inputs).to(problem.full)
    return -_of_each(corrupted, from_inputs, loss)


EFFECTS: Mapping[str, Callable[[Problem, Loss], Float[Tensor, " edge"]]] = {
    "noising": noising,
    "denoising": denoising,
}


def _of_each(problem: Problem, mask: Float[Tensor, " edge"], loss: Loss) -> Float[Tensor, " edge"]:
    """By how much the loss rises where one entry of the mask alone is turned over."""
    rises = []
    for edges in torch.arange(len(mask), device=mask.device).split(AT_ONCE):
        masks = mask.repeat(len(edges), 1)
        masks[range(len(edges)), edges] = 1 - mask[edges]
        rises.append(problem.losses(masks, loss))
    return torch.cat(rises) - problem.losses(mask[None], loss)
