"""How a subject in training stands: what the certificate demands, on a thousand rows, at a fraction of its cost.

Three steps: the circuit alone, at every measurement; the whole subject, once the circuit stands; and each thing
replaced alone, once all of that is reached. A few rows decide on what is far from the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interpbench.cases.pairs import Data
from interpbench.cases.reference import Reference
from interpbench.certificate.interventions import agreement, where_defined
from interpbench.certificate.measure import (
    REMEASURED,
    answers_under_interchange,
    exclusivity,
    interchange,
    interchange_in_circuit,
    liveliness,
    masks_of,
    outside_under,
    single_edges,
    strictness,
    worst_single,
)
from interpbench.graph.circuit import Circuit
from interpbench.trainers.rows import ABLATIONS
from interpbench.trainers.settings import Config
from interpbench.transformer.model import Transformer

SCREENED = 4
"""One row in so many decides on what is far from the target."""

ALONE, ALONE_ROWS = 60_000, 100
"""Rows times edges on which edges are replaced one at a time at first, and the fewest rows."""


@dataclass(frozen=True)
class Alone:
    """How well the circuit does alone: accuracies against the reference's answers.

    `iia`: interchange accuracy of each variable with every outside edge replaced; `outside`: accuracy with all outside
    edges replaced, by name of ablation and granularity. `loud` is the relative deviation of every silent node.
    """

    iia: dict[str, float]
    outside: dict[str, float]
    loud: dict[str, float]

    @property
    def loudness(self) -> float | None:
        """Median of `loud`."""
        return float(np.median([*self.loud.values()])) if self.loud else None

    @property
    def bare(self) -> float:
        """How well the circuit does alone, with or without a variable of another input."""
        return min(self.outside["edges"], self.outside["positions"], float(np.mean([*self.iia.values()])))

    @property
    def short_under(self) -> list[float]:
        """What the accuracies with all outside edges replaced lack, the more of the two granularities, by ablation."""
        names = ("edges" if name == "source" else name for name in ABLATIONS)
        return [1 - min(self.outside[name], self.outside[f"{name}_heads"]) for name in names]

    def to_json(self) -> dict[str, Any]:
        """For a progress bar: single numbers, and those of each variable."""
        loudness = {} if self.loudness is None else {"loudness": self.loudness}
        return {"bare": min(self.iia.values()), **self.outside, **loudness, "iia": self.iia}


@dataclass(frozen=True)
class Standing:
    """How the whole subject does beside its circuit `alone`: accuracy, and interchange accuracy of each variable, with
    nothing else replaced; `exclusive` is as in a certificate.
    """

    alone: Alone
    accuracy: float
    iia: dict[str, float]
    exclusive: float | None

    def lowest(self, config: Config) -> float:
        """The lowest of the accuracies that these settings train for."""
        trained_for = [self.accuracy]
        if config.interchange:
            trained_for += self.iia.values()
        if config.strict:
            trained_for += [*self.alone.iia.values(), *self.alone.outside.values()]
            trained_for += [] if self.exclusive is None else [self.exclusive]
        return min(trained_for)

    def to_json(self) -> dict[str, Any]:
        """For a progress bar: single numbers, and those of each variable."""
        own = {"accuracy": self.accuracy, "iia_min": min(self.iia.values())}
        return {**own, **self.alone.to_json(), "iia": self.iia}


@dataclass(frozen=True, eq=False)
class Check:
    """The rows that a training run is measured on, and the reference's answers, which do not change."""

    data: Data
    reference: Reference
    circuit: Circuit
    seed: int

    @cached_property
    def screen(self) -> Check:
        """The same on one row in `SCREENED`."""
        return replace(self, data=self.data.head(max(1, len(self.data.clean) // SCREENED)))

    def doubt(self, share: float) -> float:
        """Four standard errors of a share of the scored positions."""
        return 4 * sqrt(share * (1 - share) / int(self.data.scored.sum()))

    @cached_property
    def masks(self) -> Any:
        """What can be replaced."""
        return masks_of(self.reference, self.circuit)

    @property
    def rows_alone(self) -> int:
        """Rows on which edges are replaced one at a time at first: the fewer, the more edges there are."""
        return max(ALONE_ROWS, ALONE // self.circuit.graph.n_edges)

    @cached_property
    def answer(self) -> Tensor:
        """The reference's logits."""
        return self.reference.outputs(self.data.clean)

    @cached_property
    def sources(self) -> dict[str, Data]:
        """The rows, scored where the reference answers, with the positions of the sources as they are and permuted."""
        own = where_defined(self.reference, self.data, self.answer)
        return {"source": own, "positions": own.with_permuted_places(self.seed)}

    @cached_property
    def under_interchange(self) -> Sequence[Tensor]:
        """The reference's logits under interchange of each variable."""
        return answers_under_interchange(self.reference, self.data)

    def alone(self, model: Transformer) -> Alone:
        """Measure the circuit with everything outside it replaced, with or without a variable."""
        masks, own = self.masks, self.sources["source"]
        outside = {}
        both = torch.stack([masks.outside_edges, masks.outside_heads])
        for source, data in self.sources.items():
            edges, heads = agreement(model, data, both, self.answer).tolist()
            key = "edges" if source == "source" else source
            outside |= {key: edges, f"{key}_heads": heads}
        for ablation in ("mean", "zero"):
            without = outside_under(model, own, self.answer, masks, ablation)
            outside |= {ablation: without.edges, f"{ablation}_heads": without.edges_heads}
        iia = interchange_in_circuit(model, self.data, self.reference, masks, self.under_interchange)
        return Alone(iia, outside, liveliness(model, self.data, self.circuit).relative_deviation)

    def whole(self, model: Transformer, alone: Alone) -> Standing:
        """Measure the subject with nothing, a variable, or the circuit replaced."""
        found = interchange(model, self.data, self.reference, self.answer, self.under_interchange)
        exclusive = exclusivity(model, self.data, self.reference, self.masks)
        return Standing(alone, found.accuracy, found.iia, exclusive)

    def standing(self, model: Transformer, alone: Alone, config: Config) -> Standing:
        """How the whole subject does on the screen, which measured `alone`; on all rows if that is near the target."""
        found = self.screen.whole(model, alone)
        is_far = found.lowest(config) < config.margin - self.screen.doubt(config.margin)
        return found if is_far else self.whole(model, self.alone(model))

    def one_at_a_time(self, model: Transformer) -> tuple[float, Tensor]:
        """The lowest accuracy with a single silent node or outside edge replaced, positions as they are or permuted;
        and what the accuracy lacks with each edge replaced, `[edge]`, 0 in the circuit.

        As in a certificate, nodes are measured on all rows, edges on some, and the worst few of these again on all: the
        lowest of hundreds on few rows is low by chance.
        """
        merged, rows = single_edges(self.circuit)["heads"], self.rows_alone
        kept, lowest = torch.ones(self.circuit.graph.n_edges), 1.0
        which = self.masks.outside_edges.nonzero().flatten()
        edges = torch.eye(len(kept))[which]
        for data in self.sources.values():
            some = data.head(rows)
            found = agreement(model, some, edges, self.answer[:rows])
            again = found.argsort()[:REMEASURED]
            found[again] = agreement(model, data, edges[again], self.answer)
            kept[which] = torch.minimum(kept[which], found)
            heads = worst_single(model, data, self.answer, merged).accuracy
            nodes = strictness(model, data, self.answer, self.masks).strict_min
            lowest = min([lowest, heads, nodes, *found[again].tolist()])
        return lowest, 1 - kept
