"""One technique on one case, from top to bottom."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from interpbench.cases.case import Case
from interpbench.cases.pairs import scored_positions
from interpbench.cases.reference import defined
from interpbench.errors import UsageError
from interpbench.evaluation.protocols import Protocol, configure, measure
from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.plugins import checks, registry
from interpbench.problem.ablation import Ablation
from interpbench.problem.problem import Problem, make_problem
from interpbench.problem.technique import Technique
from interpbench.runs import store
from interpbench.runs.record import Conditions, Record, asked_of, digest, judged, plain
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import load_subject


@dataclass(frozen=True, eq=False)
class Result:
    """What came out: metrics by granularity, a score for every edge, the circuit chosen, and the record of it all.

    Of a run the record is all of run.json, a `Record`, and `folder` is where it is stored (None: nowhere);
    `seconds` in it is the technique's own time. Of a file that was judged it is a `Scored`.
    """

    metrics: dict[str, dict[str, Any]]
    scores: EdgeScores
    circuit: Circuit | None
    record: Mapping[str, Any]
    folder: Path | None = None


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
    conditions = Conditions(samples, seed, ablation, unique, protocol)
    method = registry.load().technique(technique) if isinstance(technique, str) else checks.checked(technique)
    config = configure(method, options, protocol) if config is None else config
    subject = case if isinstance(case, Subject) else load_subject(case, model)
    asked = asked_of(method, config, subject, conditions)
    folder = None if out is None else store.run_folder(out, asked)
    if folder is not None and not force and (stored := store.read(folder)) is not None:
        record, scores = stored
        circuit = None if record["circuit"] is None else Circuit.from_json(record["circuit"])
        return Result(record["metrics"], scores, circuit, record, folder)

    problem = problem_of(subject, conditions)
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

    record: Record = {
        **asked,
        "config": plain(asked["config"]),
        "digest": digest(asked),
        **verdict,
        "notes": plain(found.notes),
        "seconds": round(seconds, 4),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("interpbench", "torch", "numpy")},
    }
    if folder is not None:
        store.write(folder, record, found.scores, found.circuit, subject.model.config.d_model)
    return Result(verdict["metrics"], found.scores, found.circuit, record, folder)


def problem_of(subject: Subject, conditions: Conditions) -> Problem:
    """What a technique is given: the model and inputs, and under the `paper` protocol the program's answers.

    Where the program gives no answer, nothing is scored. Raises UsageError if there are too few different inputs.
    """
    case = subject.case
    try:
        clean, corrupted = case.pairs(conditions.samples, conditions.seed, conditions.unique)
    except ValueError as error:
        raise UsageError(str(error)) from None
    scored, labels = scored_positions(case, clean), None
    if case.partial or conditions.protocol == "paper":
        reference = case.reference()
        labels = reference.outputs(torch.from_numpy(clean))
        scored &= defined(reference, labels).numpy() if case.partial else True
    return make_problem(
        subject.model,
        clean,
        corrupted,
        output=case.output,
        scored=scored,
        ablation=conditions.ablation,
        seed=conditions.seed,
        labels=labels if conditions.protocol == "paper" else None,
    )
