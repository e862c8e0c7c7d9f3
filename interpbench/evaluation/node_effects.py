"""How much each node matters: what changes if it alone carries another input's value (or its mean, or zero).

Of pairs (x, x') and positions at which the reference answers x and x' differently:

    accuracy      the share on which replacing the node's output changes the subject's answer to x
    kl_div        KL(reference || subject with the node replaced); the reference is certain of its answer
    kl_div_self   KL(subject || subject with the node replaced)

both KLs divided by those of the subject's run on x'. Silent nodes of a good subject have no effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from interpbench.cases.case import Case
from interpbench.cases.pairs import Data, draw, scored_positions
from interpbench.certificate.interventions import answers, correct, where_answers_differ, with_nodes_replaced
from interpbench.errors import InterpbenchError, UsageError
from interpbench.evaluation.ranking import auroc
from interpbench.problem.ablation import Ablation, ablated
from interpbench.subjects.subject import Subject

Metric = Literal["accuracy", "kl_div", "kl_div_self"]
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True)
class NodeEffects:
    """Effect of every node, by name (None: undefined, the run on x' differs in nothing), and how it was measured.

    `in_circuit` says which nodes the true circuit holds, `auroc` how well the effects tell them apart from silent
    ones. `pairs` are those that differ in an answer, at `positions` places; `exhaustive`: they are all there are.
    """

    case: str
    model: str
    effects: Mapping[str, float | None]
    in_circuit: Mapping[str, bool]
    auroc: float | None
    metric: Metric
    ablation: Ablation
    seed: int
    pairs: int
    positions: int
    exhaustive: bool


def node_effects(
    subject: Subject,
    metric: Metric = "accuracy",
    ablation: Ablation = "resample",
    samples: int = 1000,
    seed: int = 0,
) -> NodeEffects:
    """Measure the effect of every head and MLP alone.

    On all pairs of different inputs if there are at most `samples`, else on `samples` random ones. Raises UsageError
    for a KL of numerical outputs, InterpbenchError if no pair has different answers.
    """
    case, model, graph = subject.case, subject.model, subject.model.graph
    if case.output == "numerical" and metric != "accuracy":
        raise UsageError(f"case {case.name} answers with numbers, which have no {metric}; use accuracy")
    drawn = pairs(case, samples, seed)
    data = where_answers_differ(case.reference(), drawn)
    data = data.take(data.scored.any(-1))
    if not len(data.clean):
        raise InterpbenchError(f"case {case.name}: no pair of {len(drawn.clean)} inputs has different answers")

    other = None if ablation == "resample" else ablated(model, drawn.source, ablation)
    target = case.reference().outputs(data.clean) if metric == "kl_div" else answers(model, data.clean)
    compare = _COMPARISONS[metric]
    told = with_nodes_replaced(model, data, [([node], target) for node in graph.nodes], other, compare)
    sizes = told[:, data.scored].double().mean(-1).numpy()
    whole = 1.0 if metric == "accuracy" else compare(answers(model, data.source), target)[data.scored].mean().item()
    inside = np.array([node in subject.circuit.nodes for node in graph.nodes])
    return NodeEffects(
        case=case.name,
        model=subject.kind,
        effects={node: float(size) / whole if whole else None for node, size in zip(graph.nodes, sizes, strict=True)},
        in_circuit=dict(zip(graph.nodes, inside.tolist(), strict=True)),
        auroc=auroc(sizes, inside) if whole else None,
        metric=metric,
        ablation=ablation,
        seed=seed,
        pairs=len(data.clean),
        positions=int(data.scored.sum()),
        exhaustive=drawn.exhaustive,
    )


def pairs(case: Case, samples: int, seed: int) -> Data:
    """All ordered pairs of inputs if there are at most `samples`, else so many random ones."""
    every = case.all_inputs(math.isqrt(samples))
    if every is None:
        return draw(case, samples, seed)
    clean = torch.from_numpy(np.repeat(every, len(every), 0))
    source = torch.from_numpy(np.tile(every, (len(every), 1)))
    return Data(clean, source, torch.from_numpy(scored_positions(case, clean.numpy())), exhaustive=True)


def _changed(logits: Tensor, target: Tensor) -> Tensor:
    return ~correct(logits, target)


def _surprise(logits: Tensor, target: Tensor) -> Tensor:
    """KL from certainty of the target's class."""
    return -logits.log_softmax(-1).gather(-1, target.argmax(-1, keepdim=True)).squeeze(-1)


def _divergence(logits: Tensor, target: Tensor) -> Tensor:
    log_p = target.log_softmax(-1)
    return (log_p.exp() * (log_p - logits.log_softmax(-1))).sum(-1)


_COMPARISONS: Mapping[Any, Callable[[Tensor, Tensor], Tensor]] = {
    "accuracy": _changed,
    "kl_div": _surprise,
    "kl_div_self": _divergence,
}
