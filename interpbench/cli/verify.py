"""`verify`: certificates measured anew and compared with the subjects' cards."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from interpbench.cli.app import AsJson, Model, Seed, Suite, app
from interpbench.cli.choose import Choice
from interpbench.cli.console import STOPPED, Stoppable, print_json, print_lines, print_table, progress
from interpbench.cli.train import outcome

if TYPE_CHECKING:
    from interpbench.runs.verify import Check


@app.command()
def verify(
    case: Annotated[str, typer.Argument(metavar="[CASE,...]", help="Cases, with commas between.")] = "",
    suite: Suite = "",
    model: Model = "siit",
    seed: Seed = 0,
    write: Annotated[bool, typer.Option("--write", help="Write what was measured on the cards.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Measure certificates anew; status 1 if a subject is not certified or differs from its card."""
    from interpbench.runs.verify import Check
    from interpbench.runs.verify import verify as verify_one

    choice = Choice(case, suite)
    checks = [Check(each.name, model, seed, write) for each in choice.cases_with(model)]
    if choice.is_one:
        with progress("verify", [checks[0].case]) as update:
            measured = [verify_one(checks[0], lambda facts: update(checks[0].case, facts, ""))]
        errors, stopped = [], False
    else:
        measured, errors, stopped = _verify_all(checks, jobs)
    if as_json:
        print_json(measured[0] if choice.is_one else measured)
    else:
        _print(measured)
    off = [
        f"case {each['case']}: the card differs from the measurement: {'; '.join(each['off'])}"
        for each in measured
        if each["off"]
    ]
    print_lines([*off, *errors], to="stderr")
    if stopped:
        raise typer.Exit(STOPPED)
    if off or errors or not all(each["certificate"]["certified"] for each in measured):
        raise typer.Exit(1)


def _verify_all(checks: "list[Check]", jobs: int) -> tuple[list[dict[str, Any]], list[str], bool]:
    """What was measured, in the order of the checks, a line for each subject that could not be, and whether stopped."""
    from interpbench.processes import run_jobs
    from interpbench.runs.verify import verify as verify_one
    from interpbench.subjects.zoo import load_subject

    for check in checks:  # a subject that does not exist is a mistake of the command
        load_subject(check.case, check.model)
    done: dict[int, dict[str, Any]] = {}
    errors: dict[int, str] = {}
    with Stoppable() as work, progress("verify", [check.case for check in checks]) as update:
        for event in run_jobs(verify_one, checks, jobs):
            name = checks[event.item].case
            if event.error is not None:
                errors[event.item] = f"case {name} failed: {event.error}"
            elif event.ended:
                done[event.item] = event.value
            differs = event.value is not None and event.value["off"]
            update(name, event.facts, outcome(event) + ", unlike its card" * bool(differs))
    return [done[i] for i in sorted(done)], [errors[i] for i in sorted(errors)], work.stopped


def _print(measured: list[dict[str, Any]]) -> None:
    from interpbench.subjects.card import certificate_tables

    for each in measured:
        for table in certificate_tables(f"case {each['case']}, model {each['model']}", each):
            print_table(table.title, table.columns, table.rows)
