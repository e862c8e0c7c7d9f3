"""ACDC: visit every edge once, from the output back, and cut it if the loss rises by less than a threshold.

Readers are visited in reverse: the logits, then from the last layer to the first the MLP and the heads from the last,
q, k, v each; the edges into a reader from the latest writer to the earliest, or shuffled by a seed. An edge into a
node that can no longer reach the output goes without a test.

Several thresholds share their work: a search runs for a set of them as long as they decide alike, and splits where
one would cut and another would not. What is found for each is what a search for it alone would find.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from interpbench import Circuit, Discovery, EdgeScores, Graph
from interpbench.problem import Incremental, Loss, Problem, choose_among

if TYPE_CHECKING:
    from interpbench_acdc import Config


def discover(problem: Problem, config: Config) -> Discovery:
    """Search at every threshold; an edge's score is the smallest one at which it is cut (infinite: never).

    Of the circuits found, the smallest faithful one is chosen.
    """
    graph, taus = problem.graph, np.array(config.thresholds)
    loss = problem.check_loss(problem.faithfulness_loss if config.loss == "auto" else config.loss)
    search = Search(problem, loss, config.absolute, visiting_order(graph, config.order_seed))
    search.run(taus)
    cut = np.stack([search.found[tau].cut for tau in taus])

    scores = np.where(cut.any(0), taus[cut.argmax(0)], np.inf)
    chosen = choose_among(problem, torch.tensor(cut, device=problem.device), config.faithful)
    notes = {
        "loss": loss,
        "order": "readers from the output back; writers "
        + (f"shuffled with seed {config.order_seed}" if config.order_seed else "from the latest"),
        "absolute": config.absolute,
        "tests": search.tests,
        "tau": taus.tolist(),
        "edges_kept": (~cut).sum(1).tolist(),
        "losses": [search.found[tau].loss for tau in taus],
        "chosen_tau": float(taus[chosen]),
        "nested": "circuits of different tau come from separate greedy searches and need not contain one another",
    }
    circuits = {
        float(tau): Circuit(graph, frozenset(graph.edges[i] for i in np.flatnonzero(~gone)))
        for tau, gone in zip(taus, cut, strict=True)
    }
    return Discovery(EdgeScores(graph, scores), circuits[float(taus[chosen])], notes, circuits)


def visiting_order(graph: Graph, seed: int = 0) -> list[int]:
    """All edges in the order in which they are tried."""
    rng = np.random.default_rng(seed)
    readers = [graph.readers.index("logits")]
    for layer in reversed(range(graph.n_layers)):
        heads = [f"a{layer}.h{head}<{x}>" for head in reversed(range(graph.n_heads)) for x in "qkv"]
        readers += [graph.readers.index(name) for name in (f"m{layer}", *heads)]
    order = []
    for reader in readers:
        edges = np.arange(graph.starts[reader], graph.starts[reader + 1])[::-1]
        order += (rng.permutation(edges) if seed else edges).tolist()
    return order


@dataclass(frozen=True, eq=False)
class End:
    """Where a search for one threshold ended."""

    cut: np.ndarray
    loss: float


@dataclass(eq=False)
class Search:
    """Greedy searches that share what they can; `found` holds their results by threshold, `tests` how many losses
    were measured.
    """

    problem: Problem
    loss: Loss
    absolute: bool
    order: list[int]
    found: dict[float, End] = field(default_factory=dict)
    tests: int = 0

    def run(self, taus: np.ndarray) -> None:
        """Search for all thresholds."""
        waiting = [(0, np.zeros(len(self.order), dtype=bool), taus)]
        while waiting:
            start, cut, group = waiting.pop()
            state = Incremental(self.problem, self.loss, cut)
            for place in range(start, len(self.order)):
                edge = self.order[place]
                if not state.alive(edge):
                    state.cut[edge] = True
                    continue
                attempt = state.attempt(edge)
                self.tests += 1
                rise = attempt.loss - state.loss
                cuts = (abs(rise) if self.absolute else rise) < group
                if not cuts.all() and cuts.any():
                    waiting.append((place + 1, state.cut.copy(), group[~cuts]))
                    group = group[cuts]
                if cuts.any():
                    state.accept(edge, attempt)
            self.found.update((tau, End(state.cut.copy(), state.loss)) for tau in group.tolist())
