"""What a transformer answers when nodes or edges carry other values.

Accuracies are shares of scored positions; answers are equal if the class is, or, for numbers, within `ATOL`. What is
replaced takes its value on an independent input (`source`, of the same row), unless other values are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int, Shaped
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
    same = same_under(model, data, masks, target[None], other)
    return (same & data.scored).sum((-1, -2)) / data.scored.sum()


@torch.no_grad()
def same_under(
    model: Transformer,
    data: Data,
    masks: Float[Tensor, "circuit edge"],
    targets: Float[Tensor, "#circuit row position class"],
    other: Activations | None = None,
) -> Bool[Tensor, "circuit row position"]:
    """Whether the subject under each mask answers as the mask's target. `other`: see `agreement`."""
    same = torch.zeros(len(masks), *data.clean.shape, dtype=torch.bool)
    targets = targets.expand(len(masks), *targets.shape[1:])
    at_once, layers = _rows_at_once(model, data), _first_layers(model, masks)
    for rows in torch.arange(len(data.clean)).split(at_once):
        clean, chunk = data.clean[rows], slice(int(rows[0]), int(rows[-1]) + 1)
        values = _values(model, data, rows) if other is None else other
        plain = model.run(clean)[1] if len(masks) > 1 else []
        for layer in layers.unique().tolist():
            known = plain[: model.graph.writers_before_attention(layer)]
            for circuits in (layers == layer).nonzero().flatten().split(max(1, at_once // len(rows))):
                logits, _ = model.run(clean, masks[circuits], values, known=known)
                same[circuits, chunk] = same_answers(logits, targets[circuits, chunk])
    return same


def _first_layers(model: Transformer, masks: Float[Tensor, "circuit edge"]) -> Int[Tensor, " circuit"]:
    """The layer of the first reader from which each circuit cuts anything; what is before it is as in a plain run."""
    graph = model.graph
    into = torch.from_numpy(graph.edge_reader // graph.readers_per_layer)
    return torch.where(masks != 0, into, graph.n_layers).amin(-1)


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
    marked = torch.zeros(len(asked), len(writers), dtype=torch.bool)
    for mark, (nodes, _) in zip(marked, asked, strict=True):
        mark[[writers.index(node) for node in nodes]] = True
    shared = [_shared_writers(model, each) for each in marked]
    compared: list[list[Tensor]] = [[] for _ in asked]
    for rows in torch.arange(len(data.clean)).split(_rows_at_once(model, data)):
        clean = data.clean[rows]
        values = _values(model, data, rows) if other is None else other
        plain = model.run(clean)[1]
        for (_, target), mark, count, parts in zip(asked, marked, shared, compared, strict=True):
            replaced = mark[:, None].expand(-1, len(rows))
            logits, _ = model.run(clean, other=values, replaced=replaced, known=plain[:count])
            parts.append(compare(logits, target[rows]))
    return torch.stack([torch.cat(parts) for parts in compared])


def _shared_writers(model: Transformer, replaced: Bool[Tensor, " writer"]) -> int:
    """How many writers come before the heads, or the MLP, that the first replaced one is among."""
    if not replaced.any():
        return len(replaced)
    graph, first = model.graph, int(replaced.int().argmax())
    layers = range(graph.n_layers)
    starts = [*map(graph.writers_before_attention, layers), *map(graph.writers_before_mlp, layers)]
    return max(start for start in [0, *starts] if start <= first)
