"""Subnetwork probing: learn by gradient descent which edges a circuit keeps.

Every unit (an edge; or a node: a q, k, v input or an MLP's output) is kept by a random share from a Hard Concrete
distribution (arXiv 1712.01312) with parameter theta. Descent lowers the loss of the masked model plus `lambda` times
the expected share of units kept. The published result is one random draw of the mask; ours has no noise in it: a unit
is kept if its noiseless share is above one half, that is if theta > 0, and theta is the score.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from interpbench import Circuit, Discovery, EdgeScores, Graph
from interpbench.problem import Loss, Problem, choose_among
from jaxtyping import Bool, Float
from torch import Tensor

if TYPE_CHECKING:
    from interpbench_sp import Config

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
SHIFT = BETA * math.log(-GAMMA / ZETA)
START = math.log(0.9 / 0.1) + SHIFT
"""theta at which a unit is kept, in part at least, with probability 0.9."""


def discover(problem: Problem, config: Config) -> Discovery:
    """Learn one mask for every lambda, all at once.

    Scores are theta, averaged over the lambdas; of their circuits the smallest faithful one is chosen.
    """
    graph = problem.graph
    loss = problem.check_loss(problem.faithfulness if config.loss == "auto" else config.loss)
    units = torch.eye(graph.n_edges, dtype=torch.bool) if config.edgewise else node_units(graph)
    theta, steps = train(problem, config, loss, units.to(problem.device))

    lowest = torch.where(units.to(theta.device), theta.unsqueeze(-1), theta.max()).amin(-2)
    cut = lowest <= 0
    chosen = choose_among(problem, cut, config.faithful)
    notes = {
        "units": "edges" if config.edgewise else "nodes",
        "loss": loss,
        "lambda": list(config.lambda_),
        "edges_kept": (~cut).sum(-1).tolist(),
        "steps": steps,
        "chosen_lambda": config.lambda_[chosen],
    }
    circuit = Circuit(graph, frozenset(e for e, c in zip(graph.edges, cut[chosen].tolist(), strict=True) if not c))
    return Discovery(EdgeScores(graph, lowest.mean(0).double().cpu().numpy()), circuit, notes)


def node_units(graph: Graph) -> Bool[Tensor, "unit edge"]:
    """Which edges every q, k, v input and every MLP output covers."""
    reader, writer = torch.tensor(graph.edge_reader), torch.tensor(graph.edge_writer)
    inputs = [reader == i for i, name in enumerate(graph.readers) if "<" in name]
    return torch.stack([*inputs, *(writer == i for i, name in enumerate(graph.writers) if name.startswith("m"))])


def train(
    problem: Problem, config: Config, loss: Loss, units: Bool[Tensor, "unit edge"]
) -> tuple[Float[Tensor, "lambda unit"], int]:
    """theta for every lambda, and after how many steps its sign had settled."""
    generator = torch.Generator().manual_seed(problem.seed)
    like = {"dtype": problem.full.dtype, "device": problem.device}
    weight = torch.tensor(config.lambda_, **like)
    if config.relative:
        weight = weight * problem.losses(torch.ones(1, units.shape[1], **like), loss).abs()
    theta = torch.full((len(weight), len(units)), START, requires_grad=True, **like)
    optimizer = torch.optim.Adam([theta], lr=config.lr)
    before, since = theta.detach() > 0, 0
    for step in range(config.steps):
        optimizer.param_groups[0]["lr"] = config.lr * min((step + 1) / 10, 1 - step / config.steps)
        part = problem.take(torch.randperm(len(problem.clean), generator=generator)[: config.rows or None])
        noise = torch.empty(config.draws, *theta.shape, dtype=torch.float64).uniform_(1e-4, 1 - 1e-4, generator=generator)
        keep = hard_concrete(theta + noise.logit().to(theta))
        covered = torch.where(units, keep.unsqueeze(-1), 1).prod(-2)
        kept_share = (theta - SHIFT).sigmoid().mean(-1)
        total = part.loss(part.logits(1 - covered), loss).mean(0) + weight * kept_share
        optimizer.zero_grad()
        total.sum().backward()
        optimizer.step()
        now = theta.detach() > 0
        since = 0 if (now != before).any() else since + 1
        before = now
        if since >= config.patience and not now.all():
            return theta.detach(), step + 1
    return theta.detach(), config.steps


def hard_concrete(logit: Tensor) -> Tensor:
    """Share kept, from 0 to 1, for theta plus the noise's logit."""
    return ((logit / BETA).sigmoid() * (ZETA - GAMMA) + GAMMA).clamp(0, 1)
