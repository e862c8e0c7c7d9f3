"""EAP: the score of an edge is what the loss would rise, to first order, if the edge were cut.

That is the derivative of the loss by the edge's mask. At the clean point it equals the textbook formula
`sum (other_w - clean_w) . dLoss/d(input of r)`; elsewhere the two differ, and each variant uses its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from interpbench import Discovery, EdgeScores, UsageError
from interpbench.problem import Loss, Problem, choose_top
from interpbench.transformer import EXACT, GIM, RELP

if TYPE_CHECKING:
    from interpbench_eap import Config

RULES = {"exact": EXACT, "relp": RELP, "gim": GIM}
"""What goes back, by the option's name."""

FLAT_AT_CLEAN = ("kl", "mse", "mae")
"""Losses whose gradient is zero where nothing is cut, being distances to the model's own output there."""


def discover(problem: Problem, config: Config) -> Discovery:
    """Score every edge. Raises UsageError for a loss that does not fit, or has no gradient at the chosen point."""
    default = "logit-diff" if problem.output == "categorical" else "shift"
    loss = problem.check_loss(default if config.loss == "auto" else config.loss)
    if config.ig == "none" and config.at == "clean" and loss in FLAT_AT_CLEAN:
        raise UsageError(
            f"loss '{loss}' compares with the model's own clean output, so its gradient at the clean point is zero; "
            f"use --at corrupt, --ig masks, or --loss {default}"
        )
    ruled = replace(problem, model=replace(problem.model, rules=RULES[config.backward]))
    scores = attribute(ruled, config, loss)
    if config.sign == "absolute":
        scores = scores.abs()
    size = {"max": scores.abs().max(), "sum": scores.abs().sum(), "published": 1 / published_factor(problem, config)}
    scores = scores / torch.as_tensor(size.get(config.normalise, 1.0)).clamp(min=torch.finfo(scores.dtype).tiny)
    scores = EdgeScores(problem.graph, scores.cpu().numpy())
    circuit = choose_top(problem, scores, config.faithful)
    method = {"none": f"EAP at the {config.at} point"}.get(
        config.ig, f"EAP-IG over {config.ig}, {config.ig_steps} steps"
    )
    notes = {
        "method": method,
        "loss": loss,
        "backward": config.backward,
        "sign": config.sign,
        "normalise": config.normalise,
    }
    return Discovery(scores, circuit, {**notes, "chosen": f"fewest edges with at most {config.faithful} of the loss"})


def attribute(problem: Problem, config: Config, loss: Loss) -> Float[Tensor, " edge"]:
    """First-order effect of cutting every edge, positive where it raises the loss."""
    graph = problem.graph
    every = problem.full.new_ones(1, graph.n_edges)
    inputs = _leaving(problem, "embed", "pos")
    path = points(config).to(every)[:, None]
    match config.ig:
        case "none" if config.at == "clean":
            return problem.gradients(0 * every, loss)[0]
        case "none":
            # The run on corrupted inputs, as a mask. With every edge cut instead, no gradient would flow back, and
            # the mask's own gradient is of no use either: all writers already equal `other`.
            return problem.attributions(inputs[None], loss)[0]
        case "masks":
            return problem.gradients(path * every, loss).mean(0)
        case "inputs":
            # Interpolating the embeddings is cutting every edge from embed and pos by that much.
            return problem.attributions(path * inputs, loss).mean(0)
        case "descent":
            return _down(problem, inputs, config.ig_steps, loss)
        case "activations":
            scores = torch.zeros_like(every[0])
            for writer in graph.writers:
                leaving = _leaving(problem, writer)
                scores += problem.gradients(path * leaving, loss).mean(0) * leaving
            return scores


def _down(problem: Problem, inputs: Float[Tensor, " edge"], steps: int, loss: Loss) -> Float[Tensor, " edge"]:
    """Attribution along a path of embeddings that avoids where the output is flat (EAP-GP, arXiv 2502.06852).

    The path starts at the corrupted embeddings. Each step goes down the gradient of the squared distance between the
    logits and the clean ones; its length, row by row, is the distance between the two embeddings over `steps`.
    `inputs` is 1 on the edges from the embeddings.
    """
    clean, count = problem.model.writers(problem.clean), 2
    others = problem.other.expand(clean.shape)
    here = others[:count].clone()
    length = (here - clean[:count]).square().sum((0, 1, 2)).sqrt() / steps
    total = torch.zeros_like(inputs)
    for _ in range(steps):
        at = here.requires_grad_()
        carried = torch.cat([at, others[count:]])
        total += problem.attributions(inputs[None], loss, carried.detach())[0] / steps
        logits = problem.model(problem.clean, inputs, carried)
        (slope,) = torch.autograd.grad((logits - problem.full).square().sum(), at)
        size = slope.square().sum((0, 1, 2)).sqrt().clamp(min=torch.finfo(slope.dtype).tiny)
        here = (at - slope * (length / size)).detach()
    return total


def points(config: Config) -> Float[Tensor, " point"]:
    """Where on the path from 0, nothing cut, to 1 gradients are taken."""
    steps, default = config.ig_steps, "clean" if config.ig == "inputs" else "middles"
    match default if config.points == "auto" else config.points:
        case "ends":
            return torch.arange(steps + 1) / steps
        case "corrupted":
            return 1 - torch.arange(steps) / steps
        case "clean":
            return 1 - torch.arange(1, steps + 1) / steps
        case _:
            return (torch.arange(steps) + 0.5) / steps


def published_factor(problem: Problem, config: Config) -> float:
    """By what published scores are larger than means: they are sums over points and, for classes, over positions.

    Measured on the published code's results; thresholds of the `paper` protocol refer to scores of that size.
    """
    positions = problem.scored.float().sum(-1).mean().item() if problem.output == "categorical" else 1.0
    return positions * (len(points(config)) if config.ig in ("masks", "activations") else 1)


def _leaving(problem: Problem, *writers: str) -> Float[Tensor, " edge"]:
    """1 on every edge that leaves one of the writers."""
    mask = problem.full.new_zeros(problem.graph.n_edges)
    for writer in writers:
        mask[torch.tensor(problem.graph.edges_from(writer))] = 1
    return mask
