"""`run`: one technique on one or many cases. A case that fails is reported, and the others continue."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from interpbench.cli.app import (
    Ablation,
    AsJson,
    Cases,
    Force,
    Model,
    Protocol,
    Resamples,
    Runs,
    Samples,
    Seed,
    Suite,
    Unique,
)
from interpbench.cli.choose import Choice
from interpbench.cli.console import (
    STOPPED,
    Stoppable,
    print_json,
    print_lines,
    print_prose,
    print_table,
    progress,
)
from interpbench.errors import InterpbenchError, UsageError, contained, one_line
from interpbench.table import cell

if TYPE_CHECKING:
    from interpbench.cases.case import Case
    from interpbench.runs.run import Result
    from interpbench.subjects.subject import Subject


def run(
    technique: str,
    config: Any,
    context: typer.Context,
    case: Cases = "",
    suite: Suite = "",
    model: Model = "siit",
    samples: Samples = 1000,
    seed: Seed = 0,
    resamples: Resamples = 1,
    ablation: Ablation = "resample",
    unique: Unique = False,
    protocol: Protocol = "default",
    out: Runs = Path("runs"),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Run a technique; status 1 if a case failed. Raises InterpbenchError if it was the only case."""
    conditions = {"samples": samples, "ablation": ablation, "unique": unique, "protocol": protocol}
    options = {name: value for name, value in vars(config).items() if _was_typed(context, name)}
    settings = {**conditions, "out": out, "force": force, **options}
    choice = Choice(case, suite)
    outcomes: list[Outcome] = []
    with Stoppable() as work:
        for outcome in _attempts(technique, choice.cases_with(model), model, range(seed, seed + resamples), settings):
            outcomes.append(outcome)
    if work.stopped and not outcomes:
        raise typer.Exit(STOPPED)
    failed = [each.error for each in outcomes if each.error]
    if failed and choice.is_one and not outcomes[0].results:
        error = failed[0]
        raise error if isinstance(error, InterpbenchError) else InterpbenchError(one_line(error))
    if as_json:
        print_json(outcomes[0].json() if choice.is_one else [each.json() for each in outcomes])
    else:
        _print(technique, outcomes)
    if failed or work.stopped:
        raise typer.Exit(STOPPED if work.stopped else 1)


def _was_typed(context: typer.Context, option: str) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"


class Outcome(NamedTuple):
    """The outcome for a case: a result for every data seed, or an error. Results that could not be stored have both."""

    case: str
    results: "tuple[Result, ...]" = ()
    error: Exception | None = None
    published: bool = False
    """Whether the subject is one from the hub, without a certificate."""

    def json(self) -> Any:
        """The content of run.json; for several seeds, all of them and a summary; or the error."""
        told = {"error": one_line(self.error)} if self.error else {}
        records = [result.record for result in self.results]
        if not records:
            return {"case": self.case, **told}
        several = {"case": self.case, "runs": records, "summary": self.summary} if len(records) > 1 else records[0]
        return {**several, **told}

    @property
    def summary(self) -> dict[str, Any]:
        """Metrics over the seeds; see `interpbench.report.comparison.summary`."""
        from interpbench.report.comparison import summary

        return summary([result.record for result in self.results])


def _attempts(
    technique: str, cases: "list[Case]", model: str, seeds: range, settings: Mapping[str, Any]
) -> Iterator[Outcome]:
    """Run all cases. Raises UsageError if a subject does not exist: then nothing is run."""
    from interpbench.processes import tune_process

    tune_process()
    subjects = [_load(case, model) for case in cases]
    with progress(technique, [case.name for case in cases]) as update:
        for case, subject in zip(cases, subjects, strict=True):
            update(case.name, None, "")
            outcome = _attempt(technique, case, subject, seeds, settings)
            update(case.name, None, "failed" if outcome.error else "done")
            yield outcome


def _load(case: "Case", model: str) -> "Subject | InterpbenchError":
    """The subject, or how it is damaged. Raises UsageError if there is none."""
    from interpbench.subjects.zoo import load_subject

    try:
        return load_subject(case, model)
    except UsageError:
        raise
    except InterpbenchError as error:
        return error


def _attempt(
    technique: str, case: "Case", subject: "Subject | InterpbenchError", seeds: range, settings: Mapping[str, Any]
) -> Outcome:
    from interpbench.runs.run import NotStored
    from interpbench.runs.run import run as run_one
    from interpbench.subjects.zoo import HUB

    if isinstance(subject, InterpbenchError):
        return Outcome(case.name, error=subject)
    published = subject.card.get("kind") == HUB
    results, unstored = [], None
    for seed in seeds:
        try:
            with redirect_stdout(sys.stderr), contained(f"the code of case {case.name}"):  # stdout is for results
                results.append(run_one(technique, subject, **settings, seed=seed))
        except NotStored as error:
            results.append(error.result)
            unstored = error
        except Exception as error:  # reported by `run`; the traceback is kept in error.txt
            return Outcome(case.name, error=error, published=published)
    return Outcome(case.name, tuple(results), unstored, published)


def _print(technique: str, outcomes: list[Outcome]) -> None:
    from interpbench.subjects.zoo import UNCERTIFIED

    results = [result for each in outcomes for result in each.results]
    print_results(technique, results)
    print_protocol(results)
    repeated = [each for each in outcomes if len(each.results) > 1]
    if repeated:
        _print_summaries(repeated)
    print_lines([f"case {each.case} failed: {one_line(each.error)}" for each in outcomes if each.error], to="stderr")
    if any(each.published for each in outcomes):
        print_lines([UNCERTIFIED])


def _print_summaries(repeated: list[Outcome]) -> None:
    """Means over the data seeds, and how similar the circuits are."""
    summaries = {each.case: each.summary for each in repeated}
    rows = [
        (case, name, numbers["n"], numbers["mean"], numbers["low"], numbers["high"])
        for case, summary in summaries.items()
        for name, numbers in summary.items()
        if isinstance(numbers, dict)
    ]
    print_table("over data seeds", ("case", "metric", "seeds>", "mean>", "95 % from>", "to>"), rows)
    print_lines(
        f"case {case}: Jaccard of the circuits {cell(summary['jaccard'])}" for case, summary in summaries.items()
    )


def print_protocol(results: "Sequence[Result]") -> None:
    """The table of what a protocol added, if it added anything."""
    added = [(result.record["case"], *facts) for result in results for facts in _protocol_facts(result)]
    if added:
        print_table("metrics of the protocol", ("case", "metric", "value>"), added)


def _protocol_facts(result: "Result") -> list[tuple[str, Any]]:
    """The single numbers that a protocol adds to the ranking."""
    return [
        (f"{name}.{key}", value)
        for name in ("paper", "mib")
        for key, value in result.metrics.get(name, {}).items()
        if value is None or isinstance(value, float)
    ]


def print_results(title: str, results: "Sequence[Result]") -> None:
    """Tables of the scores and of the chosen circuits, a result a line; results come from runs or from files.

    "ident." is over what the ablation can see, "constr." over all true edges.
    """
    columns = ("case", "model", "certified", "ident. heads>", "ident. edges>", "constr. heads>", "constr. edges>")
    columns += ("seconds>",)
    print_table(f"{title}: AUROC", columns, list(map(_scores, results)))
    if chosen := [_chosen(each) for each in results if each.metrics["chosen"]]:
        columns = ("case", "edges>", "false>", "smallest known>", "core found>", "answers kept>", "exact")
        print_table(f"{title}: the chosen circuit", columns, chosen)
    print_prose(_remarks(results))
    if len(results) == 1 and "digest" in results[0].record and results[0].folder is not None:
        print_lines([f"stored in {results[0].folder}"])


def _scores(result: "Result") -> list[Any]:
    from interpbench.certificate.certificate import VERSION

    record, version = result.record, result.record["certificate_version"]
    seen = [result.metrics[granularity]["identifiable"] or {} for granularity in ("heads", "edges")]
    return [
        *(record["case"], record["subject"]),
        record["certified"] if version in (None, VERSION) else f"version {version}",
        *(each.get("auroc") for each in seen),
        *(result.metrics[granularity]["auroc"] for granularity in ("heads", "edges")),
        record.get("seconds"),
    ]


def _chosen(result: "Result") -> list[Any]:
    chosen = result.metrics["chosen"]
    numbers = ("edges", "false_edges", "smallest", "core_found", "accuracy", "exact")
    return [result.record["case"], *(chosen[name] for name in numbers)]


def _remarks(results: "Sequence[Result]") -> list[str]:
    """Why numbers are missing."""
    return [
        f"case {each.record['case']}: under {each.record['ablation']} the true circuit alone keeps "
        f"{each.record['bare']:.3f} of the answers, so nothing is identifiable"
        for each in results
        if each.record["edge_classes"] is None
    ]
