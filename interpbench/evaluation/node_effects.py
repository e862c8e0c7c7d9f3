"""The effect of each node: how the subject's output changes if that node alone is ablated.

Effects are means over pairs (x, x') and positions at which the reference answers x and x' differently:

    accuracy      the share at which ablating the node changes the subject's answer to x
    kl_div        KL(reference || subject with the node ablated); the reference puts probability 1 on its answer
    kl_div_self   KL(subject || subject with the node ablated)

Both KLs are divided by the KL of the subject's run on x'. In a good subject, nodes outside the circuit have no effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interpbench.cases.case import Case
from interpbench.cases.pairs import Data, draw, scored_positions
from interpbench.cases.reference import same_answers
from interpbench.certificate.interventions import where_answers_differ, with_nodes_replaced
from interpbench.errors import InterpbenchError, UsageError
from interpbench.graph.ranking import auroc
from interpbench.problem.ablation import Ablation, constant, with_sources
from interpbench.subjects.subject import Subject
from interpbench.torch_state import clean_state
from interpbench.transformer.stream import Activations

Metric = Literal["accuracy", "kl_div", "kl_div_self"]
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True)
class NodeEffects:
    """The effect of every node by name (None: undefined, the KL of the run on x' is 0), and how it was measured.

    `in_circuit` says which nodes the true circuit holds; `auroc` says how well the effects separate these from the
    others. `pairs` and `positions` count the pairs and positions with different answers. `exhaustive`: all pairs of
    inputs were considered.
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


@clean_state()
def node_effects(
    subject: Subject,
    metric: Metric = "accuracy",
    ablation: Ablation = "resample",
    samples: int = 1000,
    seed: int = 0,
) -> NodeEffects:
    """Measure the effect of every head and MLP.

    All pairs of inputs are used if there are at most `samples`, else `samples` random pairs. Raises UsageError for a
    KL of numerical outputs, InterpbenchError if no pair has different answers.
    """
    case, nodes = subject.case, subject.model.graph.nodes
    if case.output == "numerical" and metric != "accuracy":
        raise UsageError(f"case {case.name} answers with numbers, which have no {metric}; use accuracy")
    drawn = with_sources(pairs(case, samples, seed), ablation, seed)
    data = where_answers_differ(case.reference(), drawn)
    data = data.take(data.scored.any(-1))
    if not len(data.clean):
        raise InterpbenchError(f"case {case.name}: no pair of {len(drawn.clean)} inputs has different answers")
    other = constant(subject.model, drawn.source, ablation)
    sizes, whole = _effects(subject, data, other, metric)
    inside = np.array([node in subject.circuit.nodes for node in nodes])
    return NodeEffects(
        case=case.name,
        model=subject.kind,
        effects={node: float(size) / whole if whole else None for node, size in zip(nodes, sizes, strict=True)},
        in_circuit=dict(zip(nodes, inside.tolist(), strict=True)),
        auroc=auroc(sizes, inside) if whole else None,
        metric=metric,
        ablation=ablation,
        seed=seed,
        pairs=len(data.clean),
        positions=int(data.scored.sum()),
        exhaustive=drawn.exhaustive,
    )


def _effects(
    subject: Subject, data: Data, other: Activations | None, metric: Metric
) -> tuple[Float[np.ndarray, " node"], float]:
    """The metric with each node ablated alone, and its value for the run on x', to which effects are relative."""
    model, compare = subject.model, _COMPARISONS[metric]
    target = subject.case.reference().outputs(data.clean) if metric == "kl_div" else model.logits(data.clean)
    nodes = [([node], target) for node in model.graph.nodes]
    changes = with_nodes_replaced(model, data, nodes, other, compare)
    replaced = compare(model.logits(data.source, data.places), target)[data.scored]
    whole = 1.0 if metric == "accuracy" else replaced.mean().item()
    return changes[:, data.scored].double().mean(-1).numpy(), whole


def pairs(case: Case, samples: int, seed: int) -> Data:
    """All ordered pairs of inputs if there are at most `samples`, else `samples` random pairs."""
    every = case.all_inputs(math.isqrt(samples))
    if every is None:
        return draw(case, samples, seed)
    clean = torch.from_numpy(np.repeat(every, len(every), 0))
    source = torch.from_numpy(np.tile(every, (len(every), 1)))
    return Data(clean, source, torch.from_numpy(scored_positions(case, clean.numpy())), exhaustive=True)


def _changed(logits: Tensor, target: Tensor) -> Tensor:
    return ~same_answers(logits, target)


def _surprise(logits: Tensor, target: Tensor) -> Tensor:
    """KL divergence of the logits from a distribution that is 1 on the target's class."""
    return -logits.log_softmax(-1).gather(-1, target.argmax(-1, keepdim=True)).squeeze(-1)


def _divergence(logits: Tensor, target: Tensor) -> Tensor:
    log_p = target.log_softmax(-1)
    return (log_p.exp() * (log_p - logits.log_softmax(-1))).sum(-1)


_COMPARISONS: Mapping[Any, Callable[[Tensor, Tensor], Tensor]] = {
    "accuracy": _changed,
    "kl_div": _surprise,
    "kl_div_self": _divergence,
}
