"""One technique on one case, from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from interpbench.cases.case import Case
from interpbench.cases.pairs import scored_positions
from interpbench.cases.reference import defined
from interpbench.errors import InterpbenchError, UsageError, contained
from interpbench.evaluation.protocols import ProtocolName, configure, protocol_metrics
from interpbench.files import check_writable
from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.graph import GRANULARITIES
from interpbench.plugins import checks, registry
from interpbench.plugins.options import check_bounds
from interpbench.problem.ablation import Ablation
from interpbench.problem.lent import lent
from interpbench.problem.problem import Problem, make_problem
from interpbench.problem.technique import Technique
from interpbench.runs import store
from interpbench.runs.record import Conditions, judgement, run_record, run_request
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import load_subject
from interpbench.table import cell
from interpbench.torch_state import clean_state
from interpbench.transformer.passes import counting


@dataclass(frozen=True, eq=False)
class Result:
    """The result of a run or of a judged file: metrics, edge scores, the chosen circuit, and a record.

    `metrics` has those of the scores by granularity (`evaluation.judge.judge`), and under `chosen` those of the circuit
    (None: the technique chose none).

    For a run, `record` is a `Record`, the content of run.json (its `seconds` is the time of the technique alone), and
    `folder` is where it is stored (None: not stored). For a judged file, `record` is a `FileJudgement` and `folder` is
    the file.
    """

    metrics: dict[str, Any]
    scores: EdgeScores
    circuit: Circuit | None
    record: Mapping[str, Any]
    folder: Path | None = None

    def __repr__(self) -> str:
        aurocs = ", ".join(f"{name} {cell(self.metrics[name]['auroc'])}" for name in GRANULARITIES)
        chosen = "no circuit" if self.circuit is None else f"{len(self.circuit.edges)} edges chosen"
        return f"Result(case {self.record['case']}, {self.record['subject']}: AUROC {aurocs}; {chosen})"


class NotStored(InterpbenchError):
    """A run was computed but could not be stored: `result` is all that there is of it."""

    def __init__(self, result: Result, folder: Path, reason: OSError) -> None:
        super().__init__(f"{folder}: the run cannot be stored: {reason.strerror}")
        self.result = result


@clean_state()
def run(
    technique: str | Technique,
    case: str | Case | Subject,
    model: str | Path = "siit",
    *,
    samples: int = 1000,
    seed: int = 0,
    ablation: Ablation = "resample",
    unique: bool = False,
    protocol: ProtocolName = "default",
    out: str | Path | None = None,
    force: bool = False,
    config: Any = None,
    **options: Any,
) -> Result:
    """Find a circuit of a case's subject (or of the subject given) and judge it against the true one.

    `technique` is the name of a plugin's technique, or a technique object. `samples` pairs of clean and corrupted
    inputs are drawn from `seed`, with distinct clean inputs if `unique`. `options` are fields of the technique's
    `Config`; or `config` is an instance of it. `protocol` adds metrics and may set options that are not given
    (`interpbench.evaluation.protocols`). With `out`, the run is stored below that folder. A complete run that is
    already stored there (of a technique of the same name and version) is read instead of run, unless `force`.

    Raises UsageError for names that do not exist, options that do not fit, and an `out` that cannot be written;
    InterpbenchError for a damaged subject or stored run and for a technique that changes its problem or exits;
    NotStored, with the result, if it could not be written in the end; and any error of the technique.
    """
    conditions = Conditions(samples, seed, ablation, unique, protocol)
    method = registry.load().technique(technique) if isinstance(technique, str) else checks.checked(technique)
    config = configure(method, options, protocol) if config is None else check_bounds(config, method.name)
    subject = case if isinstance(case, Subject) else load_subject(case, model)
    request = run_request(method, config, subject, conditions)
    folder = None if out is None else store.run_folder(out, request)
    if folder is not None and not force and (stored := store.read_of(folder, request)) is not None:
        return Result(stored.record["metrics"], stored.scores, stored.circuit, stored.record, folder)
    if folder is not None:
        check_writable(folder / store.RUN)

    problem = problem_of(subject, conditions)
    with _traceback_kept(folder):
        who = f"technique {method.name}"
        with lent(problem, who) as theirs:
            began = time.perf_counter()
            with clean_state(seed), counting() as passes, contained(who):
                found = method.discover(theirs, config)
            seconds = time.perf_counter() - began
        verdict = judgement(found, subject, problem)
        verdict["metrics"] |= protocol_metrics(protocol, problem, found, subject.circuit)
    per_row = {name: getattr(passes, name) / len(problem.clean) for name in ("forward", "backward")}
    record = run_record(request, verdict, found.notes, seconds, per_row)
    result = Result(verdict["metrics"], found.scores, found.circuit, record, folder)
    if folder is not None:
        try:
            store.write(folder, record, found.scores, found.circuit, subject.model.config.d_model)
        except OSError as error:
            raise NotStored(replace(result, folder=None), folder, error) from None
    return result


@contextmanager
def _traceback_kept(folder: Path | None) -> Iterator[None]:
    """Write the traceback of an error that is not the user's to the run's folder, and name the file in its notes."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        if folder is not None:
            with suppress(OSError):
                error.add_note(f"(traceback in {store.write_error(folder, error)})")
        raise


def problem_of(subject: Subject, conditions: Conditions) -> Problem:
    """The problem that a technique solves: the model, inputs, and under the `paper` protocol the program's answers.

    Positions without an answer of the program are not scored. Raises UsageError if there are too few distinct inputs.
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
