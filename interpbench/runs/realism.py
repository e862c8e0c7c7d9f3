"""Whether trained subjects with a known circuit behave as naturally trained ones do under circuit discovery.

A technique ranks the edges of each model of a case. Circuits of growing size, by that ranking, are scored
(`circuit_score.py`), which gives a curve for each model; a subject is realistic if its curve goes with the natural
model's. The published comparison (arXiv 2407.14494) replaces nodes by their means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interpbench.cases.case import Case
from interpbench.cases.pairs import draw
from interpbench.errors import UsageError
from interpbench.evaluation.circuit_score import By, CircuitScore, circuit_scores
from interpbench.problem.ablation import Ablation
from interpbench.runs.run import run
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import load_subject

KINDS = ("siit", "natural", "iit", "tracr")
NATURAL = "natural"
SHARES = tuple(i / 20 for i in range(21))
"""Of the edges or nodes, how many each circuit of a curve keeps."""


@dataclass(frozen=True)
class Curve:
    """Scores of the circuits of one model, and their correlation with the natural model's (None: undefined)."""

    scores: tuple[CircuitScore, ...]
    correlation: float | None


@dataclass(frozen=True)
class Realism:
    """Curves by model over `at` (shares kept, or thresholds; one None for the true circuit), and `missing` models
    with the reason.
    """

    case: str
    technique: str | None
    by: By
    ablation: Ablation
    at: tuple[float | None, ...]
    curves: Mapping[str, Curve]
    missing: Mapping[str, str]


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
) -> Realism:
    """Curves of the models that there are, by a technique with its default options, or with None of the true circuit.

    Circuits keep the highest-scored share of the edges or nodes (a node's score is the largest of its edges'), or
    what is scored above each of the `thresholds`. A model is a kind or a folder; one of `KINDS` that is not there
    is told in `missing`. With `out`, runs are kept and read below that folder. Raises UsageError for a model that
    cannot be one, or if none is there.
    """
    subjects, missing = find_models(case, models)
    at = (None,) if technique is None else tuple(thresholds) or SHARES
    scores = {}
    for name, subject in subjects.items():
        if technique is None:
            kept = subject.circuit.members(by)[None]
        else:
            found = run(technique, subject, samples=samples, seed=seed, out=out).scores
            above = subject.model.graph.merge(found.values, by) > np.reshape(thresholds, (-1, 1))
            kept = above if thresholds else found.top_shares(SHARES, by)
        scores[name] = tuple(circuit_scores(subject, draw(case, samples, seed), kept, by, ablation))
    natural = scores.get(NATURAL)
    curves = {name: Curve(each, natural and correlation(each, natural)) for name, each in scores.items()}
    return Realism(case.name, technique, by, ablation, at, curves, missing)


def find_models(case: Case, models: Sequence[str | Path]) -> tuple[dict[str, Subject], dict[str, str]]:
    """Subjects by kind (a folder's is that of its card), and why the others are not there; see `realism`."""
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
