"""How well a subject still solves its case with everything outside a circuit replaced.

The score of a circuit is the subject's accuracy, with all edges (or all nodes) that the circuit rejects carrying
another input's values, their mean, or zero, relative to its accuracy before. Edges are replaced one by one; a node for
all its readers. Accuracies are against what the reference answers (numbers: within `ATOL`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float

from interpbench.cases.pairs import Data, draw
from interpbench.certificate.interventions import agreement, where_defined
from interpbench.evaluation.faithfulness import Curve, curve, edge_auroc, faithfulness
from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.graph import Graph
from interpbench.problem.ablation import Ablation, ablated
from interpbench.problem.problem import make_problem
from interpbench.subjects.subject import Subject

By = Literal["nodes", "edges"]
BY: tuple[By, ...] = get_args(By)


@dataclass(frozen=True)
class CircuitScore:
    """Accuracy with the `cut` nodes or edges replaced, and relative to that `before` (None: that is 0)."""

    kept: int
    cut: int
    before: float
    after: float
    relative: float | None


@dataclass(frozen=True)
class Evaluation:
    """The score of one circuit, the faithfulness of the same intervention, and MIB's numbers if edges have scores.

    `auroc` is MIB's, of the scores against the true circuit (see `faithfulness.py`).
    """

    case: str
    model: str
    by: By
    ablation: Ablation
    complement: bool
    samples: int
    seed: int
    score: CircuitScore
    faithfulness: float | None
    mib: Curve | None
    auroc: float | None


def evaluate_circuit(
    subject: Subject,
    circuit: Circuit,
    scores: EdgeScores | None = None,
    *,
    complement: bool = False,
    by: By = "edges",
    ablation: Ablation = "resample",
    samples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score one circuit of a subject, or the complement: all edges, or nodes, that it does not hold."""
    case, graph = subject.case, subject.model.graph
    kept = circuit.members(by)[None] != complement
    data = draw(case, samples, seed)
    (score,) = circuit_scores(subject, data, kept, by, ablation)
    reference = case.reference()
    scored = where_defined(reference, data, reference.outputs(data.clean)).scored
    problem = make_problem(subject.model, data.clean, data.source, case.output, scored, ablation, seed)
    faithful = faithfulness(problem, torch.from_numpy(cut_mask(graph, kept, by)).to(problem.full))
    return Evaluation(
        case=case.name,
        model=subject.kind,
        by=by,
        ablation=ablation,
        complement=complement,
        samples=samples,
        seed=seed,
        score=score,
        faithfulness=None if faithful is None else faithful[0],
        mib=scores and curve(problem, scores),
        auroc=scores and edge_auroc(scores, subject.circuit),
    )


def cut_mask(graph: Graph, kept: Bool[np.ndarray, "*circuit unit"], by: By) -> Float[np.ndarray, "*circuit edge"]:
    """1 on what is cut if only some edges, or nodes (`Graph.universe`), are kept. Inputs are no nodes: they stay."""
    if by == "edges":
        return 1.0 - kept
    inputs = np.ones((*kept.shape[:-1], len(graph.writers) - len(graph.nodes)), dtype=bool)
    return 1.0 - np.concatenate([inputs, kept], -1)[..., graph.edge_writer]


def circuit_scores(
    subject: Subject, data: Data, kept: Bool[np.ndarray, "circuit unit"], by: By, ablation: Ablation = "resample"
) -> list[CircuitScore]:
    """Scores of circuits given by which edges or nodes of the subject's graph they keep, all in one batch.

    A `Circuit` is `circuit.members(by)[None]`, its complement the same negated.
    """
    model, reference = subject.model, subject.case.reference()
    masks = torch.from_numpy(cut_mask(model.graph, kept, by)).float()
    target = reference.outputs(data.clean)
    other = None if ablation == "resample" else ablated(model, data.source, ablation)
    with_plain = torch.cat([torch.zeros_like(masks[:1]), masks])
    before, *after = agreement(model, where_defined(reference, data, target), with_plain, target, other).tolist()
    sizes = kept.sum(-1).tolist()
    return [
        CircuitScore(size, kept.shape[-1] - size, before, each, each / before if before else None)
        for size, each in zip(sizes, after, strict=True)
    ]
