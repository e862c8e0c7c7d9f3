"""A matrix of runs in several processes: techniques with their settings, cases, models and data seeds. Resumable.

Every run is stored in its own folder by `interpbench.runs.run`, and completed runs are skipped. The numbers therefore
do not depend on the number of processes, or on interruptions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from math import exp, log
from pathlib import Path
from statistics import fmean
from typing import Any

from interpbench.cases.case import Case
from interpbench.certificate.certificate import Headline
from interpbench.errors import InterpbenchError, UsageError
from interpbench.evaluation.protocols import configure
from interpbench.plugins import registry
from interpbench.plugins.options import parse_value
from interpbench.processes import Event, Report, run_jobs, tune_process
from interpbench.runs import run as runner
from interpbench.runs import store
from interpbench.runs.record import Conditions, run_request
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import load_subject


@dataclass(frozen=True)
class Job:
    """One run: a technique with its configuration, a case's model (a kind or a folder), and conditions.

    `folder` is the run's folder below `out`. `work` is proportional to the arithmetic of one pass over the data, times
    the number of edges of the model.
    """

    technique: str
    config: Any
    case: str
    model: str
    conditions: Conditions
    out: Path
    folder: Path
    work: float

    @property
    def is_done(self) -> bool:
        """Whether the run is complete."""
        return store.is_complete(self.folder)

    @property
    def name(self) -> str:
        """The folder's path below `out`."""
        return str(self.folder.relative_to(self.out))


@dataclass(frozen=True)
class Plan:
    """The runs of a matrix, and by model the cases left out: those without the model, and those not certified."""

    jobs: tuple[Job, ...]
    missing: Mapping[str, tuple[str, ...]]
    uncertified: Mapping[str, tuple[str, ...]]

    @property
    def to_do(self) -> list[Job]:
        """The runs that are not complete, longest first, so that no process starts a long run at the end."""
        return sorted((job for job in self.jobs if not job.is_done), key=lambda job: -job.work)


@dataclass(frozen=True)
class Matrix:
    """A matrix without its cases: techniques with a grid of settings, models, and `resamples` consecutive data seeds.

    The entries of a grid have the form `technique.option=value,value`. With `certified`, subjects that are not
    certified are left out.
    """

    techniques: Sequence[str]
    models: Sequence[str] = ("siit",)
    grid: Sequence[str] = ()
    conditions: Conditions = field(default_factory=Conditions)
    resamples: int = 1
    out: Path = Path("runs")
    certified: bool = False


def make_plan(matrix: Matrix, cases: Sequence[Case]) -> Plan:
    """All runs of a matrix on some cases. Raises UsageError for unknown names, and for a model that no case has."""
    installed = registry.load()
    methods = [installed.technique(name) for name in matrix.techniques]
    configs = _configs(methods, matrix.grid, matrix.conditions)
    subjects, missing = _subjects(cases, matrix.models)
    uncertified: dict[str, tuple[str, ...]] = {}
    for model, subject in subjects if matrix.certified else ():
        if not Headline.of_card(subject.card).certified:
            uncertified[model] = (*uncertified.get(model, ()), subject.case.name)
    jobs = {}
    for (model, subject), method in itertools.product(subjects, methods):
        if subject.case.name in uncertified.get(model, ()):
            continue
        for config, shift in itertools.product(configs[method.name], range(matrix.resamples)):
            conditions = replace(matrix.conditions, seed=matrix.conditions.seed + shift)
            folder = store.run_folder(matrix.out, run_request(method, config, subject, conditions))
            place = (subject.case.name, model, conditions, matrix.out, folder)
            jobs[folder] = Job(method.name, config, *place, _work(subject, conditions))
    return Plan(tuple(jobs.values()), missing, uncertified)


def _configs(methods: Iterable[Any], grid: Sequence[str], conditions: Conditions) -> dict[str, list[Any]]:
    choices: dict[str, dict[str, list[Any]]] = {method.name: {} for method in methods}
    for text in grid:
        place, _, values = text.partition("=")
        technique, _, field = place.partition(".")
        if technique not in choices or not field or not values:
            names = ", ".join(choices)
            raise UsageError(f"grid '{text}': expected TECHNIQUE.OPTION=VALUE,VALUE with a technique of {names}")
        config = next(method.Config for method in methods if method.name == technique)
        parsed = [parse_value(config, field, value, technique) for value in values.split(",")]
        choices[technique][parsed[0][0]] = [value for _, value in parsed]
    configs: dict[str, list[Any]] = {}
    for method in methods:
        names, values = choices[method.name].keys(), choices[method.name].values()
        made = [
            configure(method, dict(zip(names, each, strict=True)), conditions.protocol)
            for each in itertools.product(*values)
        ]
        configs[method.name] = list(dict.fromkeys(made))
    return configs


def _subjects(
    cases: Iterable[Case], models: Iterable[str]
) -> tuple[list[tuple[str, Subject]], dict[str, tuple[str, ...]]]:
    """Subjects, each with the requested model (a kind or a folder), and by model the cases that lack it."""
    subjects: list[tuple[str, Subject]] = []
    missing: dict[str, tuple[str, ...]] = {}
    errors: dict[str, UsageError] = {}
    for case, model in itertools.product(cases, models):
        try:
            subjects.append((model, load_subject(case, model)))
        except UsageError as no_subject:
            errors[model], missing[model] = no_subject, (*missing.get(model, ()), case.name)
    if absent := errors.keys() - {model for model, _ in subjects}:
        raise errors[min(absent)]
    return subjects, missing


def _work(subject: Subject, conditions: Conditions) -> float:
    config = subject.model.config
    a_pass = (
        conditions.samples * config.n_ctx * config.n_layers * config.d_model * (4 * config.d_model + 2 * config.d_mlp)
    )
    return float(a_pass * config.graph.n_edges)


def estimate(jobs: Sequence[Job], done: Sequence[Job]) -> tuple[float | None, list[str]]:
    """Estimated seconds of the jobs in one process, from finished runs, and the techniques without finished runs.

    For each technique, time is a power of the work with an exponent of at most 1, fitted to its finished runs. None if
    no technique has finished runs.
    """
    seen: dict[str, list[tuple[float, float]]] = {}
    for job in done:
        with suppress(InterpbenchError, OSError):  # a damaged run is named in the comparison
            if (stored := store.read(job.folder)) is not None:
                seen.setdefault(job.technique, []).append((log(job.work), log(stored.record["seconds"] + 1e-3)))
    unknown = sorted({job.technique for job in jobs} - seen.keys())
    known = [_fitted(seen[job.technique], log(job.work)) for job in jobs if job.technique in seen]
    return (sum(known) if known else None), unknown


def _fitted(seen: Sequence[tuple[float, float]], at: float) -> float:
    """A power law fitted to points given as logarithms, with an exponent from 0 to 1 (1 if all have the same work)."""
    x, y = (fmean(column) for column in zip(*seen, strict=True))
    spread = sum((each - x) ** 2 for each, _ in seen)
    slope = sum((a - x) * (b - y) for a, b in seen) / spread if spread else 1.0
    return exp(y + min(max(slope, 0.0), 1.0) * (at - x))


def work(job: Job, report: Report) -> dict[str, Any]:
    """Do one job in a worker process; returns its metrics and seconds."""
    tune_process()
    report({})
    conditions = asdict(job.conditions)
    result = runner.run(job.technique, job.case, job.model, **conditions, out=job.out, force=True, config=job.config)
    return {"metrics": result.metrics, "seconds": result.record["seconds"]}


def run_plan(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, Event]]:
    """Do the jobs and yield their events as they arrive. A failed job is an event; the others continue."""
    for event in run_jobs(work, jobs, processes):
        yield jobs[event.item], event
