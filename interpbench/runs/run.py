"""One technique on one case, from top to bottom."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from interpbench import plugins, store
from interpbench.case import Case, defined
from interpbench.errors import UsageError, unknown
from interpbench.evaluate import judge
from interpbench.graph import Circuit, EdgeScores
from interpbench.interventions import scored_positions
from interpbench.problem import Ablation, Discovery, Problem, Technique, make_problem
from interpbench.protocols import PROTOCOLS, Protocol, configure, measure
from interpbench.subjects import Subject, load_subject


@dataclass(frozen=True, eq=False)
class Result:
    """What came out: metrics by granularity, a score for every edge, the circuit chosen, and the record of it all.

    Of a run the record is all of run.json, a `store.Record`, and `folder` is where it is stored (None: nowhere);
    `seconds` in it is the technique's own time. Of a file that was judged it is a `store.Scored`.
    """

    metrics: dict[str, dict[str, Any]]
    scores: EdgeScores
    circuit: Circuit | None
    record: Mapping[str, Any]
    folder: Path | None = None


@dataclass(frozen=True)
class Data:
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


def run(
    technique: str | Technique,
    case: str | Case | Subject,
    model: str | Path = "siit",
    *,
    samples: int = 1000,
    seed: int = 0,
    ablation: Ablation = "resample",
    unique: bool = False,
    protocol: Protocol = "default",
    out: str | Path | None = None,
    force: bool = False,
    config: Any = None,
    **options: Any,
) -> Result:
    """Find a circuit of a case's subject (or of the subject given) and judge it against the true one.

    The technique is a plugin's, by its name, or one that you hand over. `samples` pairs of clean and corrupted inputs
    are drawn from `seed`, no clean one twice if `unique`; `options` are fields of the technique's `Config`, or `config`
    is an instance of it; `protocol` adds metrics and may decide what `options` leave open (`interpbench.protocols`).
    With `out`, the run is stored below that folder, and a complete one that is there already (of the same technique's
    name and version) is read instead, unless `force` does it again. Raises UsageError for what
    does not exist or does not fit, InterpbenchError for a damaged subject or run, and whatever the technique raises.
    """
    data = Data(samples, seed, ablation, unique, protocol)
    method = plugins.load().technique(technique) if isinstance(technique, str) else plugins.checked(technique)
    config = configure(method, options, protocol) if config is None else config
    subject = case if isinstance(case, Subject) else load_subject(case, model)
    asked = asked_of(method, config, subject, data)
    folder = None if out is None else store.run_folder(out, asked)
    if folder is not None and not force and (stored := store.read(folder)) is not None:
        record, scores = stored
        circuit = None if record["circuit"] is None else Circuit.from_json(record["circuit"])
        return Result(record["metrics"], scores, circuit, record, folder)

    problem = problem_of(subject, data)
    began = time.perf_counter()
    try:
        found = method.discover(problem, config)
        seconds = time.perf_counter() - began
        verdict = judged(found, subject)
        verdict["metrics"] |= measure(protocol, problem, found, subject.circuit)
    except UsageError:
        raise
    except Exception as error:
        if folder is not None:
            error.add_note(f"(traceback in {store.write_error(folder, error)})")
        raise

    record: store.Record = {
        **asked,
        "config": store.plain(asked["config"]),
        "digest": store.digest(asked),
        **verdict,
        "notes": store.plain(found.notes),
        "seconds": round(seconds, 4),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("interpbench", "torch", "numpy")},
    }
    if folder is not None:
        store.write(folder, record, found.scores, found.circuit, subject.model.config.d_model)
    return Result(verdict["metrics"], found.scores, found.circuit, record, folder)


def about(subject: Subject) -> store.About:
    """What a result says of the model that it is about."""
    return {
        "case": subject.case.name,
        "program_digest": subject.card["program_digest"],
        "model": subject.kind,
        "weights_hash": subject.weights_hash,
    }


def judged(found: Discovery, subject: Subject) -> store.Judged:
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


def asked_of(technique: Technique, config: Any, subject: Subject, data: Data) -> store.Asked:
    """Everything that determines the result of a run, before it is begun."""
    return {
        "schema": store.SCHEMA,
        **about(subject),
        "technique": technique.name,
        "technique_version": technique.version,
        "config": dataclasses.asdict(config),
        "ablation": data.ablation,
        "samples": data.samples,
        "seed": data.seed,
        "unique": data.unique,
        "protocol": data.protocol,
    }


def problem_of(subject: Subject, data: Data) -> Problem:
    """What a technique is given: the model and inputs, and under the `paper` protocol the program's answers.

    Where the program gives no answer, nothing is scored. Raises UsageError if there are too few different inputs.
    """
    case = subject.case
    try:
        clean, corrupted = case.pairs(data.samples, data.seed, data.unique)
    except ValueError as error:
        raise UsageError(str(error)) from None
    scored, labels = scored_positions(case, clean), None
    if case.partial or data.protocol == "paper":
        reference = case.reference()
        labels = reference.outputs(torch.from_numpy(clean))
        scored &= defined(reference, labels).numpy() if case.partial else True
    return make_problem(
        subject.model,
        clean,
        corrupted,
        output=case.output,
        scored=scored,
        ablation=data.ablation,
        seed=data.seed,
        labels=labels if data.protocol == "paper" else None,
    )
