"""`train`: subjects for one case or many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interpbench.cli.choose import cases, is_one
from interpbench.cli.console import print_json, print_lines, print_table, progress, progress_of_many
from interpbench.errors import UsageError
from interpbench.plugins import registry
from interpbench.processes import run_jobs
from interpbench.runs.make import Asked, make
from interpbench.subjects.card import card_numbers, certificate_rows
from interpbench.subjects.folder import CARD


@dataclass(frozen=True)
class Settings:
    """What is the same for all cases."""

    config: Any
    out: Path | None
    seeds: int
    jobs: int
    force: bool


def train(name: str, names: str, suite: str, settings: Settings, as_json: bool) -> int:
    """Train one case into a folder that must not exist, or several, of which those that exist are skipped.

    Checkpoints stand beside a folder until its subject is saved. The status is 1 if a case failed.
    """
    registry.load().trainer(name)
    chosen = cases(names, suite)
    if is_one(names, suite):
        folder = settings.out or Path("subjects") / chosen[0].name / name
        asked = Asked(name, chosen[0].name, settings.config, folder, settings.seeds, settings.force)
        if folder.exists() and not settings.force:
            raise UsageError(f"{folder} exists; --force replaces it")
        with progress(f"train {name} on case {asked.case}") as update:
            card = make(asked, lambda facts: update(facts.get("step", 0), facts))
        _print_one(asked, card, as_json)
        return 0
    root = settings.out or Path("subjects")
    all_asked = [
        Asked(name, case.name, settings.config, root / case.name / name, settings.seeds, settings.force)
        for case in chosen
    ]
    return _train_many(all_asked, settings.jobs, as_json)


def _train_many(asked: list[Asked], jobs: int, as_json: bool) -> int:
    fresh = [each for each in asked if each.force or not (each.folder / CARD).exists()]
    cards: dict[str, Any] = {}
    errors: dict[str, str] = {}
    with progress_of_many("train", [each.case for each in fresh]) as update:
        for event in run_jobs(make, fresh, jobs):
            case = fresh[event.item].case
            if event.error:
                errors[case] = event.error
            elif event.ended:
                cards[case] = event.value
            update(case, event.facts, event.ended)
    skipped = [each.case for each in asked if each not in fresh]
    if as_json:
        print_json([cards.get(each.case) or {"case": each.case, "error": errors.get(each.case)} for each in fresh])
        return 1 if errors else 0
    rows = [{"case": case, **card_numbers(card)} for case, card in cards.items()]
    print_table("trained", list(rows[0]) if rows else ["case"], [list(row.values()) for row in rows])
    if skipped:
        print_lines([f"there already: {', '.join(skipped)}"])
    print_lines([f"case {case} failed: {error}" for case, error in errors.items()], to="stderr")
    return 1 if errors else 0


def _print_one(asked: Asked, card: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(card)
        return
    print_table(f"case {asked.case}, trained by {asked.trainer}", ("", ""), certificate_rows(card["certificate"]))
    print_lines([f"saved in {asked.folder}; use it with --model {asked.folder}"])
