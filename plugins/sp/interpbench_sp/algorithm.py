"""Subnetwork probing: learn by gradient descent which edges a circuit keeps.

Every unit (an edge; or a node: a q, k, v input or an MLP's output) is kept by a random share from a Hard Concrete
distribution (arXiv 1712.01312) with parameter theta. Descent lowers the loss of the masked model plus `lambda` times
the expected share of units kept. The published result is one random draw of the mask; ours has no noise in it: a unit
is kept if its noiseless share is above one half, that is if theta > 0, and theta is the score. Kept edges on no path
that matters (`Problem.on_paths`) are left out of the circuit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from interpbench import Circuit, Discovery, EdgeScores, Graph
from interpbench.problem import Loss, Problem, adam_step, choose_among

if TYPE_CHECKING:
    from interpbench_sp import Config

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
SHIFT = BETA * math.log(-GAMMA / ZETA)
START = math.log(0.9 / 0.1) + SHIFT
"""theta at which a unit is kept, in part at least, with probability 0.9."""


def discover(problem: Problem, config: Config) -> Discovery:
    """Learn a mask for every lambda.

    Scores are theta (with nodes: that of an edge's ends, the lower one), averaged over the lambdas; of the circuits
    the smallest faithful one is chosen.
    """
    graph = problem.graph
    loss = problem.check_loss(problem.faithfulness_loss if config.loss == "auto" else config.loss)
    units = edge_units(graph) if config.edgewise else node_units(graph)
    everything_cut = problem.full.new_ones(1, graph.n_edges)
    # Where cutting everything costs nothing, the regulariser alone decides, and nothing is kept.
    scale = (abs(problem.losses(everything_cut, loss).item()) if config.relative else 0.0) or 1.0
    theta, steps = train(problem, config, loss, units, scale * torch.tensor(config.lambda_, device=problem.device))
    of_edges = theta if config.edgewise else between_nodes(graph, theta)
    cut = of_edges <= (of_edges.quantile(1 - config.target, -1, True) if config.target else 0)
    cut = ~torch.from_numpy(problem.on_paths((~cut).cpu().numpy())).to(cut.device)
    chosen = choose_among(problem, cut, config.faithful)
    notes = {
        "units": "edges" if config.edgewise else "nodes",
        "loss": loss,
        "lambda": list(config.lambda_),
        "lambda_scale": scale,
        "target": config.target,
        "constant": config.constant,
        "edges_kept": (~cut).sum(-1).tolist(),
        "steps": steps,
        "chosen_lambda": config.lambda_[chosen],
    }
    circuits = {
        float(weight): Circuit(graph, frozenset(e for e, c in zip(graph.edges, gone, strict=True) if not c))
        for weight, gone in zip(config.lambda_, cut.tolist(), strict=True)
    }
    scores = EdgeScores(graph, of_edges.mean(0).double().cpu().numpy())
    return Discovery(scores, circuits[float(config.lambda_[chosen])], notes, circuits)


def edge_units(graph: Graph) -> Int[Tensor, "edge 1"]:
    """The unit of every edge, where each is one."""
    return torch.arange(graph.n_edges)[:, None]


def node_units(graph: Graph) -> Int[Tensor, "edge 2"]:
    """The units whose masks an edge carries, where they are q, k, v inputs and MLPs; -1 where there is none."""
    number = numbers(graph)
    ends = (edge.split("->") for edge in graph.edges)
    return torch.tensor([[number.get(reader, -1), number.get(writer, -1)] for writer, reader in ends])


def numbers(graph: Graph) -> dict[str, int]:
    """Number of every q, k, v input and every MLP."""
    names = [name for name in graph.readers if "<" in name] + [name for name in graph.writers if name.startswith("m")]
    return {name: i for i, name in enumerate(names)}


def between_nodes(graph: Graph, theta: Float[Tensor, "lambda unit"]) -> Float[Tensor, "lambda edge"]:
    """Theta of every edge: a circuit of nodes holds the edges between them, so the lower of its two ends.

    A head is kept as far as the most of its q, k, v is, though no mask lies on what it writes.
    """
    number = numbers(graph)
    writers = [
        [number.get(f"{name}{x}", number.get(name, -1)) for x in ("<q>", "<k>", "<v>")] for name in graph.writers
    ]
    readers = [number.get(name, -1) for name in graph.readers]
    every = F.pad(theta, (0, 1), value=theta.max().item())
    return torch.minimum(every[:, writers].amax(-1)[:, graph.edge_writer], every[:, readers][:, graph.edge_reader])


def train(
    problem: Problem, config: Config, loss: Loss, units: Int[Tensor, "edge k"], weights: Float[Tensor, " lambda"]
) -> tuple[Float[Tensor, "lambda unit"], list[int]]:
    """Theta of every unit for every weight of the regulariser, and the steps taken for each.

    All weights see the same rows and noise, each as if it were learnt alone; one whose mask stays as it is ends early.
    """
    generator = torch.Generator().manual_seed(problem.seed)
    theta = problem.full.new_full((len(weights), int(units.max()) + 1), START)
    mean, square, ended = torch.zeros_like(theta), torch.zeros_like(theta), theta.clone()
    since, steps = [0] * len(weights), [config.steps] * len(weights)
    learning = list(range(len(weights)))
    pressure = Pressure(config, weights.to(theta))
    learnt = LearntConstants(problem) if config.constant == "learnt" else None
    for step in range(config.steps):
        part = problem.take(torch.randperm(len(problem.clean), generator=generator)[: config.rows or None])
        noise = torch.empty(config.draws, 1, theta.shape[1], dtype=torch.float64)
        noise = noise.uniform_(1e-4, 1 - 1e-4, generator=generator).logit().to(theta)
        lr = config.lr * min((step + 1) / 10, 1 - step / config.steps)
        here = theta[learning].requires_grad_()
        kept = F.pad(hard_concrete(here + noise), (0, 1), value=1.0)[..., units].prod(-1)
        masks = (1 - kept.detach()).flatten(0, 1)
        slope = part.gradients(masks, loss) if learnt is None else learnt.step(part, masks, loss, lr)
        expected = pressure((here - SHIFT).sigmoid().mean(-1), learning, step)
        total = expected.sum() - (slope.view_as(kept) * kept).sum((-1, 0)).sum() / config.draws
        gradient = torch.zeros_like(theta)
        gradient[learning] = torch.autograd.grad(total, here)[0]
        before = theta > 0
        theta = theta - adam_step(mean, square, gradient, step + 1, lr)
        now = theta > 0
        for i in list(learning):
            since[i] = 0 if (now[i] != before[i]).any() else since[i] + 1
            if since[i] >= config.patience and not now[i].all() and not config.target:
                ended[i], steps[i] = theta[i], step + 1
                learning.remove(i)
        if not learning:
            break
    ended[learning] = theta[learning]
    return ended, steps


@dataclass(eq=False)
class Pressure:
    """The regulariser on the expected share of units kept: `lambda` times it, or towards a target.

    With a target t, which falls from 1 over the first half of the steps, it is `a (share - t) + b (share - t)^2`, where
    a and b rise with what is missing: Lagrange multipliers (arXiv 2406.16778, equation 6), in units of lambda.
    """

    config: Config
    weights: Float[Tensor, " lambda"]

    def __post_init__(self) -> None:
        self.first, self.second = torch.zeros_like(self.weights), torch.zeros_like(self.weights)

    def __call__(self, share: Float[Tensor, " learning"], learning: list[int], step: int) -> Float[Tensor, " learning"]:
        """The regulariser of the masks that are still learnt, at a step."""
        weights, target = self.weights[learning], self.config.target
        if not target:
            return weights * share
        missing = share - (1 - (1 - target) * min(1.0, 2 * step / self.config.steps))
        self.first[learning] += self.config.lr * missing.detach()
        self.second[learning] += self.config.lr * missing.detach().square()
        return weights * (self.first[learning] * missing + self.second[learning] * missing.square())


class LearntConstants:
    """One vector for each writer, the same on all rows and positions, learnt by descent on the loss of the masks."""

    def __init__(self, problem: Problem) -> None:
        self.values = problem.other.mean((-2, -1), keepdim=True)
        self.mean, self.square = torch.zeros_like(self.values), torch.zeros_like(self.values)
        self.steps = 0

    def step(self, problem: Problem, masks: Tensor, loss: Loss, lr: float) -> Float[Tensor, "circuit edge"]:
        """Descend one step; returns the gradient of the loss by each of the masks."""
        masks, values = masks.requires_grad_(), self.values.requires_grad_()
        logits = problem.model(problem.clean, masks, values)
        slope, gradient = torch.autograd.grad(problem.loss(logits, loss).sum(), [masks, values])
        self.steps += 1
        step = adam_step(self.mean, self.square, gradient / len(masks), self.steps, lr)
        self.values = (values - step).detach()
        return slope


def hard_concrete(logit: Tensor) -> Tensor:
    """Share kept, from 0 to 1, for theta plus the noise's logit."""
    return ((logit / BETA).sigmoid() * (ZETA - GAMMA) + GAMMA).clamp(0, 1)
