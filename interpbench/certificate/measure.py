"""The numbers of a certificate that training looks at too: accuracy, interchange accuracy, strictness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interpbench.cases.case import Case
from interpbench.cases.pairs import Data, scored_positions
from interpbench.cases.reference import Reference
from interpbench.certificate.interventions import (
    agreement,
    correct,
    where_defined,
    with_nodes_replaced,
)
from interpbench.graph.circuit import Circuit
from interpbench.transformer.model import Transformer

THRESHOLD = 0.99
"""What every accuracy of a certified subject reaches."""


ROWS = 20_000


SCREEN_BUDGET = 60_000


REMEASURED, REMEASURE_ROWS = 5, 5_000


def fresh_data(case: Case, rows: int, seed: int) -> Data:
    """Every input if there are at most `rows`, repeated up to `rows` pairs, else random ones; sources independent."""
    rng = np.random.default_rng([seed, 20240714])
    every = case.all_inputs(rows)
    clean = case.inputs(rows, rng) if every is None else np.tile(every, (-(-rows // len(every)), 1))
    source = case.inputs(len(clean), rng)
    scored = torch.tensor(scored_positions(case, clean))
    return Data(torch.tensor(clean), torch.tensor(source), scored, exhaustive=every is not None)


@dataclass(frozen=True)
class Masks:
    """What can be replaced in a subject, as masks `[edge]`: variables and silent nodes (all edges that leave them),
    and all edges outside the true circuit at two granularities.
    """

    variables: Mapping[str, Tensor]
    silent: Mapping[str, Tensor]
    outside_heads: Tensor
    outside_edges: Tensor


def masks_of(reference: Reference, circuit: Circuit) -> Masks:
    """Masks for a subject's true circuit and the reference's variables."""
    graph = circuit.graph

    def columns(nodes: Iterable[str]) -> Tensor:
        mask = torch.zeros(graph.n_edges)
        for node in nodes:
            mask[graph.edges_from(node)] = 1
        return mask

    return Masks(
        variables={name: columns(nodes) for name, nodes in reference.variables.items()},
        silent={node: columns([node]) for node in graph.nodes if node not in circuit.nodes},
        outside_heads=torch.tensor(1 - circuit.heads().mask()),
        outside_edges=torch.tensor(1 - circuit.mask()),
    )


def measure(model: Transformer, data: Data, reference: Reference, masks: Masks) -> dict[str, Any]:
    """What early stopping looks at: accuracy, IIA, strictness on nodes and on all outside edges at once."""
    answer = reference.outputs(data.clean)
    under = answers_under_interchange(reference, data)
    asked = [([], answer), (masks.silent, answer), *(([node], answer) for node in masks.silent)]
    asked += zip(reference.variables.values(), under, strict=True)
    right = with_nodes_replaced(model, data, asked)

    def share(i: int, where: Tensor) -> float:
        return float((right[i] & where).sum() / where.sum())

    on = where_defined(reference, data, answer)
    under_on = [where_defined(reference, data, target) for target in under]
    first = len(asked) - len(under)
    shares = [share(i, on.scored) for i in range(first)]
    shares += [share(first + i, each.scored) for i, each in enumerate(under_on)]
    changed = [each.scored & ~correct(target, answer) for each, target in zip(under_on, under, strict=True)]
    iia = dict(zip(reference.variables, shares[first:], strict=True))
    bare = [torch.maximum(mask, masks.outside_edges)[None] for mask in masks.variables.values()]
    alone = [agreement(model, *each).item() for each in zip(under_on, bare, under, strict=True)]
    outside = torch.stack([masks.outside_heads, masks.outside_edges])
    edges_heads, edges = agreement(model, on, outside, answer).tolist()
    strict = dict(zip(masks.silent, shares[2:first], strict=True))
    return {
        "accuracy": shares[0],
        "iia": iia,
        "iia_min": min(iia.values()),
        "iia_changed": {n: share(first + i, changed[i]) if changed[i].any() else None for i, n in enumerate(iia)},
        "iia_circuit_only": dict(zip(iia, alone, strict=True)),
        "strict": strict,
        "strict_min": min(strict.values(), default=1.0),
        "strict_all": shares[1],
        "edges_heads": edges_heads,
        "edges": edges,
    }


def answers_under_interchange(reference: Reference, data: Data) -> Sequence[Tensor]:
    """What the reference answers with each of its variables taken from the source, `[row, position, class]` each.

    The variables of a row come one after the other, so that its source is run once for all of them.
    """
    rows, variables = len(data.clean), len(reference.variables)
    clean, source = (tokens.repeat_interleave(variables, 0) for tokens in (data.clean, data.source))
    told = reference.outputs(clean, source, torch.arange(variables).repeat(rows))
    return told.unflatten(0, (rows, variables)).unbind(1)


def worst_single(
    model: Transformer, data: Data, answer: Tensor, masks: Mapping[str, Tensor]
) -> dict[str, float | str | int | None]:
    """The lowest accuracy when one outside edge alone is replaced.

    All edges are screened on some rows; the worst few are measured again on more, and the lowest of those is given.
    """
    if not masks:
        return {"edge": None, "accuracy": 1.0, "edges": 0, "rows_screened": 0, "rows": 0}
    names, stacked = list(masks), torch.stack(list(masks.values()))
    screen = min(len(data.clean), max(200, SCREEN_BUDGET // len(names)))
    rough = agreement(model, data.head(screen), stacked, answer[:screen])
    again = rough.argsort()[:REMEASURED]
    rows = min(len(data.clean), REMEASURE_ROWS)
    shares = agreement(model, data.head(rows), stacked[again], answer[:rows])
    lowest = int(shares.argmin())
    return {
        "edge": names[int(again[lowest])],
        "accuracy": float(shares[lowest]),
        "edges": len(names),
        "rows_screened": screen,
        "rows": rows,
    }


def single_edges(circuit: Circuit) -> dict[str, dict[str, Tensor]]:
    """Masks that cut one edge outside the true circuit, at `heads` (q, k, v together) and at `edges` granularity."""
    graph = circuit.graph
    inside = circuit.mask() > 0
    alone = torch.eye(graph.n_edges)
    fine = {graph.edges[i]: alone[i] for i in np.flatnonzero(~inside)}
    coarse = {}
    for name in graph.universe("heads"):
        if name not in circuit.heads().edges:
            coarse[name] = torch.tensor(Circuit(graph, frozenset([name]), "heads").mask())
    return {"heads": coarse, "edges": fine}
