"""Filters before training, on the causal model alone: what would make a subject say nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from interpbench.cases.flow import NONE, PLACE, Compute, Flow, Look, reads
from interpbench.cases.flow_reference import Values, evaluate, is_ambiguous, value_of, votes

ROWS = 1000
CONSTANT, EFFECT = 0.8, 0.01
"""Largest share of one answer, and the least share of answers that replacing something must change."""


def rejected(flow: Flow) -> str | None:
    """Why a model is not worth a subject, or None: the first reason that holds, measured on `ROWS` pairs of inputs."""
    rng = np.random.default_rng(20261127)
    clean, source = (_inputs(flow, rng) for _ in range(2))
    values, other = evaluate(flow, clean), evaluate(flow, source)
    answer = _answers(flow, values)
    if np.all([values[node][:, 1:] == NONE for node in flow.votes], axis=0).any():
        return "inputs without an answer"
    _, counts = np.unique(answer, return_counts=True)
    if counts.max() > CONSTANT * answer.size:
        return "one answer nearly always"
    if any(is_ambiguous(each, _inputs_of(each, values)) for each in flow.variables.values()):
        return "a head that finds several keys"
    without = [node for i, node in enumerate(flow.variables) if _effect(flow, clean, answer, other, [i]) < EFFECT]
    together = [i for i, node in enumerate(flow.variables) if node in without]
    if without and _effect(flow, clean, answer, other, together) < EFFECT:
        return "variables that change nothing, even together"
    moved = rng.permuted(np.tile(np.arange(1, flow.length + 1), (ROWS, 1)), axis=1)
    other[PLACE] = np.concatenate([np.zeros_like(moved[:, :1]), moved], 1)
    for node, name, effect in _effects_of_reads(flow, clean, values, other):
        if effect < EFFECT and node not in without and name not in without:
            return "an edge that changes nothing"
    return None


def _answers(flow: Flow, values: Mapping[str, Values]) -> np.ndarray:
    """Answers `[row, position]` without BOS's: classes, or numbers."""
    counted = votes(flow, values)[:, 1:]
    return counted.argmax(-1) if flow.numbers is None else counted[..., 0]


def _inputs(flow: Flow, rng: np.random.Generator) -> Values:
    tokens = flow.draw(rng, ROWS, flow.vocab, flow.length)
    return np.concatenate([np.full((ROWS, 1), NONE), tokens], 1)


def _effect(flow: Flow, clean: Values, answer: np.ndarray, other: Mapping[str, Values], which: Sequence[int]) -> float:
    """Share of the answers that change where these variables take another input's value."""
    replaced = np.isin(np.arange(len(flow.variables)), which)[:, None] & np.ones((1, len(clean)), dtype=bool)
    return float((_answers(flow, evaluate(flow, clean, other, replaced)) != answer).mean())


def _effects_of_reads(
    flow: Flow, clean: Values, values: Mapping[str, Values], other: Mapping[str, Values]
) -> Iterator[tuple[str, str, float]]:
    """For everything that a variable reads: the variable, what it reads, and the share of answers that change where
    that alone comes from the other input.
    """
    answer = _answers(flow, values)
    for i, (node, variable) in enumerate(flow.variables.items()):
        inputs = _inputs_of(variable, values)
        for slot, (name, _) in enumerate(reads(variable)):
            found = value_of(variable, [*inputs[:slot], other[name], *inputs[slot + 1 :]])
            yield node, name, _effect(flow, clean, answer, {**values, node: found}, [i])


def _inputs_of(variable: Look | Compute, values: Mapping[str, Values]) -> list[Values]:
    return [values[name] for name, _ in reads(variable)]
