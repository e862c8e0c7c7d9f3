"""`run`: one technique on one or many cases. A case that fails is shown, and the others go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interpbench.cases.case import Case
from interpbench.cli.choose import cases, is_one
from interpbench.cli.console import print_json, print_lines, print_table, progress
from interpbench.errors import InterpbenchError, UsageError, one_line
from interpbench.processes import tune_process
from interpbench.report.comparison import summary
from interpbench.runs.run import Result
from interpbench.runs.run import run as run_one
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import HUB, UNCERTIFIED, load_subject
from interpbench.table import cell


@dataclass(frozen=True)
class Outcome:
    """What became of a case: a result for every data seed, or an error."""

    case: str
    results: tuple[Result, ...] = ()
    error: Exception | None = None

    def json(self) -> Any:
        """The content of run.json; of several runs, these and a summary; or the error."""
        if self.error:
            return {"case": self.case, "error": one_line(self.error)}
        records = [result.record for result in self.results]
        return records[0] if len(records) == 1 else {"case": self.case, "runs": records, "summary": self.summary}

    @property
    def summary(self) -> dict[str, Any]:
        """Metrics over the seeds; see `interpbench.report.tables.summary`."""
        return summary([result.record for result in self.results])


def run(
    technique: str, names: str, suite: str, model: str, settings: Mapping[str, Any], resamples: int, as_json: bool
) -> int:
    """Run, print, and return the status: 1 if a case failed. Raises InterpbenchError if a single one was asked for."""
    tune_process()
    chosen = cases(names, suite)
    subjects = [_load(case, model) for case in chosen]
    outcomes = []
    with progress(technique, len(chosen)) as update:
        for done, (case, subject) in enumerate(zip(chosen, subjects, strict=True)):
            outcomes.append(_attempt(technique, case, subject, settings, resamples))
            update(done + 1, {})
    failed = [each.error for each in outcomes if each.error]
    if is_one(names, suite):
        for error in failed:
            raise error if isinstance(error, InterpbenchError) else InterpbenchError(one_line(error))
    if as_json:
        print_json(outcomes[0].json() if is_one(names, suite) else [each.json() for each in outcomes])
    else:
        _print(technique, outcomes)
        if any(isinstance(each, Subject) and each.card.get("kind") == HUB for each in subjects):
            print_lines([UNCERTIFIED])
    return 1 if failed else 0


def _load(case: Case, model: str) -> Subject | InterpbenchError:
    """The subject, or in what way it is damaged. Raises UsageError if there is none: then nothing is run at all."""
    try:
        return load_subject(case, model)
    except UsageError:
        raise
    except InterpbenchError as error:
        return error


def _attempt(
    technique: str, case: Case, subject: Subject | InterpbenchError, settings: Mapping[str, Any], resamples: int
) -> Outcome:
    if isinstance(subject, InterpbenchError):
        return Outcome(case.name, error=subject)
    try:
        seeds = range(settings["seed"], settings["seed"] + resamples)
        return Outcome(case.name, tuple(run_one(technique, subject, **{**settings, "seed": seed}) for seed in seeds))
    except Exception as error:  # shown and counted by `run`; the runner has kept the traceback in error.txt
        return Outcome(case.name, error=error)


def _print(technique: str, outcomes: list[Outcome]) -> None:
    print_results(technique, [result for each in outcomes for result in each.results])
    added = [(each.case, *facts) for each in outcomes for result in each.results for facts in _protocol_facts(result)]
    print_table("the protocol's", ("case", "metric", "value>"), added) if added else None
    repeated = [each for each in outcomes if len(each.results) > 1]
    if repeated:
        told = [(each.case, name, numbers) for each in repeated for name, numbers in each.summary.items()]
        rows = [
            (case, name, numbers["n"], numbers["mean"], numbers["low"], numbers["high"])
            for case, name, numbers in told
            if isinstance(numbers, dict)
        ]
        print_table("over data seeds", ("case", "metric", "seeds>", "mean>", "95 % from>", "to>"), rows)
        print_lines(f"case {each.case}: Jaccard of the circuits {cell(each.summary['jaccard'])}" for each in repeated)
    print_lines([f"case {each.case} failed: {one_line(each.error)}" for each in outcomes if each.error], to="stderr")


def _protocol_facts(result: Result) -> list[tuple[str, Any]]:
    """The single numbers that a protocol adds to the ranking."""
    return [
        (f"{name}.{key}", value)
        for name in ("paper", "mib")
        for key, value in result.metrics.get(name, {}).items()
        if value is None or isinstance(value, float)
    ]


def print_results(title: str, results: Sequence[Result]) -> None:
    """The table of results, of runs or of files, one a line."""
    columns = ("case", "model", "certified", "AUROC heads>", "edges>", "nodes>", "AP heads>", "chosen>")
    print_table(title, (*columns, "TPR heads>", "FPR heads>", "seconds>", "folder"), list(map(_row, results)))


def _row(result: Result) -> list[Any]:
    record, heads = result.record, result.metrics["heads"]
    chosen = heads["chosen"] or {}
    return [
        *(record["case"], record["model"], record["certified"]),
        *(result.metrics[granularity]["auroc"] for granularity in ("heads", "edges", "nodes")),
        *(heads["average_precision"], chosen.get("size"), chosen.get("tpr"), chosen.get("fpr"), record.get("seconds")),
        result.folder,
    ]
