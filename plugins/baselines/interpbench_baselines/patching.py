"""Patching of every edge or node alone, in the clean run or in the corrupted one.

Noising cuts an edge in the clean run. It misses an edge that another can stand in for (an OR of two). Denoising
restores the clean value of an edge in the corrupted run. It misses an edge that has no effect without another (an AND
of two). Both together see either kind (arXiv 2505.10039).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpbench import Discovery, EdgeScores, Graph
from interpbench.problem import Loss, Problem, choose_top

if TYPE_CHECKING:
    from interpbench_baselines import PatchingConfig

AT_ONCE = 512
"""Number of edges whose masks are held at a time."""


def discover(problem: Problem, config: PatchingConfig) -> Discovery:
    """Score every edge; of the top-scored circuits the smallest faithful one is chosen."""
    loss = problem.check_loss(problem.faithfulness_loss if config.loss == "auto" else config.loss)
    graph, units = problem.graph, UNITS[config.by](problem.graph)
    effects = [EFFECTS[name](problem, loss, units) for name in EFFECTS if config.direction in (name, "both")]
    if config.sign == "absolute":
        effects = [effect.abs() for effect in effects]
    found = union(effects).double().cpu().numpy()
    of_nodes = dict(zip(graph.writers, found.tolist(), strict=config.by == "nodes"))
    scores = EdgeScores(graph, found) if config.by == "edges" else EdgeScores.of_nodes(graph, of_nodes)
    notes = {"by": config.by, "direction": config.direction, "loss": loss, "sign": config.sign}
    chosen = f"fewest edges with at most {config.faithful} of the loss"
    return Discovery(scores, choose_top(problem, scores, config.faithful), {**notes, "chosen": chosen})


UNITS: Mapping[str, Callable[[Graph], Int[Tensor, " edge"]]] = {
    "edges": lambda graph: torch.arange(graph.n_edges),
    "nodes": lambda graph: torch.from_numpy(graph.edge_writer),
}
"""What is patched together: the number of the unit that each edge belongs to."""


def union(effects: list[Float[Tensor, " unit"]]) -> Float[Tensor, " unit"]:
    """The largest of a unit's effects, each as a share of the largest of its kind; one kind alone stays as it is.

    A loss that bends makes effects in one direction many times those in the other. Shares let the best edges of both
    come first.
    """
    if len(effects) == 1:
        return effects[0]
    sizes = [effect.abs().max().clamp(min=torch.finfo(effect.dtype).tiny) for effect in effects]
    return torch.stack([effect / size for effect, size in zip(effects, sizes, strict=True)]).amax(0)


def noising(problem: Problem, loss: Loss, units: Int[Tensor, " edge"]) -> Float[Tensor, " unit"]:
    """By how much the loss rises where the edges of one unit are cut."""
    nothing = problem.full.new_zeros(problem.graph.n_edges)
    return _of_each(problem, nothing, loss, units)


def denoising(problem: Problem, loss: Loss, units: Int[Tensor, " edge"]) -> Float[Tensor, " unit"]:
    """By how much the loss falls where the edges of one unit carry their clean values in the corrupted run.

    The corrupted run is the one with every edge from `embed` and `pos` cut. All other writers then have their corrupted
    outputs already, so for those the clean outputs take the place of `other`, and a mask of 1 restores an edge.
    """
    inputs = len(problem.graph.writers) - len(problem.graph.nodes)
    clean = problem.model.writers(problem.clean)
    given = problem.other[:inputs].expand(clean[:inputs].shape)
    corrupted = replace(problem, other=torch.cat([given, clean[inputs:]]))
    from_inputs = torch.from_numpy(problem.graph.edge_writer < inputs).to(problem.full)
    return -_of_each(corrupted, from_inputs, loss, units)


EFFECTS: Mapping[str, Callable[[Problem, Loss, Tensor], Tensor]] = {
    "noising": noising,
    "denoising": denoising,
}


def _of_each(
    problem: Problem, mask: Float[Tensor, " edge"], loss: Loss, units: Int[Tensor, " edge"]
) -> Float[Tensor, " unit"]:
    """By how much the loss rises where the entries of one unit are turned over."""
    units, rises = units.to(mask.device), []
    for some in torch.arange(int(units.max()) + 1, device=mask.device).split(AT_ONCE):
        turned = (units == some[:, None]).to(mask)
        rises.append(problem.losses((mask - turned).abs(), loss))
    return torch.cat(rises) - problem.losses(mask[None], loss)
