"""`train`: subjects for one case or for many."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interpbench.cli.app import AsJson, Cases, Force, Suite
from interpbench.cli.choose import Choice
from interpbench.cli.console import print_json, print_lines, print_table, progress
from interpbench.errors import UsageError

if TYPE_CHECKING:
    from interpbench.processes import Event
    from interpbench.runs.make import Asked


def train(
    trainer: str,
    config: Any,
    case: Cases = "",
    suite: Suite = "",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Default: subjects/CASE/TRAINER. For several cases: instead of subjects."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds to try; the best certificate is kept.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Number of processes, for several cases.")] = 1,
    certify: Annotated[
        bool, typer.Option("--certify/--no-certify", help="Measure the certificate; `verify --write` can do it later.")
    ] = True,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Train one case, whose folder must not exist, or several, of which existing ones are skipped.

    Checkpoints are kept beside a folder until its subject is saved: the same command continues after an interruption.
    Of several cases those that take longest come first, and a table of all ends the output. Status 1 if one failed.
    """
    from interpbench.plugins import registry
    from interpbench.runs.make import Asked

    registry.load().trainer(trainer)
    if seeds > 1 and not certify:
        raise UsageError("--seeds keeps the best certificate; leave out --no-certify")
    choice = Choice(case, suite)
    names = [each.name for each in choice.cases()]
    if choice.is_one:
        folder = out or Path("subjects") / names[0] / trainer
        _train_one(Asked(trainer, names[0], config, folder, seeds, force, certify), as_json)
        return
    root = out or Path("subjects")
    asked = [Asked(trainer, name, config, root / name / trainer, seeds, force, certify) for name in names]
    cards, kept, errors = train_many(asked, jobs, as_json)
    if as_json:
        told = [name for name in names if name not in kept]
        print_json([cards.get(case) or {"case": case, "error": errors.get(case)} for case in told])
    if errors:
        raise typer.Exit(1)


def _train_one(asked: "Asked", as_json: bool) -> None:
    from interpbench.runs.make import make
    from interpbench.subjects.card import certificate_tables

    with progress(f"train {asked.trainer}", [asked.case]) as update, redirect_stdout(sys.stderr):
        card = make(asked, lambda facts: update(asked.case, facts, ""))
    if as_json:
        print_json(card)
        return
    for table in certificate_tables(f"case {asked.case}, trained by {asked.trainer}", card):
        print_table(table.title, table.columns, table.rows)
    print_lines([f"saved in {asked.folder}; use it with --model {asked.folder}"])
    if not asked.certify:
        print_lines([f"not certified: `interpbench verify {asked.case} --model {asked.folder} --write` measures"])


def train_many(
    asked: "list[Asked]", jobs: int, as_json: bool
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]], dict[str, str]]:
    """Make the subjects that do not exist; returns their cards, those of the others, and errors, by case.

    Prints a table unless `as_json`.
    """
    from interpbench.errors import InterpbenchError
    from interpbench.runs.make import longest_first, stored
    from interpbench.subjects.folder import CARD

    fresh = [each for each in asked if each.force or not (each.folder / CARD).exists()]
    cards, errors = _make_all(longest_first(fresh), jobs)
    kept: dict[str, dict[str, Any]] = {}
    for each in asked:
        if each not in fresh:
            try:
                kept[each.case] = stored(each)
            except InterpbenchError as error:
                errors[each.case] = str(error)
    if not as_json:
        _print([each.case for each in asked], cards, kept, errors)
    return cards, kept, errors


def _make_all(asked: "list[Asked]", jobs: int) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Make the subjects in several processes; returns the cards of those that are made, and the errors, by case."""
    from interpbench.processes import run_jobs
    from interpbench.runs.make import make

    cards: dict[str, dict[str, Any]] = {}
    errors: dict[str, str] = {}
    with progress("train", [each.case for each in asked]) as update:
        for event in run_jobs(make, asked, jobs):
            case = asked[event.item].case
            if event.error:
                errors[case] = event.error
            elif event.ended:
                cards[case] = event.value
            update(case, event.facts, outcome(event))
    return cards, errors


def outcome(event: "Event") -> str:
    """In words, how a subject has ended that is trained or verified; empty if it has not."""
    from interpbench.certificate.certificate import Headline

    if event.error is not None:
        return "failed"
    certified = Headline.of_card(event.value).certified if event.ended else None
    verdicts = {True: "certified", False: "not certified", None: "trained"}
    return verdicts[certified] if event.ended else ""


def _print(
    names: list[str], cards: dict[str, dict[str, Any]], kept: dict[str, dict[str, Any]], errors: dict[str, str]
) -> None:
    """The state of all cases: what was trained now, what was there already, and what failed."""
    from interpbench.subjects.card import card_numbers, loudness

    rows, certified, seconds = [], 0, 0.0
    for name in names:
        card = cards.get(name) or kept.get(name) or {}
        numbers = card_numbers(card)
        lowest = numbers["lowest"] if numbers["met"] else None
        outcome = "failed" if name in errors else "skipped" if name in kept else "trained"
        rows.append((name, outcome, numbers["certified"], lowest, loudness(card), numbers["steps"], numbers["seconds"]))
        certified += bool(numbers["certified"])
        seconds += numbers["seconds"] or 0.0
    print_table("subjects", ("case", "", "certified", "lowest>", "loudness>", "steps>", "seconds>"), rows)
    counts = f"{certified} of {len(names)} certified, {len(errors)} failed, {len(kept)} skipped (they exist)"
    print_lines([f"{counts}; {seconds:.0f} seconds of training in all"])
    print_lines([f"case {case} failed: {error}" for case, error in errors.items()], to="stderr")
