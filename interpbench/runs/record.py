"""What a run says of itself: the content of run.json, and the digest that names its folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from interpbench.errors import UsageError, unknown
from interpbench.evaluation.protocols import PROTOCOLS, Protocol
from interpbench.evaluation.ranking import judge
from interpbench.problem.ablation import Ablation
from interpbench.problem.technique import Discovery, Technique
from interpbench.subjects.subject import Subject

SCHEMA = 1


class About(TypedDict):
    """The model that a result is about."""

    case: str
    program_digest: str
    model: str
    weights_hash: str


class Asked(About):
    """Everything that determines a result."""

    schema: int
    technique: str
    technique_version: str
    config: dict[str, Any]
    ablation: str
    samples: int
    seed: int
    unique: bool
    protocol: str


class Judged(About):
    """A result against the truth: `metrics` of `evaluate.judge` (and of a run's protocol), the chosen circuit
    (`to_json`) or None, and the true one.
    """

    certified: bool | None
    certified_edges: bool | None
    metrics: dict[str, dict[str, Any]]
    circuit: dict[str, Any] | None
    truth: dict[str, Any]


class Scored(Judged):
    """What `score` says of a file; `absolute`: edges were ranked by the size of their scores."""

    file: str
    absolute: bool


class Record(Asked, Judged):
    """The content of run.json."""

    digest: str
    notes: dict[str, Any]
    seconds: float
    versions: dict[str, str]


def digest(asked: Asked) -> str:
    """Hash of what was asked; 16 hexadecimal digits. Raises UsageError for a number that is not finite."""
    try:
        text = json.dumps(asked, sort_keys=True, allow_nan=False)
    except ValueError:
        raise UsageError(f"options must be finite numbers: {asked['config']}") from None
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """The same as plain JSON: arrays and tuples as lists, numbers that are not finite as None, the rest as text."""
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
    """On what a technique is run: pairs of clean and corrupted inputs from a seed, what a cut edge carries, and what
    is measured. `unique`: no clean input twice. Raises UsageError for numbers that make no sense.
    """

    samples: int = 1000
    seed: int = 0
    ablation: Ablation = "resample"
    unique: bool = False
    protocol: Protocol = "default"

    def __post_init__(self) -> None:
        if self.samples < 1 or self.seed < 0:
            raise UsageError(f"samples is {self.samples} and seed {self.seed}; expected at least 1 and at least 0")
        if self.protocol not in PROTOCOLS:
            raise UsageError(unknown("protocol", self.protocol, PROTOCOLS))


def about(subject: Subject) -> About:
    """What a result says of the model that it is about."""
    return {
        "case": subject.case.name,
        "program_digest": subject.card["program_digest"],
        "model": subject.kind,
        "weights_hash": subject.weights_hash,
    }


def judged(found: Discovery, subject: Subject) -> Judged:
    """What was found against the true circuit of the subject."""
    certificate = subject.card.get("certificate") or {}
    return {
        **about(subject),
        "certified": certificate.get("certified"),
        "certified_edges": certificate.get("certified_edges"),
        "metrics": judge(found, subject.circuit),
        "circuit": None if found.circuit is None else found.circuit.to_json(),
        "truth": subject.circuit.to_json(),
    }


def asked_of(technique: Technique, config: Any, subject: Subject, conditions: Conditions) -> Asked:
    """Everything that determines the result of a run, before it is begun."""
    return {
        "schema": SCHEMA,
        **about(subject),
        "technique": technique.name,
        "technique_version": technique.version,
        "config": dataclasses.asdict(config),
        "ablation": conditions.ablation,
        "samples": conditions.samples,
        "seed": conditions.seed,
        "unique": conditions.unique,
        "protocol": conditions.protocol,
    }
