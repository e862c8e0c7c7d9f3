"""Accuracy of a subject with everything outside a circuit ablated.

The score of a circuit is the subject's accuracy with all edges (or all nodes) outside the circuit ablated, relative to
its accuracy without ablation. An ablated node is replaced for all its readers. Answers are compared with those of the
reference (numerical outputs: within `ATOL`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float

from interpbench.cases.pairs import Data, draw
from interpbench.certificate.interventions import agreement, where_defined
from interpbench.evaluation.faithfulness import FaithfulnessCurve, faithfulness, faithfulness_curve, greedy_auroc
from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.graph import Graph
from interpbench.problem.ablation import Ablation, constant, with_sources
from interpbench.problem.problem import Problem, make_problem
from interpbench.subjects.subject import Subject
from interpbench.torch_state import clean_state

By = Literal["nodes", "edges"]
BY: tuple[By, ...] = get_args(By)


@dataclass(frozen=True)
class CircuitScore:
    """Accuracy `before` and `after` ablating `cut` nodes or edges; `relative` is after / before (None: before is 0)."""

    kept: int
    cut: int
    before: float
    after: float
    relative: float | None


@dataclass(frozen=True)
class Evaluation:
    """The score of one circuit, its faithfulness under the same ablation, and MIB's metrics if edges have scores.

    `auroc` is MIB's, of the scores against the true circuit (see `evaluation.faithfulness`). `absolute` says that edges
    were ranked by the absolute value of their scores.
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
    mib: FaithfulnessCurve | None
    auroc: float | None
    absolute: bool


@clean_state()
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
    absolute: bool = False,
) -> Evaluation:
    """Score one circuit of a subject, or its `complement`: all edges, or nodes, outside it.

    `absolute` ranks edges by the absolute value of their scores.
    """
    if scores is not None and absolute:
        scores = EdgeScores(scores.graph, np.abs(scores.values))
    kept = circuit.members(by)[None] != complement
    data = draw(subject.case, samples, seed)
    (score,) = circuit_scores(subject, with_sources(data, ablation, seed), kept, by, ablation)
    problem = _problem(subject, data, ablation, seed)
    faithful = faithfulness(problem, torch.from_numpy(cut_mask(problem.graph, kept, by)).to(problem.full))
    return Evaluation(
        case=subject.case.name,
        model=subject.kind,
        by=by,
        ablation=ablation,
        complement=complement,
        samples=samples,
        seed=seed,
        score=score,
        faithfulness=None if faithful is None else faithful[0],
        mib=scores and faithfulness_curve(problem, scores),
        auroc=scores and greedy_auroc(scores, subject.circuit),
        absolute=absolute,
    )


def _problem(subject: Subject, data: Data, ablation: Ablation, seed: int) -> Problem:
    """The data as a problem that is scored where the reference has an answer."""
    reference = subject.case.reference()
    scored = where_defined(reference, data, reference.outputs(data.clean)).scored
    return make_problem(subject.model, data.clean, data.source, subject.case.output, scored, ablation, seed)


def cut_mask(graph: Graph, kept: Bool[np.ndarray, "*circuit unit"], by: By) -> Float[np.ndarray, "*circuit edge"]:
    """A mask that is 1 on every edge outside the kept edges, or from outside the kept nodes (`Graph.universe`).

    By nodes, edges from `embed` and `pos` are always kept, because these are not nodes.
    """
    if by == "edges":
        return 1.0 - kept
    inputs = np.ones((*kept.shape[:-1], len(graph.writers) - len(graph.nodes)), dtype=bool)
    return 1.0 - np.concatenate([inputs, kept], -1)[..., graph.edge_writer]


def circuit_scores(
    subject: Subject, data: Data, kept: Bool[np.ndarray, "circuit unit"], by: By, ablation: Ablation = "resample"
) -> list[CircuitScore]:
    """Scores of circuits, measured in one batch. `kept` says which edges or nodes of the graph each circuit holds.

    For a single `Circuit` it is `circuit.members(by)[None]`, and for its complement the negation of that.
    """
    model, reference = subject.model, subject.case.reference()
    masks = torch.from_numpy(cut_mask(model.graph, kept, by)).float()
    target = reference.outputs(data.clean)
    other = constant(model, data.source, ablation)
    with_plain = torch.cat([torch.zeros_like(masks[:1]), masks])
    before, *after = agreement(model, where_defined(reference, data, target), with_plain, target, other).tolist()
    sizes = kept.sum(-1).tolist()
    return [
        CircuitScore(size, kept.shape[-1] - size, before, each, each / before if before else None)
        for size, each in zip(sizes, after, strict=True)
    ]
