"""The certificate of a subject: whether its true circuit is true, on nodes and on single edges.

Everything here is an accuracy under some intervention (see `interventions.py`), against what the reference answers.
What is replaced takes its value from an independent input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from interpbench.cases.case import Case
from interpbench.cases.pairs import Data, scored_positions
from interpbench.cases.reference import ATOL, Reference
from interpbench.cases.tokens import BOS
from interpbench.certificate.interventions import (
    agreement,
    correct,
    where_answers_differ,
    where_defined,
)
from interpbench.certificate.measure import (
    REMEASURE_ROWS,
    ROWS,
    THRESHOLD,
    fresh_data,
    masks_of,
    measure,
    single_edges,
    worst_single,
)
from interpbench.graph.circuit import Circuit
from interpbench.transformer.model import Transformer


@torch.no_grad()
def necessity(model: Transformer, data: Data, reference: Reference, circuit: Circuit) -> dict[str, float | None]:
    """For every true edge: of positions where x and x' have different answers, the share where cutting it alone
    changes the subject's answer; None if there are none.
    """
    data = where_answers_differ(reference, data)
    edges = circuit.to_json()["edges"]
    if not data.scored.any():
        return dict.fromkeys(edges)
    masks = torch.stack([torch.tensor(circuit.graph.mask([edge])) for edge in edges])
    kept = agreement(model, data, masks, model(data.clean))
    return {edge: 1 - share for edge, share in zip(edges, kept.tolist(), strict=True)}


@torch.no_grad()
def liveliness(model: Transformer, data: Data, circuit: Circuit) -> dict[str, Any]:
    """How much silent nodes vary over inputs, relative to the median node of the circuit.

    Per silent node the standard deviation over rows (root mean square over features and positions), and the share of
    silent nodes above .01: silent is not dead.
    """
    deviation = model.writers(data.head(2000).clean).std(-1).square().mean((-1, -2)).sqrt()[2:]
    of_node = dict(zip(model.graph.nodes, deviation.tolist(), strict=True))
    median = float(np.median([of_node[node] for node in circuit.nodes]))
    relative = {node: of_node[node] / median for node in model.graph.nodes if node not in circuit.nodes}
    alive = float(np.mean([value > 0.01 for value in relative.values()])) if relative else None
    return {"relative_deviation": relative, "share_alive": alive}


@torch.no_grad()
def shorter_inputs(
    case: Case, model: Transformer, reference: Reference, seed: int, rows: int = 1000
) -> dict[str, float]:
    """Accuracy on random inputs of every length below the full one, by length. Reported only: training is at full
    length.
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
            shares[str(length)] = float((correct(model(data.clean), answer) & scored).sum() / scored.sum())
    return shares


def program_agreement(case: Case, reference: Reference, data: Data, rows: int = 500) -> float:
    """Share of scored positions on which the reference answers as the program does, on some rows."""
    some = data.head(rows)
    outputs = reference.outputs(some.clean)
    hits = total = 0
    for tokens, out in zip(case.decode(some.clean.numpy()), outputs, strict=True):
        for value, logits in zip(case.program(tokens), out[1:], strict=True):
            if value is not None:
                total += 1
                told = reference.classes[int(logits.argmax())] if reference.classes else float(logits)
                hits += told == value if reference.classes else abs(told - value) < ATOL
    return hits / total


def certify(case: Case, model: Transformer, circuit: Circuit, seed: int = 0, rows: int = ROWS) -> dict[str, Any]:
    """Measure the certificate of a subject of `case` whose true circuit is `circuit` (at `edges` granularity).

    The result is plain data; undefined shares are None. `certified` asks accuracy, every IIA, every silent node and
    edge strictness at `heads` (all outside edges at once and the worst alone) to reach `THRESHOLD`;
    `certified_edges` asks the same at `edges`.
    """
    reference = case.reference()
    data = fresh_data(case, rows, seed)
    masks = masks_of(reference, circuit)
    answer = reference.outputs(data.clean)
    few = data.head(REMEASURE_ROWS)
    numbers = measure(model, data, reference, masks)
    on = where_defined(reference, data, answer)
    worst = {k: worst_single(model, on, answer, edges) for k, edges in single_edges(circuit).items()}
    nodes = min(numbers["accuracy"], numbers["iia_min"], numbers["strict_min"])
    certified = min(nodes, numbers["edges_heads"], worst["heads"]["accuracy"]) >= THRESHOLD
    fine = min(numbers["edges"], worst["edges"]["accuracy"]) >= THRESHOLD
    return {
        "certified": certified,
        "certified_edges": certified and fine,
        "threshold": THRESHOLD,
        "seed": seed,
        "rows": len(data.clean),
        "exhaustive": data.exhaustive,
        **numbers,
        "worst_edge": worst,
        "necessity": necessity(model, few, reference, circuit),
        "liveliness": liveliness(model, data, circuit),
        "shorter_inputs": shorter_inputs(case, model, reference, seed),
        "reference_equals_program": program_agreement(case, reference, data),
    }
