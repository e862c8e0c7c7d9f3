"""Realism: whether subjects with a known circuit behave like naturally trained models under circuit discovery.

A technique ranks the edges of each model of a case. Scores of circuits of growing size, taken from that ranking
(`evaluation.circuit_score`), give a curve for each model. A subject is realistic if its curve correlates with that of
the naturally trained model. The published comparison (arXiv 2407.14494) ablates nodes by their means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from interpbench.cases.case import Case
from interpbench.cases.pairs import draw
from interpbench.errors import UsageError
from interpbench.evaluation.circuit_score import By, CircuitScore, circuit_scores
from interpbench.graph.circuit import EdgeScores
from interpbench.problem.ablation import Ablation, with_sources
from interpbench.runs.run import run
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import load_subject
from interpbench.torch_state import clean_state

KINDS = ("siit", "natural", "iit", "tracr")
NATURAL = "natural"
SHARES = tuple(i / 20 for i in range(21))
"""The share of the edges or nodes that each circuit of a curve keeps."""


@dataclass(frozen=True)
class ModelCurve:
    """Scores of the circuits of one model, and their correlation with the natural model's (None: undefined)."""

    scores: tuple[CircuitScore, ...]
    correlation: float | None


@dataclass(frozen=True)
class Realism:
    """Curves by model over `at`, and the reason for each model that is `missing`.

    `at` holds the shares kept, or the thresholds; for the true circuit it is a single None.
    """

    case: str
    technique: str | None
    by: By
    ablation: Ablation
    at: tuple[float | None, ...]
    curves: Mapping[str, ModelCurve]
    missing: Mapping[str, str]


@clean_state()
def realism(
    case: Case,
    technique: str | None,
    models: Sequence[str | Path] = KINDS,
    *,
    by: By = "nodes",
    ablation: Ablation = "mean",
    thresholds: Sequence[float] = (),
    samples: int = 1000,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Callable[[dict[str, Any]], None] = lambda facts: None,
) -> Realism:
    """Curves of the available models, by a technique with its default options, or (None) of the true circuit.

    Circuits keep the highest-scored shares of the edges or nodes, or those scored above each of the `thresholds`; the
    score of a node is the largest of its edges'. A model is a kind or a folder; unavailable `KINDS` are listed in
    `missing`. With `out`, runs are stored below that folder and read from it. `progress` is called before each model.
    Raises UsageError for a model of no known
    kind, or if no model is available.
    """
    subjects, missing = find_models(case, models)
    at = (None,) if technique is None else tuple(thresholds) or SHARES
    scores = {}
    for step, (name, subject) in enumerate(subjects.items()):
        progress({"step": step, "steps": len(subjects)})
        if technique is None:
            kept = subject.circuit.members(by)[None]
        else:
            found = run(technique, subject, samples=samples, seed=seed, out=out)
            kept = _kept(found.scores, by, thresholds)
        data = with_sources(draw(subject.case, samples, seed), ablation, seed)
        scores[name] = tuple(circuit_scores(subject, data, kept, by, ablation))
    natural = scores.get(NATURAL)
    curves = {name: ModelCurve(each, natural and correlation(each, natural)) for name, each in scores.items()}
    return Realism(case.name, technique, by, ablation, at, curves, missing)


def _kept(scores: EdgeScores, by: By, thresholds: Sequence[float]) -> Bool[np.ndarray, "circuit unit"]:
    """Which edges or nodes each circuit of growing size holds."""
    if not thresholds:
        return scores.top_shares(SHARES, by)
    return scores.graph.merge(scores.values, by) > np.reshape(thresholds, (-1, 1))


def find_models(case: Case, models: Sequence[str | Path]) -> tuple[dict[str, Subject], dict[str, str]]:
    """Subjects by kind (for a folder, the kind on its card), and the reason for each kind that is not available."""
    subjects: dict[str, Subject] = {}
    missing: dict[str, str] = {}
    for model in models:
        try:
            subject = load_subject(case, model)
        except UsageError as error:
            if str(model) not in KINDS:
                raise
            missing[str(model)] = str(error)
            continue
        kind = subject.card.get("kind", subject.kind) if subject.kind == "custom" else subject.kind
        if kind in subjects:
            raise UsageError(f"{model}: there is a model of kind '{kind}' already; expected one of each")
        subjects[kind] = subject
    if not subjects:
        raise UsageError(f"case {case.name} has none of the models {', '.join(map(str, models))}")
    return subjects, missing


def correlation(one: Sequence[CircuitScore], other: Sequence[CircuitScore]) -> float | None:
    """Pearson's correlation of two curves of relative scores; None where one is constant or undefined."""
    pairs = [(a.relative, b.relative) for a, b in zip(one, other, strict=True)]
    values = np.array([pair for pair in pairs if None not in pair], dtype=float).reshape(-1, 2)
    if len(values) < len(pairs) or (np.ptp(values, axis=0) == 0).any():
        return None
    return float(np.corrcoef(values.T)[0, 1])
