"""The measurements that certificates and training share: accuracy, interchange accuracy, strictness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interpbench.cases.pairs import Data
from interpbench.cases.reference import Reference, same_answers
from interpbench.certificate.certificate import AllEdges, Liveliness, Measurement, Strictness, WorstEdge
from interpbench.certificate.interventions import (
    agreement,
    same_under,
    where_answers_differ,
    where_defined,
    with_nodes_replaced,
)
from interpbench.graph.circuit import Circuit
from interpbench.problem.ablation import ablated
from interpbench.transformer.deviation import output_deviation
from interpbench.transformer.model import Transformer

EXHAUSTIVE, ROWS = 20_000, 5_000
"""A certificate is over all inputs if there are at most so many, else over so many random ones."""

SCREEN_BUDGET, SCREEN_ROWS = 20_000, 100
"""Rows times edges of the screening of single edges, and the fewest rows."""

REMEASURED, REMEASURE_ROWS = 3, 2_000
"""Edges that are measured again after screening, and on how many rows."""


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


def measure(model: Transformer, data: Data, reference: Reference, masks: Masks) -> Measurement:
    """Accuracy, interchange accuracy, and strictness on nodes and on all outside edges at once."""
    answer = reference.outputs(data.clean)
    on_answer = where_defined(reference, data, answer)
    targets = answers_under_interchange(reference, data)
    found = interchange(model, data, reference, answer, targets)
    bare = interchange_in_circuit(model, data, reference, masks, targets)
    return Measurement(**vars(strictness(model, on_answer, answer, masks)), **vars(found), iia_circuit_only=bare)


@dataclass(frozen=True)
class Interchange:
    """Accuracy, and interchange accuracy of each variable: on all rows, and on those whose answer it changes (None if
    there are none).
    """

    accuracy: float
    iia: dict[str, float]
    iia_changed: dict[str, float | None]


def interchange(
    model: Transformer, data: Data, reference: Reference, answer: Tensor, targets: Sequence[Tensor]
) -> Interchange:
    """Interchange every variable. `answer` and `targets` are the reference's logits, plain and under each interchange
    (`answers_under_interchange`).
    """
    on_answer = where_defined(reference, data, answer)
    interchanged = [((), answer), *zip(reference.variables.values(), targets, strict=True)]
    plain, *right = with_nodes_replaced(model, data, interchanged)
    iia: dict[str, float] = {}
    iia_changed: dict[str, float | None] = {}
    for name, right_under, target in zip(reference.variables, right, targets, strict=True):
        on_target = where_defined(reference, data, target)
        changed = on_target.scored & ~same_answers(target, answer)
        iia[name] = _share(right_under, on_target.scored)
        iia_changed[name] = _share(right_under, changed) if changed.any() else None
    return Interchange(_share(plain, on_answer.scored), iia, iia_changed)


def interchange_in_circuit(
    model: Transformer, data: Data, reference: Reference, masks: Masks, targets: Sequence[Tensor]
) -> dict[str, float]:
    """Interchange accuracy of each variable with every outside edge replaced too. `targets`: see `interchange`."""
    bare = torch.stack([torch.maximum(masks.variables[name], masks.outside_edges) for name in reference.variables])
    right = same_under(model, data, bare, torch.stack([*targets]))
    return {
        name: _share(right_under, where_defined(reference, data, target).scored)
        for name, right_under, target in zip(reference.variables, right, targets, strict=True)
    }


def strictness(model: Transformer, data: Data, answer: Tensor, masks: Masks) -> Strictness:
    """Accuracies with silent nodes, or all outside edges at once, replaced; `data` are scored where answers are."""
    nodes = [tuple(masks.silent), *((node,) for node in masks.silent)]
    right = with_nodes_replaced(model, data, [(each, answer) for each in nodes])
    strict_all, *strict = (_share(each, data.scored) for each in right)
    outside = torch.stack([masks.outside_heads, masks.outside_edges])
    edges_heads, edges = agreement(model, data, outside, answer).tolist()
    return Strictness(dict(zip(masks.silent, strict, strict=True)), strict_all, edges_heads, edges)


def _share(right: Tensor, where: Tensor) -> float:
    return float((right & where).sum() / where.sum())


def answers_under_interchange(reference: Reference, data: Data) -> Sequence[Tensor]:
    """The reference's logits under interchange of each variable, `[row, position, class]` each.

    Rows are ordered by source, so that the reference runs each source once for all variables.
    """
    rows, variables = len(data.clean), len(reference.variables)
    clean, source = (tokens.repeat_interleave(variables, 0) for tokens in (data.clean, data.source))
    logits = reference.outputs(clean, source, torch.arange(variables).repeat(rows))
    return logits.unflatten(0, (rows, variables)).unbind(1)


def worst_single(model: Transformer, data: Data, answer: Tensor, masks: Mapping[str, Tensor]) -> WorstEdge:
    """The lowest accuracy when one outside edge alone is replaced.

    All edges are screened on a sample of rows; the worst few are measured again on more rows.
    """
    if not masks:
        return WorstEdge(None, 1.0, edges=0, rows_screened=0, rows=0)
    names, stacked = list(masks), torch.stack(list(masks.values()))
    screen = min(len(data.clean), max(SCREEN_ROWS, SCREEN_BUDGET // len(names)))
    rough = agreement(model, data.head(screen), stacked, answer[:screen])
    again = rough.argsort()[:REMEASURED]
    rows = min(len(data.clean), REMEASURE_ROWS)
    shares = agreement(model, data.head(rows), stacked[again], answer[:rows])
    lowest = int(shares.argmin())
    return WorstEdge(names[int(again[lowest])], float(shares[lowest]), len(names), screen, rows)


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


@torch.no_grad()
def outside_under(model: Transformer, data: Data, answer: Tensor, masks: Masks, ablation: str) -> AllEdges:
    """Accuracies with all outside edges carrying their mean over the sources, or zero."""
    other = ablated(model, data.source, ablation)
    outside = torch.stack([masks.outside_heads, masks.outside_edges])
    return AllEdges(*agreement(model, data, outside, answer, other).tolist())


@torch.no_grad()
def exclusivity(model: Transformer, data: Data, reference: Reference, masks: Masks) -> float | None:
    """Share of positions with different answers at which replacing the circuit's edges alone gives the source's answer.

    None if no answers differ.
    """
    differ = where_answers_differ(reference, data)
    if not differ.scored.any():
        return None
    circuit = 1 - masks.outside_edges
    return agreement(model, differ, circuit[None], reference.outputs(data.source)).item()


@torch.no_grad()
def liveliness(model: Transformer, data: Data, circuit: Circuit) -> Liveliness:
    """How much silent nodes vary over inputs (`output_deviation`), relative to the median node of the circuit."""
    deviation = output_deviation(model, data.head(2000).clean)[2:]
    of_node = dict(zip(model.graph.nodes, deviation.tolist(), strict=True))
    median = float(np.median([of_node[node] for node in circuit.nodes]))
    relative = {node: of_node[node] / median for node in model.graph.nodes if node not in circuit.nodes}
    alive = float(np.mean([value > 0.01 for value in relative.values()])) if relative else None
    return Liveliness(relative, alive)
