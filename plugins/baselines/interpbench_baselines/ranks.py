"""The mean of ranks of several attributions, which err on different edges."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interpbench import Discovery, EdgeScores
from interpbench.problem import Loss, Problem, choose_top


def discover(problem: Problem, loss: Loss, steps: int, faithful: float) -> Discovery:
    """Rank edges by each of `attributions`, absolute, and score every edge by the mean of its ranks."""
    found = attributions(problem, loss, steps)
    ranks = {name: _ranks(effects.abs().double().cpu().numpy()) for name, effects in found.items()}
    scores = EdgeScores(problem.graph, np.mean(list(ranks.values()), axis=0))
    notes = {"method": "mean of ranks", "of": list(ranks), "loss": loss, "steps": steps}
    return Discovery(scores, choose_top(problem, scores, faithful), notes)


def attributions(problem: Problem, loss: Loss, steps: int) -> dict[str, Float[Tensor, " edge"]]:
    """The loss's derivative by every mask: where nothing is cut, on a path of masks, on one of input embeddings, and at
    the corrupted inputs.
    """
    every = problem.full.new_ones(1, problem.graph.n_edges)
    inputs = len(problem.graph.writers) - len(problem.graph.nodes)
    from_inputs = torch.from_numpy(problem.graph.edge_writer < inputs).to(every)
    path = ((torch.arange(steps) + 0.5) / steps).to(every)[:, None]
    return {
        "clean": problem.gradients(0 * every, loss)[0],
        "masks": problem.gradients(path * every, loss).mean(0),
        "inputs": problem.attributions(path * from_inputs, loss).mean(0),
        "corrupted": problem.attributions(from_inputs[None], loss)[0],
    }


def _ranks(sizes: np.ndarray) -> np.ndarray:
    """Ranks from 0, ties at their mean, as a share of the highest."""
    _, place, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place] / max(1, len(sizes) - 1)
