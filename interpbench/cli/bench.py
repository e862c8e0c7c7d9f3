"""`bench`: a matrix of runs over processes. What is complete is not done again; a failure does not stop the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interpbench.cli.choose import cases
from interpbench.cli.console import live_table, print_json, print_lines, print_table
from interpbench.errors import UsageError
from interpbench.plugins import registry
from interpbench.plugins.progress import ProgressEvent, notifier
from interpbench.report import formats
from interpbench.report.comparison import compare
from interpbench.report.runs import Failure, read_folders
from interpbench.runs import bench
from interpbench.runs.bench import Job, Matrix, Plan
from interpbench.subjects.zoo import HUB, UNCERTIFIED


def run(names: str, suite: str, matrix: Matrix, jobs: int, force: bool, dry_run: bool, as_json: bool) -> int:
    """Plan, run, compare, print; the status is 1 if a run failed."""
    if not matrix.techniques or not matrix.models:
        raise UsageError("name --techniques and --models, with commas between")
    plan = bench.make_plan(matrix, cases(names, suite))
    to_do = sorted(plan.jobs, key=lambda job: -job.work) if force else plan.to_do
    lines = _announce(plan, to_do, jobs)
    if dry_run:
        _print_plan(plan, to_do, lines, as_json)
        return 0
    print_lines(lines, to="stderr")
    failures = _run(plan, to_do, jobs)
    runs = read_folders(job.folder for job in plan.jobs)
    told = compare(runs, METRIC[matrix.conditions.protocol])
    if as_json:
        content = {**told.to_json(), "failures": [vars(each) for each in failures], **_left_out(plan)}
        print_json({key: value for key, value in content.items() if key != "seconds"})
    else:
        for table in formats.tables(told, failures, timed=False):
            print_table(table.title, table.columns, table.rows)
        print_lines([f"`interpbench report {matrix.out}` says more, and draws"])
    return 1 if failures else 0


METRIC = {"default": "heads.auroc", "paper": "paper.area", "mib": "mib.cpr"}
"""What the final table is about, by protocol."""


def _announce(plan: Plan, to_do: Sequence[Job], jobs: int) -> list[str]:
    count = {what: len({getattr(job, what) for job in plan.jobs}) for what in ("case", "model", "config")}
    lines = [
        f"{len(plan.jobs)} runs: {count['case']} cases, {count['model']} models, {count['config']} techniques and "
        f"settings; {len(plan.jobs) - len(to_do)} are there already"
    ]
    lines += [f"no {model} model, left out: {', '.join(names)}" for model, names in plan.missing.items()]
    lines += [f"not certified, left out: {', '.join(names)} ({model})" for model, names in plan.uncertified.items()]
    lines += [UNCERTIFIED] if any(job.model == HUB for job in plan.jobs) else []
    if not to_do:
        return lines
    remaining = set(to_do)
    seconds, unknown = bench.estimate(to_do, [job for job in plan.jobs if job not in remaining])
    if seconds is not None:
        lines.append(f"about {_duration(seconds / jobs)} in {jobs} processes, judged by runs that are there")
    if unknown:
        lines.append(f"no run of {', '.join(unknown)} to judge the time by")
    return lines


def _left_out(plan: Plan) -> dict[str, Any]:
    return {"missing": dict(plan.missing), "uncertified": dict(plan.uncertified)}


def _print_plan(plan: Plan, to_do: Sequence[Job], lines: Sequence[str], as_json: bool) -> None:
    remaining = set(to_do)
    rows = [(job.name, "to do" if job in remaining else "done") for job in plan.jobs]
    if as_json:
        print_json({"runs": [{"run": name, "state": state} for name, state in rows], **_left_out(plan)})
        return
    print_lines(lines)
    print_table("plan", ("run", "state"), rows)


def _run(plan: Plan, to_do: Sequence[Job], jobs: int) -> list[Failure]:
    """Do the jobs under a live table, one line for each technique and model; returns the failures in plan's order."""
    failures: dict[Job, Failure] = {}
    lines = {_line(job): [0, 0, 0, []] for job in plan.jobs}
    for job in plan.jobs:
        lines[_line(job)][0] += 1
    for job in set(plan.jobs) - set(to_do):
        lines[_line(job)][1] += 1
    with live_table(("technique", "model", "runs>", "done>", "failed>", "mean AUROC heads>")) as show:
        notify, ended = notifier(registry.load().listeners), 0
        for job, event in bench.run_plan(to_do, jobs):
            line = lines[_line(job)]
            ended += event.ended
            if event.error is not None:
                failures[job] = Failure(job.name, event.error)
                line[2] += 1
            elif event.ended:
                line[1] += 1
                line[3].append(event.value["metrics"]["heads"]["auroc"])
                news = ProgressEvent("bench", job.case, job.technique, job.conditions.seed, ended, len(to_do))
                notify(news.after(event.value["metrics"], ended=True))
            show([(*name, *counts[:3], _mean(counts[3])) for name, counts in lines.items()])
    return [failures[job] for job in plan.jobs if job in failures]


def _line(job: Job) -> tuple[str, str]:
    return job.technique, job.model


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
