"""Measure the certificate of a subject: whether its stated circuit is the one it uses, on nodes and on edges.

Most numbers are accuracies under an intervention (see `interventions.py`), against the reference's answers. Replaced
nodes and edges take their values from a run on an independent input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interpbench.cases.case import Case
from interpbench.cases.pairs import Data, fresh_data, scored_positions
from interpbench.cases.reference import ATOL, Reference, same_answers
from interpbench.cases.tokens import BOS
from interpbench.certificate.certificate import Certificate, Positions, Robustness, WorstEdge
from interpbench.certificate.interventions import (
    agreement,
    where_answers_differ,
    where_defined,
)
from interpbench.certificate.measure import (
    EXHAUSTIVE,
    REMEASURE_ROWS,
    ROWS,
    Masks,
    exclusivity,
    liveliness,
    masks_of,
    measure,
    outside_under,
    single_edges,
    strictness,
    worst_single,
)
from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.ranking import auroc
from interpbench.transformer.deviation import output_deviation
from interpbench.transformer.model import Transformer


@torch.no_grad()
def necessity(model: Transformer, data: Data, reference: Reference, circuit: Circuit) -> dict[str, float | None]:
    """For every true edge, the share of positions at which ablating it alone changes the subject's answer.

    Only positions where x and x' have different answers count; None if there are none.
    """
    data = where_answers_differ(reference, data)
    edges = circuit.to_json()["edges"]
    if not data.scored.any():
        return dict.fromkeys(edges)
    masks = torch.stack([torch.tensor(circuit.graph.mask([edge])) for edge in edges])
    kept = agreement(model, data, masks, model(data.clean))
    return {edge: 1 - share for edge, share in zip(edges, kept.tolist(), strict=True)}


@torch.no_grad()
def shorter_inputs(
    case: Case, model: Transformer, reference: Reference, seed: int, rows: int = 1000
) -> dict[str, float]:
    """Accuracy on random inputs of every length below the full one, by length.

    Not part of the decision: training uses full-length inputs only.
    """
    rng = np.random.default_rng([seed, 20240715])
    ids = np.array([case.tokens.index(token) for token in case.vocab])
    shares = {}
    for length in range(case.min_length, case.max_length):
        drawn = ids[rng.integers(len(ids), size=(rows, length))]
        clean = np.concatenate([np.full((rows, 1), case.tokens.index(BOS)), drawn], 1)
        data = Data(torch.tensor(clean), torch.tensor(clean), torch.tensor(scored_positions(case, clean)))
        answer = reference.outputs(data.clean)
        scored = where_defined(reference, data, answer).scored
        if scored.any():
            shares[str(length)] = float((same_answers(model(data.clean), answer) & scored).sum() / scored.sum())
    return shares


def program_agreement(case: Case, reference: Reference, data: Data, rows: int = 500) -> float:
    """Share of scored positions at which the reference's answer is the program's, on the first `rows` rows."""
    some = data.head(rows)
    outputs = reference.outputs(some.clean)
    hits = total = 0
    for tokens, out in zip(case.decode(some.clean.numpy()), outputs, strict=True):
        for value, logits in zip(case.program(tokens), out[1:], strict=True):
            if value is not None:
                total += 1
                answer = reference.classes[int(logits.argmax())] if reference.classes else float(logits)
                hits += answer == value if reference.classes else abs(answer - value) < ATOL
    return hits / total


@torch.no_grad()
def robustness(model: Transformer, data: Data, answer: Tensor, masks: Masks, seed: int) -> Robustness:
    """Accuracies with all outside edges replaced by values of rows of their own, and by twice their own output."""
    rng, rows = np.random.default_rng([seed, 20261129]), len(data.clean)
    values = model.writers(data.source)
    apart = torch.stack([value[..., torch.from_numpy(rng.permutation(rows))] for value in values])
    twice = 2 * model.writers(data.clean)
    shares = []
    for other in (apart, twice):
        right = same_answers(model(data.clean, masks.outside_edges, other), answer) & data.scored
        shares.append(float(right.sum() / data.scored.sum()))
    return Robustness(*shares)


def norm_auroc(model: Transformer, data: Data, circuit: Circuit) -> float | None:
    """AUROC at `heads` of the smaller deviation of an edge's two nodes: what activations alone say of the circuit."""
    deviation = output_deviation(model, data.head(2000).clean)
    scores = EdgeScores.of_nodes(model.graph, deviation.double().numpy())
    return auroc(model.graph.merge(scores.values, "heads"), circuit.members("heads"))


def certify(
    case: Case,
    model: Transformer,
    circuit: Circuit,
    seed: int = 0,
    rows: int = ROWS,
    progress: Callable[[dict[str, Any]], None] = lambda facts: None,
) -> Certificate:
    """Measure the certificate of a subject of `case` whose true circuit is `circuit` (at `edges` granularity).

    `progress` is called before each of its parts.
    """
    reference = case.reference()
    every = case.all_inputs(EXHAUSTIVE)
    data = fresh_data(case, rows if every is None else max(rows, len(every)), seed)
    masks = masks_of(reference, circuit)
    answer = reference.outputs(data.clean)
    on_answer = where_defined(reference, data, answer)
    permuted, some = on_answer.with_permuted_places(seed), on_answer.head(REMEASURE_ROWS)
    alone = single_edges(circuit)

    def worst(replaced: Data) -> dict[str, WorstEdge]:
        return {granularity: worst_single(model, replaced, answer, edges) for granularity, edges in alone.items()}

    def positions() -> Positions:
        return Positions(**vars(strictness(model, permuted, answer, masks)), worst_edge=worst(permuted))

    parts: dict[str, Callable[[], Any]] = {
        "measurement": lambda: measure(model, data, reference, masks),
        "worst_edge": lambda: worst(on_answer),
        "positions": positions,
        "mean": lambda: outside_under(model, some, answer[:REMEASURE_ROWS], masks, "mean"),
        "zero": lambda: outside_under(model, some, answer[:REMEASURE_ROWS], masks, "zero"),
        "exclusive": lambda: exclusivity(model, data.head(REMEASURE_ROWS), reference, masks),
        "necessity": lambda: necessity(model, data.head(REMEASURE_ROWS), reference, circuit),
        "robustness": lambda: robustness(model, on_answer.head(2000), answer[:2000], masks, seed),
        "liveliness": lambda: liveliness(model, data, circuit),
        "norm_auroc": lambda: norm_auroc(model, data, circuit),
        "shorter_inputs": lambda: shorter_inputs(case, model, reference, seed),
        "reference_equals_program": lambda: program_agreement(case, reference, data),
    }
    measured = {}
    for step, (name, part) in enumerate(parts.items()):
        progress({"doing": "certificate", "step": step, "steps": len(parts)})
        measured[name] = part()
    return Certificate(seed=seed, rows=len(data.clean), exhaustive=data.exhaustive, **measured)
