"""`run`: one technique on one or many cases. A case that fails is shown, and the others go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interpbench.case import Case
from interpbench.commands.choose import cases, is_one
from interpbench.errors import InterpbenchError, UsageError
from interpbench.jobs import one_line
from interpbench.process import tune_process
from interpbench.runner import Result
from interpbench.runner import run as run_one
from interpbench.subjects import HUB, UNCERTIFIED, Subject, load_subject
from interpbench.tables import print_json, print_lines, print_table, progress


@dataclass(frozen=True)
class Outcome:
    """What became of a case: a result, or an error."""

    case: str
    result: Result | None = None
    error: Exception | None = None

    def json(self) -> Any:
        """The content of run.json, or the error."""
        return {"case": self.case, "error": one_line(self.error)} if self.error else self.result and self.result.record


def run(technique: str, names: str, suite: str, model: str, settings: Mapping[str, Any], as_json: bool) -> int:
    """Run, print, and return the status: 1 if a case failed. Raises InterpbenchError if a single one was asked for."""
    tune_process()
    chosen = cases(names, suite)
    subjects = [_load(case, model) for case in chosen]
    outcomes = []
    with progress(technique, len(chosen)) as update:
        for done, (case, subject) in enumerate(zip(chosen, subjects, strict=True)):
            outcomes.append(_attempt(technique, case, subject, settings))
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


def _attempt(technique: str, case: Case, subject: Subject | InterpbenchError, settings: Mapping[str, Any]) -> Outcome:
    if isinstance(subject, InterpbenchError):
        return Outcome(case.name, error=subject)
    try:
        return Outcome(case.name, run_one(technique, subject, **settings))
    except Exception as error:  # shown and counted by `run`; the runner has kept the traceback in error.txt
        return Outcome(case.name, error=error)


def _print(technique: str, outcomes: list[Outcome]) -> None:
    columns = ("case", "model", "certified", "AUROC heads>", "edges>", "nodes>", "AP heads>", "chosen>")
    rows = [_row(each.case, each.result) for each in outcomes if each.result]
    print_table(technique, (*columns, "TPR heads>", "FPR heads>", "seconds>", "folder"), rows)
    print_lines([f"case {each.case} failed: {one_line(each.error)}" for each in outcomes if each.error], to="stderr")


def _row(case: str, result: Result) -> list[Any]:
    record, heads = result.record, result.metrics["heads"]
    chosen = heads["chosen"] or {}
    return [
        *(case, record["model"], record["certified"]),
        *(result.metrics[granularity]["auroc"] for granularity in ("heads", "edges", "nodes")),
        *(heads["average_precision"], chosen.get("size"), chosen.get("tpr"), chosen.get("fpr"), record["seconds"]),
        result.folder,
    ]
