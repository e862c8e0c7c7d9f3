"""The content of run.json, and the digest that names a run's folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypedDict, cast

import numpy as np
import torch
from jaxtyping import Float

from interpbench.certificate.certificate import Headline
from interpbench.errors import UsageError, unknown
from interpbench.evaluation.judge import judge, judge_chosen
from interpbench.evaluation.protocols import PROTOCOLS, ProtocolName
from interpbench.problem.ablation import Ablation
from interpbench.problem.problem import Problem
from interpbench.problem.technique import Discovery, Technique
from interpbench.subjects.classes import edge_classes
from interpbench.subjects.subject import Subject

SCHEMA = 2


class SubjectIdentity(TypedDict):
    """Which model and which truth a result belongs to; `subject` is the model's name for people.

    `certified` is the card's of that moment (None: no certificate), `certificate_version` which kind of it.
    """

    case: str
    program_digest: str
    model: str
    weights_hash: str
    truth_hash: str
    certified: bool | None
    certificate_version: int | None


class RunRequest(SubjectIdentity):
    """Everything that determines the result of a run."""

    schema: int
    technique: str
    technique_version: str
    baseline: bool
    config: dict[str, Any]
    ablation: str
    samples: int
    seed: int
    unique: bool
    protocol: str


class Judgement(SubjectIdentity):
    """A result compared with the true circuit.

    `metrics` are those of `evaluation.judge` and of the run's protocol. `circuit` (None: the technique chose none) and
    `truth` are in the form of `Circuit.to_json`. `edge_classes` has the class of every true edge under the run's
    ablation (None: the true circuit is not sufficient under it), and `bare` the share of answers that the true circuit
    alone keeps.
    """

    subject: str
    bare: float
    edge_classes: dict[str, str] | None
    metrics: dict[str, Any]
    circuit: dict[str, Any] | None
    truth: dict[str, Any]


class FileJudgement(Judgement):
    """The result of `score` for a file; `absolute`: edges and nodes were ranked by the absolute value of their scores.

    `node_scores`: nodes were ranked by scores of their own, not by those of their edges.
    """

    ablation: str
    samples: int
    seed: int
    file: str
    absolute: bool
    node_scores: bool


class Record(RunRequest, Judgement):
    """The content of run.json. `seconds` and `passes` (forward and backward, per row) are of the technique alone."""

    digest: str
    notes: dict[str, Any]
    seconds: float
    passes: dict[str, float]
    versions: dict[str, str]


def digest(request: RunRequest) -> str:
    """Hash of a request; 16 hexadecimal digits. Raises UsageError if an option is a number that is not finite."""
    try:
        text = json.dumps(request, sort_keys=True, allow_nan=False)
    except ValueError:
        raise UsageError(f"options must be finite numbers: {request['config']}") from None
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """A value as plain JSON: arrays, tuples and sets as lists, NaN and infinity as None, other objects as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)


@dataclass(frozen=True)
class Conditions:
    """The data, ablation and metrics of a run.

    `samples` pairs of clean and corrupted inputs are drawn from `seed`, with distinct clean inputs if `unique`. Raises
    UsageError if `samples` is below 1, `seed` is negative, or the protocol is unknown.
    """

    samples: int = 1000
    seed: int = 0
    ablation: Ablation = "resample"
    unique: bool = False
    protocol: ProtocolName = "default"

    def __post_init__(self) -> None:
        if self.samples < 1 or self.seed < 0:
            raise UsageError(f"samples is {self.samples} and seed {self.seed}; expected at least 1 and at least 0")
        if self.protocol not in PROTOCOLS:
            raise UsageError(unknown("protocol", self.protocol, PROTOCOLS))


def subject_identity(subject: Subject) -> SubjectIdentity:
    """The facts that identify a subject: its case, program, kind, weights and truth."""
    certificate = Headline.of_card(subject.card)
    return {
        "case": subject.case.name,
        "program_digest": subject.card["program_digest"],
        "model": subject.kind,
        "weights_hash": subject.weights_hash,
        "truth_hash": subject.truth_hash,
        "certified": certificate.certified,
        "certificate_version": certificate.version,
    }


def judgement(
    found: Discovery, subject: Subject, problem: Problem, nodes: Float[np.ndarray, " node"] | None = None
) -> Judgement:
    """Compare a discovery with the true circuit of its subject, as the problem's ablation can see it.

    `nodes` are scores of the nodes themselves, if there are any.
    """
    classes, chosen = edge_classes(subject, problem.ablation), found.circuit
    right = None
    if chosen is not None:
        cut = torch.from_numpy(1 - chosen.mask())[None].to(problem.full)
        right = judge_chosen(chosen, subject.circuit, problem.answers_kept(cut).item(), classes)
    return {
        **subject_identity(subject),
        "subject": subject.name,
        "bare": classes.bare,
        "edge_classes": cast("dict[str, str] | None", classes.of_edges),
        "metrics": {**judge(found, subject.circuit, classes, nodes), "chosen": right},
        "circuit": None if found.circuit is None else found.circuit.to_json(),
        "truth": subject.circuit.to_json(),
    }


def run_request(technique: Technique, config: Any, subject: Subject, conditions: Conditions) -> RunRequest:
    """Everything that determines the result of a run, known before it starts."""
    return {
        "schema": SCHEMA,
        **subject_identity(subject),
        "technique": technique.name,
        "technique_version": technique.version,
        "baseline": bool(getattr(technique, "baseline", False)),
        "config": dataclasses.asdict(config),
        "ablation": conditions.ablation,
        "samples": conditions.samples,
        "seed": conditions.seed,
        "unique": conditions.unique,
        "protocol": conditions.protocol,
    }


def run_record(
    request: RunRequest, verdict: Judgement, notes: Mapping[str, Any], seconds: float, passes: Mapping[str, float]
) -> Record:
    """The content of run.json for a finished run, with the versions of the packages that made it."""
    packages = ("interpbench", "torch", "numpy")
    return {
        **request,
        "config": plain(request["config"]),
        "digest": digest(request),
        **verdict,
        "notes": plain(notes),
        "seconds": round(seconds, 4),
        "passes": {name: round(count, 4) for name, count in passes.items()},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
    }
