"""Protocols: additional metrics and default settings of a run. They are `default`, `paper` and `mib`.

`paper` is the protocol of the published benchmark (arXiv 2407.14494). Each threshold of a fixed grid gives a circuit,
and each circuit a point of false and true positive rate over head-level edges; the metric is the area under these
points taken as steps. Scores of different techniques and cases have different scales, so the area depends more on the
grid than on the ranking. It serves for comparison with published numbers. `mib` is the protocol of MIB (arXiv
2504.13151).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

from interpbench.plugins.options import make_config

if TYPE_CHECKING:
    from interpbench.graph.circuit import Circuit
    from interpbench.problem.problem import Problem
    from interpbench.problem.technique import Discovery

ProtocolName = Literal["default", "paper", "mib"]
PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)

PAPER_GRID = (
    0.0,
    1e-5,
    1e-4,
    1e-3,
    1e-2,
    0.025,
    0.05,
    0.1,
    0.2,
    0.5,
    0.8,
    1.0,
    10.0,
    20.0,
    50.0,
    70.0,
    100.0,
    200.0,
    1000.0,
)
"""Thresholds of ACDC and EAP, and weights of SP's regulariser, in the published results."""


def configure(technique: Any, options: Mapping[str, Any], protocol: ProtocolName) -> Any:
    """The technique's configuration with these options; others have the protocol's preset or their default.

    Raises UsageError for options that do not fit.
    """
    wanted: Mapping[str, Any] = getattr(technique, "presets", {}).get(protocol, {})
    return make_config(technique.Config, {**wanted, **options}, technique.name)


def protocol_metrics(
    protocol: ProtocolName, problem: Problem, found: Discovery, truth: Circuit
) -> dict[str, dict[str, Any]]:
    """Metrics that the protocol adds to those of `ranking.judge`, under its name; plain JSON."""
    if protocol == "paper":
        return {"paper": paper_metrics(found, truth)}
    if protocol == "mib":
        from interpbench.evaluation.faithfulness import faithfulness_curve, greedy_auroc

        curve = faithfulness_curve(problem, found.scores)
        return {"mib": {"auroc": greedy_auroc(found.scores, truth), **asdict(curve)}}
    return {}


def paper_metrics(found: Discovery, truth: Circuit) -> dict[str, Any]:
    """Points and their pessimistic area over head-level edges; the area is None if no edge is true, or all are.

    The circuits are those that the technique found at its own thresholds, or else its scores above each threshold of
    the published grid.
    """
    from interpbench.graph.ranking import rates

    true = truth.members("heads")
    circuits = found.circuits or {threshold: found.scores.above(threshold) for threshold in PAPER_GRID}
    points = []
    for threshold, circuit in sorted(circuits.items()):
        rate = rates(circuit.members("heads"), true)
        points.append({"threshold": float(threshold), "fpr": rate["fpr"], "tpr": rate["tpr"]})
    if true.all() or not true.any():
        return {"area": None, "points": points}
    return {"area": pessimistic_area((point["fpr"], point["tpr"]) for point in points), "points": points}


def pessimistic_area(points: Iterable[tuple[float, float]]) -> float:
    """Area under points (x, y) taken as steps: between two points the curve has the height of the left one.

    (0, 0) and (1, 1) are added. A point lower than one to its left is dropped.
    """
    kept = [(0.0, 0.0)]
    for x, y in sorted([*points, (1.0, 1.0)]):
        if y >= kept[-1][1]:
            kept.append((x, y))
    return sum((1 - x) * (y - before) for (_, before), (x, y) in pairwise(kept))
