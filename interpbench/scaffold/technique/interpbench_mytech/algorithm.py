"""The algorithm. It sees a model, data, masks and losses (`interpbench.problem`), and never the true circuit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from interpbench import Discovery, EdgeScores, Problem
from interpbench.problem import choose_top

if TYPE_CHECKING:
    from . import Config


def discover(problem: Problem, config: Config) -> Discovery:
    """A score for every edge, higher meaning more surely in the circuit, and the circuit of the best ones.

    A mask has an entry for every edge: 0 keeps it, 1 lets it carry the corrupted input's value. Here every circuit
    lacks one edge. `problem.gradients(masks, loss)` gives derivatives by the masks, `problem.logits(mask)` the outputs.
    """
    cut_one = torch.eye(problem.graph.n_edges, device=problem.device)
    rises = problem.losses(cut_one, problem.faithfulness_loss)
    scores = EdgeScores(problem.graph, rises.cpu().numpy())
    return Discovery(scores, choose_top(problem, scores, config.faithful), {"loss": problem.faithfulness_loss})
