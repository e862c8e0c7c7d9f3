"""What a transformer answers when nodes or edges carry other values.

Accuracies are shares of scored positions; answers are equal if the class is, or, for numbers, within `ATOL`. What is
replaced takes its value on an independent input (`source`, of the same row), unless other values are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from interpbench.cases.pairs import Data
from interpbench.cases.reference import Reference, defined, same_answers
from interpbench.transformer.model import Transformer
from interpbench.transformer.stream import Activations

_BATCH = 1 << 21
"""Numbers that the inputs of one layer's readers may hold at once: what stays in a processor's cache."""


def where_defined(reference: Reference, data: Data, target: Tensor) -> Data:
    """The data with only those positions scored where `target`, an output of the reference, is an answer."""
    return replace(data, scored=data.scored & defined(reference, target))


def where_answers_differ(reference: Reference, data: Data) -> Data:
    """The data with only those positions scored where the reference's answers to clean input and source differ."""
    answer, source_answer = reference.outputs(data.clean), reference.outputs(data.source)
    data = where_defined(reference, where_defined(reference, data, answer), source_answer)
    return replace(data, scored=data.scored & ~same_answers(answer, source_answer))


def _rows_at_once(model: Transformer, data: Data) -> int:
    config = model.config
    return max(64, _BATCH // (3 * config.n_heads * config.d_model * data.clean.shape[1]))


def _values(model: Transformer, data: Data, rows: Tensor) -> Activations:
    """What every writer writes on the sources of some rows."""
    return model.writers(data.source[rows], None if data.places is None else data.places[rows])


@torch.no_grad()
def agreement(
    model: Transformer,
    data: Data,
    masks: Float[Tensor, "circuit edge"],
    target: Float[Tensor, "row position class"],
    other: Activations | None = None,
) -> Float[Tensor, " circuit"]:
    """Share of scored positions on which the subject under each mask answers as `target`.

    A cut edge carries `other` (one row, for all), or what its writer writes on the source.
    """
    hits = torch.zeros(len(masks))
    at_once = _rows_at_once(model, data)
    for rows in torch.arange(len(data.clean)).split(at_once):
        values = _values(model, data, rows) if other is None else other
        scored = data.scored[rows]
        for circuits in torch.arange(len(masks)).split(max(1, at_once // len(rows))):
            right = same_answers(model(data.clean[rows], masks[circuits], values), target[rows])
            hits[circuits] += (right & scored).sum((-1, -2))
    return hits / data.scored.sum()


@torch.no_grad()
def with_nodes_replaced(
    model: Transformer,
    data: Data,
    asked: Sequence[tuple[Iterable[str], Float[Tensor, "row position class"]]],
    other: Activations | None = None,
    compare: Callable[[Tensor, Tensor], Tensor] = same_answers,
) -> Shaped[Tensor, "asked row position"]:
    """How the subject's answer compares with a target (is it right?), with the outputs of some nodes replaced.

    They are replaced for every reader by `other` (one row, for all), or by what they are on the source. An
    intervention on nodes is a plain run, cheaper than a mask; the sources are run once for all that is asked.
    """
    writers = model.graph.writers
    compared: list[list[Tensor]] = [[] for _ in asked]
    for rows in torch.arange(len(data.clean)).split(_rows_at_once(model, data)):
        values = _values(model, data, rows) if other is None else other
        for i, (nodes, target) in enumerate(asked):
            replaced = torch.zeros(len(writers), len(rows), dtype=torch.bool)
            replaced[[writers.index(node) for node in nodes]] = True
            compared[i].append(compare(model(data.clean[rows], other=values, replaced=replaced), target[rows]))
    return torch.stack([torch.cat(parts) for parts in compared])
