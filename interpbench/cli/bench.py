"""`bench`: a matrix of runs over processes. Completed runs are skipped; a failing run does not stop the others."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interpbench.cli.app import (
    Ablation,
    AsJson,
    Cases,
    Force,
    Protocol,
    Resamples,
    Runs,
    Samples,
    Seed,
    Suite,
    Unique,
    app,
)
from interpbench.cli.choose import Choice, split
from interpbench.cli.comparison import print_comparison
from interpbench.cli.console import STOPPED, Stoppable, live_table, print_json, print_lines, print_table
from interpbench.errors import UsageError

if TYPE_CHECKING:
    from interpbench.processes import Event
    from interpbench.report.folders import Failure
    from interpbench.runs.bench import Job, Plan

METRIC = {"default": "heads.identifiable.auroc", "paper": "paper.area", "mib": "mib.cpr"}
"""The metric of the final table, by protocol."""


@app.command()
def bench(
    techniques: Annotated[str, typer.Option(metavar="NAME,...", help="Techniques, with commas between.")],
    case: Cases = "",
    suite: Suite = "",
    models: Annotated[
        str,
        typer.Option(metavar="MODEL,...", help="Models; in a folder, such as `mine/{case}/siit`, {case} is the case."),
    ] = "siit",
    grid: Annotated[
        list[str] | None, typer.Option(metavar="TECHNIQUE.OPTION=VALUE,...", help="Values of an option to run with.")
    ] = None,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[TECHNIQUE.OPTION=VALUE,...]", help="More of the grid.")
    ] = None,
    samples: Samples = 1000,
    seed: Seed = 0,
    resamples: Resamples = 1,
    ablation: Ablation = "resample",
    unique: Unique = False,
    protocol: Protocol = "default",
    jobs: Annotated[int, typer.Option(min=1, help="Number of processes.")] = os.cpu_count() or 1,
    out: Runs = Path("runs"),
    certified: Annotated[bool, typer.Option("--certified", help="Leave out subjects without a certificate.")] = False,
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be run, and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run techniques on many cases in several processes, and compare them. Completed runs are skipped."""
    from interpbench.files import check_writable
    from interpbench.runs.bench import Matrix, make_plan
    from interpbench.runs.record import Conditions

    methods, kinds = tuple(split(techniques)), tuple(split(models))
    if not methods or not kinds:
        raise UsageError("name --techniques and --models, with commas between")
    conditions = Conditions(samples, seed, ablation, unique, protocol)
    matrix = Matrix(methods, kinds, (*(grid or ()), *(more or ())), conditions, resamples, out, certified)
    plan = make_plan(matrix, Choice(case, suite).cases())
    to_do = sorted(plan.jobs, key=lambda job: -job.work) if force else plan.to_do
    lines = _announce(plan, to_do, jobs)
    if dry_run:
        _print_plan(plan, to_do, lines, as_json)
        return
    print_lines(lines, to="stderr")
    if to_do:
        check_writable(to_do[0].folder)
    failures, stopped = _run(plan, to_do, jobs)
    failures += _print(plan, out, failures, METRIC[protocol], as_json)
    if not as_json:
        print_lines([f"for all tables and figures: `interpbench report {out}`"])
    if failures or stopped:
        raise typer.Exit(STOPPED if stopped else 1)


def _announce(plan: "Plan", to_do: "Sequence[Job]", jobs: int) -> list[str]:
    """What is going to be run, what is left out, and how long it may take."""
    from interpbench.runs.bench import estimate
    from interpbench.subjects.zoo import HUB, UNCERTIFIED

    count = {what: len({getattr(job, what) for job in plan.jobs}) for what in ("case", "model")}
    methods = len({(job.technique, job.config) for job in plan.jobs})
    lines = [
        f"{len(plan.jobs)} runs: {count['case']} cases, {count['model']} models, {methods} techniques and "
        f"settings; {len(plan.jobs) - len(to_do)} completed already"
    ]
    lines += [f"no {model} model, left out: {', '.join(names)}" for model, names in plan.missing.items()]
    lines += [f"not certified, left out: {', '.join(names)} ({model})" for model, names in plan.uncertified.items()]
    lines += [UNCERTIFIED] if any(job.model == HUB for job in plan.jobs) else []
    if not to_do:
        return lines
    remaining = set(to_do)
    seconds, unknown = estimate(to_do, [job for job in plan.jobs if job not in remaining])
    if seconds is not None:
        took = f"{_duration(seconds / jobs)} in {jobs} processes"
        lines.append(f"the techniques alone may take {took}, by completed runs of them")
    if unknown:
        lines.append(f"no completed run of {', '.join(unknown)} to estimate the time from")
    return lines


def _left_out(plan: "Plan") -> dict[str, Any]:
    return {"missing": dict(plan.missing), "uncertified": dict(plan.uncertified)}


def _print_plan(plan: "Plan", to_do: "Sequence[Job]", lines: Sequence[str], as_json: bool) -> None:
    remaining = set(to_do)
    rows = [(job.name, "to do" if job in remaining else "done") for job in plan.jobs]
    if as_json:
        print_json({"runs": [{"run": name, "state": state} for name, state in rows], **_left_out(plan)})
        return
    print_lines(lines)
    print_table("plan", ("run", "state"), rows)


def _print(plan: "Plan", out: Path, failures: "list[Failure]", metric: str, as_json: bool) -> "list[Failure]":
    """Compare all runs of the plan, without their times: the output is the same however often bench is started.

    Returns the failures of reading: damaged runs.
    """
    from interpbench.report.comparison import compare
    from interpbench.report.formats import as_json as plain
    from interpbench.report.runs import read_folders

    runs, damaged = read_folders({job.folder: job.model for job in plan.jobs}, out)
    comparison = compare(runs, metric)
    if as_json:
        content = {**plain(comparison, [*failures, *damaged]), **_left_out(plan)}
        print_json({key: value for key, value in content.items() if key != "seconds"})
    else:
        print_comparison(comparison, [*failures, *damaged], timed=False)
    return damaged


def _run(plan: "Plan", to_do: "Sequence[Job]", jobs: int) -> "tuple[list[Failure], bool]":
    """Do the jobs under a live table; returns the failures in the order of the plan, and whether it was stopped."""
    from interpbench.plugins import registry
    from interpbench.plugins.progress import ProgressEvent, notifier
    from interpbench.report.folders import Failure
    from interpbench.runs.bench import run_plan

    failures: dict[Job, Failure] = {}
    lines = _lines(plan, to_do)
    columns = ("technique", "model", "runs>", "done>", "failed>", "mean AUROC heads, identifiable>")
    with Stoppable() as work, live_table(columns) as show:
        notify, ended, state, began = notifier(registry.load().listeners), 0, "", time.monotonic()
        for job, event in run_plan(to_do, jobs):
            lines[job.technique, job.model].add(event)
            ended += event.ended
            if event.error is not None:
                failures[job] = Failure(job.name, event.error)
            elif event.ended:
                news = ProgressEvent("bench", job.case, job.technique, job.conditions.seed, ended, len(to_do))
                notify(news.after(event.value["metrics"], ended=True))
            if event.ended:
                left = (time.monotonic() - began) / ended * (len(to_do) - ended)
                outcome = "done" if event.error is None else "failed"
                state = f"{job.name}: {outcome}; {ended} of {len(to_do)} runs, {_duration(left)} left"
            show([(*name, *line.cells) for name, line in lines.items()], state)
    return [failures[job] for job in plan.jobs if job in failures], work.stopped


class _Line:
    """A line of the live table: how far the runs of one technique on one model are."""

    def __init__(self) -> None:
        self.runs = self.done = self.failed = 0
        self.aurocs: list[float] = []

    def add(self, event: "Event") -> None:
        """Count a run that has ended."""
        from interpbench.report.runs import number

        if event.error is not None:
            self.failed += 1
        elif event.ended:
            self.done += 1
            auroc = number(event.value, METRIC["default"])
            self.aurocs += [] if auroc is None else [auroc]

    @property
    def cells(self) -> tuple[Any, ...]:
        """Numbers of runs, of those done and failed, and the mean AUROC of those done in this call."""
        return self.runs, self.done, self.failed, sum(self.aurocs) / len(self.aurocs) if self.aurocs else None


def _lines(plan: "Plan", to_do: "Sequence[Job]") -> dict[tuple[str, str], _Line]:
    """A line for each technique and model of the plan."""
    lines: dict[tuple[str, str], _Line] = {}
    remaining = set(to_do)
    for job in plan.jobs:
        line = lines.setdefault((job.technique, job.model), _Line())
        line.runs += 1
        line.done += job not in remaining
    return lines


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"about {seconds:.0f} s" if seconds >= 1 else "less than 1 s"
    return f"about {seconds / 60:.0f} min"
