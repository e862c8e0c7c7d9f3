"""Find the classes of the edges of a true circuit (`edge_classes.py`) by backward elimination in random orders.

All orders advance together, one edge a step, and what is equal is measured once: a set of edges is known by those of
its edges that lie on a path from the inputs to the logits, because cutting any other edge changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from interpbench.cases.case import Case
from interpbench.cases.pairs import fresh_data
from interpbench.cases.reference import defined
from interpbench.certificate.certificate import THRESHOLD
from interpbench.certificate.edge_classes import EdgeClasses
from interpbench.graph.circuit import Circuit
from interpbench.problem.ablation import Ablation
from interpbench.problem.problem import Problem, make_problem
from interpbench.transformer.model import Transformer

ORDERS = 32
ROWS, ANSWERS = 1000, 5000
"""At least so many rows, and where an answer a row is few, so many answers."""
SCREENED = 8
"""One row in so many decides on a set of edges that is far from sufficient."""
SAME = 1e-5
"""A writer gives the same in two runs if the difference, relative to its size, is below this: rounding."""


def classify_edges(case: Case, model: Transformer, circuit: Circuit, ablation: Ablation, seed: int = 0) -> EdgeClasses:
    """Classes of the true edges of a subject, on fresh inputs with independent sources."""
    answers_a_row = int(fresh_data(case, 1, seed).scored[0].sum())
    rows = max(ROWS, ANSWERS // answers_a_row)
    data = fresh_data(case, rows, seed).head(rows)
    scored = data.scored
    if case.partial:
        reference = case.reference()
        scored = scored & defined(reference, reference.outputs(data.clean))
    problem = make_problem(model, data.clean, data.source, case.output, scored, ablation, seed)
    return classify(problem, circuit, seed)


ON_CARD: tuple[Ablation, ...] = ("resample", "positions")
"""Ablations whose classes a card holds."""


def stated_on_card(
    case: Case,
    model: Transformer,
    circuit: Circuit,
    seed: int = 0,
    progress: Callable[[dict[str, Any]], None] = lambda facts: None,
) -> dict[str, Any]:
    """The entry `edge_classes` of a card. `progress` is called before each ablation."""
    stated = {}
    for step, ablation in enumerate(ON_CARD):
        progress({"doing": "classes of edges", "step": step, "steps": len(ON_CARD)})
        stated[ablation] = classify_edges(case, model, circuit, ablation, seed).to_json()
    return stated


def classify(problem: Problem, circuit: Circuit, seed: int = 0, orders: int = ORDERS) -> EdgeClasses:
    """Classes of the edges of a circuit, in orders drawn from the seed, on the data of a problem."""
    true = np.flatnonzero(circuit.mask())
    elimination = Elimination(problem, true)
    outside = torch.from_numpy(1 - circuit.mask()).to(problem.full)
    bare = problem.answers_kept(outside[None]).item()
    facts = (problem.ablation, seed, len(problem.clean), orders, bare)
    if bare < THRESHOLD:
        return EdgeClasses(*facts)
    kept = elimination.minimal(_orders(orders, len(true), seed))
    (together,) = elimination.answers_kept(np.atleast_2d(kept.any(0)))
    names = np.array(problem.graph.edges)[true]
    return EdgeClasses(
        *facts,
        kept=dict(zip(names.tolist(), kept.sum(0).tolist(), strict=True)),
        invisible=tuple(names[elimination.unchanged[problem.graph.edge_writer[true]]].tolist()),
        smallest=tuple(names[kept[kept.sum(-1).argmin()]].tolist()),
        together=float(together),
    )


def _orders(count: int, edges: int, seed: int) -> Int[np.ndarray, "order edge"]:
    rng = np.random.default_rng([seed, 20261128])
    return rng.permuted(np.tile(np.arange(edges), (count, 1)), axis=1)


@dataclass(frozen=True, eq=False)
class Elimination:
    """Backward elimination in a bare circuit: `true` are its edges; all other edges are always ablated."""

    problem: Problem
    true: Int[np.ndarray, " edge"]
    _known: dict[bytes, float] = field(default_factory=dict, init=False)

    @cached_property
    def unchanged(self) -> Bool[np.ndarray, " writer"]:
        """Writers whose output in the clean run is what cut edges carry."""
        outs = self.problem.model.writers(self.problem.clean)
        change, size = (x.abs().amax((-1, -2, -3)) for x in (self.problem.other - outs, outs))
        return (change <= SAME * size).cpu().numpy()

    @cached_property
    def _screen(self) -> Problem:
        rows = np.random.default_rng([self.problem.seed, 20261130]).permutation(len(self.problem.clean))
        some = torch.from_numpy(rows[: max(1, len(rows) // SCREENED)])  # the first may be alike: inputs in order
        return self.problem.take(some.to(self.problem.device))

    def minimal(self, orders: Int[np.ndarray, "order edge"]) -> Bool[np.ndarray, "order edge"]:
        """The edges that each order keeps; it is gone through until no edge that is left can be cut.

        Once may not be enough: an edge can become dispensable by the cut of a later one (two ways that disagree).
        """
        kept, before = np.ones(orders.shape, dtype=bool), np.zeros(orders.shape, dtype=bool)
        rows = np.arange(len(orders))
        while (kept != before).any():
            before = kept.copy()
            for tried in orders.T:
                without = kept.copy()
                without[rows, tried] = False
                stays = self.answers_kept(without) >= THRESHOLD
                kept[rows, tried] = ~stays
        return kept

    def answers_kept(self, kept: Bool[np.ndarray, "circuit edge"]) -> Float[np.ndarray, " circuit"]:
        """Share of answers that stay with these true edges and nothing else."""
        graph = self.problem.graph
        every = np.zeros((len(kept), graph.n_edges), dtype=bool)
        every[:, self.true] = kept & ~self.unchanged[graph.edge_writer[self.true]]
        every = self.problem.on_paths(every)
        keys = [np.packbits(each).tobytes() for each in every]
        new = {key: i for i, key in enumerate(keys) if key not in self._known}
        if new:
            self._known.update(zip(new, self._measured(every[[*new.values()]]).tolist(), strict=True))
        return np.array([self._known[key] for key in keys])

    def _measured(self, kept: Bool[np.ndarray, "circuit edge"]) -> Float[np.ndarray, " circuit"]:
        """As `answers_kept` for masks of all edges; on a sample of the rows where that is far from the threshold."""
        masks = torch.from_numpy(~kept).to(self.problem.full)
        shares = self._screen.answers_kept(masks)
        doubt = 4 * sqrt(THRESHOLD * (1 - THRESHOLD) / len(self._screen.clean))  # four standard errors
        close = shares >= THRESHOLD - doubt
        shares[close] = self.problem.answers_kept(masks[close])
        return shares.cpu().numpy()
