"""How a subject in training stands: what the certificate demands, on a thousand rows, at a fraction of its cost.

Two steps: what is replaced all at once, at every measurement, and each thing alone, once all of that is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interpbench.cases.pairs import Data
from interpbench.cases.reference import Reference
from interpbench.certificate.interventions import agreement, where_defined
from interpbench.certificate.measure import (
    answers_under_interchange,
    exclusivity,
    interchange,
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

ALONE, ALONE_ROWS = 60_000, 100
"""Rows times edges on which things are replaced one at a time, and the fewest rows."""


@dataclass(frozen=True)
class Standing:
    """Accuracies against the reference's answers.

    `iia`: interchange accuracy of each variable; `iia_bare`: the same with every outside edge replaced; `outside`: with
    all outside edges replaced, by name of ablation and granularity. `exclusive` is as in a certificate, and `loud` its
    relative deviation of every silent node.
    """

    accuracy: float
    iia: dict[str, float]
    iia_bare: dict[str, float]
    outside: dict[str, float]
    exclusive: float | None
    loud: dict[str, float]

    @property
    def loudness(self) -> float | None:
        """Median of `loud`."""
        return float(np.median([*self.loud.values()])) if self.loud else None

    @property
    def bare(self) -> float:
        """How well the circuit does alone, with or without a variable of another input."""
        return min(self.outside["edges"], self.outside["positions"], float(np.mean([*self.iia_bare.values()])))

    @property
    def short_under(self) -> list[float]:
        """What the accuracies with all outside edges replaced lack, the more of the two granularities, by ablation."""
        names = ("edges" if name == "source" else name for name in ABLATIONS)
        return [1 - min(self.outside[name], self.outside[f"{name}_heads"]) for name in names]

    def lowest(self, config: Config) -> float:
        """The lowest of the accuracies that these settings train for."""
        trained_for = [self.accuracy]
        if config.interchange:
            trained_for += self.iia.values()
        if config.strict:
            trained_for += [*self.iia_bare.values(), *self.outside.values()]
            trained_for += [] if self.exclusive is None else [self.exclusive]
        return min(trained_for)

    def to_json(self) -> dict[str, Any]:
        """For a progress bar: single numbers, and those of each variable."""
        lowest = {"iia_min": min(self.iia.values()), "bare": min(self.iia_bare.values())}
        loudness = {} if self.loudness is None else {"loudness": self.loudness}
        return {"accuracy": self.accuracy, **lowest, **self.outside, **loudness, "iia": self.iia}


@dataclass(frozen=True, eq=False)
class Check:
    """The rows that a training run is measured on, and the reference's answers, which do not change."""

    data: Data
    reference: Reference
    circuit: Circuit
    seed: int

    @cached_property
    def masks(self) -> Any:
        """What can be replaced."""
        return masks_of(self.reference, self.circuit)

    @property
    def rows_alone(self) -> int:
        """Rows on which things are replaced one at a time: the fewer, the more edges there are."""
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

    def all_at_once(self, model: Transformer) -> Standing:
        """Measure with everything outside the circuit, or a variable, replaced."""
        masks, own = self.masks, self.sources["source"]
        found = interchange(model, self.data, self.reference, masks, self.answer, self.under_interchange)
        outside = {}
        both = torch.stack([masks.outside_edges, masks.outside_heads])
        for source, data in self.sources.items():
            edges, heads = agreement(model, data, both, self.answer).tolist()
            key = "edges" if source == "source" else source
            outside |= {key: edges, f"{key}_heads": heads}
        for ablation in ("mean", "zero"):
            without = outside_under(model, own, self.answer, masks, ablation)
            outside |= {ablation: without.edges, f"{ablation}_heads": without.edges_heads}
        return Standing(
            accuracy=found.accuracy,
            iia=found.iia,
            iia_bare=found.iia_circuit_only,
            outside=outside,
            exclusive=exclusivity(model, self.data, self.reference, masks),
            loud=liveliness(model, self.data, self.circuit).relative_deviation,
        )

    def one_at_a_time(self, model: Transformer) -> tuple[float, Tensor]:
        """The lowest accuracy with a single silent node or outside edge replaced, positions as they are or permuted;
        and what the accuracy lacks with each edge replaced, `[edge]`, 0 in the circuit.
        """
        merged, rows = single_edges(self.circuit)["heads"], self.rows_alone
        answer = self.answer[:rows]
        kept, lowest = torch.ones(self.circuit.graph.n_edges), 1.0
        which = self.masks.outside_edges.nonzero().flatten()
        edges = torch.eye(len(kept))[which]
        for data in self.sources.values():
            some = data.head(rows)
            kept[which] = torch.minimum(kept[which], agreement(model, some, edges, answer))
            heads = worst_single(model, some, answer, merged).accuracy
            lowest = min(lowest, heads, strictness(model, some, answer, self.masks).strict_min)
        return min(lowest, kept.min().item()), 1 - kept
