"""Scores of nodes by gradients (HISP), and of edges by how near a writer's output is to what the reader reads."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from interpbench import Discovery, EdgeScores
from interpbench.problem import Loss, Problem, choose_top
from interpbench.transformer import Tap

AT_ONCE = 64
"""Rows of a pass."""


def importance(problem: Problem, loss: Loss, faithful: float) -> Discovery:
    """HISP (arXiv 1905.10650): a node's mean size, over rows, of output times gradient of the loss by it.

    As in that paper the importances of a layer are divided by their norm. An edge gets the lower one of its ends.
    """
    graph, total = problem.graph, problem.full.new_zeros(len(problem.graph.writers))
    for rows in torch.arange(len(problem.clean)).split(AT_ONCE):
        part = problem.take(rows)
        outputs, slopes = _slopes(part, loss)
        # The loss is a mean over rows: a row's own gradient is larger by their number.
        total += len(rows) * (outputs * slopes).sum((1, 2)).abs().sum(-1)
    importances = dict(zip(graph.writers, total.double().tolist(), strict=True))
    normalised = {}
    for layer in {_layer(name) for name in graph.writers}:
        here = [name for name in graph.writers if _layer(name) == layer]
        norm = sum(importances[name] ** 2 for name in here) ** 0.5 or 1.0
        normalised |= {name: importances[name] / norm for name in here}
    scores = EdgeScores.of_nodes(graph, {name: normalised[name] for name in graph.writers})
    notes = {"method": "output times gradient of the lower of the two nodes", "loss": loss, "importance": normalised}
    return Discovery(scores, choose_top(problem, scores, faithful), notes)


def _layer(writer: str) -> str:
    """Heads of one layer belong together; everything else stands alone."""
    return writer.partition(".")[0]


def _slopes(problem: Problem, loss: Loss) -> tuple[Float[Tensor, "writer feature position row"], Tensor]:
    """Every writer's output, and the gradient of the loss by it."""
    graph, taps = problem.graph, list[Tap]()
    logits, outputs = problem.model.run(problem.clean, taps=taps)
    slopes = torch.autograd.grad(problem.loss(logits, loss), [tap.value for tap in taps])
    by_reader = torch.cat([tap.by_inputs(slope) for tap, slope in zip(taps, slopes, strict=True)])
    first = torch.from_numpy(graph.fan_in.searchsorted(range(1, len(graph.writers) + 1)))
    # A writer is read by all readers from its first on: sums from the end.
    from_the_end = by_reader.flip(0).cumsum(0).flip(0)
    return torch.stack([out.detach() for out in outputs]), from_the_end[first]


@torch.no_grad()
def flow(problem: Problem, faithful: float) -> Discovery:
    """Information flow routes (arXiv 2403.00824): how much of what a reader reads each writer contributes.

    A writer's contribution is what its output takes from the distance (L1) between the sum and the rest of it, as a
    share of all writers' (their equation 3), averaged over rows and positions. A route is as strong as its weakest
    edge; an edge's score is the largest threshold at which a search from the logits upwards still comes through it.
    """
    graph, total = problem.graph, problem.full.new_zeros(problem.graph.n_edges)
    for rows in torch.arange(len(problem.clean)).split(AT_ONCE):
        total += shares_of(problem, rows) / len(problem.clean)
    shares = total.double().tolist()
    reached = {"logits": 1.0}
    scores = [0.0] * len(shares)
    for edge in reversed(range(len(shares))):
        writer = graph.writers[graph.edge_writer[edge]]
        node = graph.readers[graph.edge_reader[edge]].partition("<")[0]
        scores[edge] = min(shares[edge], reached.get(node, 0.0))
        reached[writer] = max(reached.get(writer, 0.0), scores[edge])
    ranked = EdgeScores(graph, torch.tensor(scores, dtype=torch.float64).numpy())
    return Discovery(ranked, choose_top(problem, ranked, faithful), {"method": "information flow routes"})


def shares_of(problem: Problem, rows: Tensor) -> Float[Tensor, " edge"]:
    """Summed over rows: each writer's share of what its readers read, the mean over positions."""
    graph, outs = problem.graph, problem.model.writers(problem.clean[rows])
    shares = problem.full.new_zeros(graph.n_edges)
    for count in sorted(set(graph.fan_in)):
        whole = outs[:count].sum(0)  # biases belong to no writer
        near = (whole.abs().sum(0) - (whole - outs[:count]).abs().sum(1)).clamp(min=0)
        share = (near / near.sum(0).clamp(min=1e-12)).mean(1).sum(-1)
        for reader in (r for r, fan in enumerate(graph.fan_in) if fan == count):
            shares[graph.starts[reader] : graph.starts[reader + 1]] = share
    return shares
