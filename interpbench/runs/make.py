"""`train`: make subjects, measure their certificates, and save both."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interpbench import plugins
from interpbench.case import Case
from interpbench.commands.choose import cases, is_one
from interpbench.commands.inventory import card_numbers
from interpbench.errors import InterpbenchError, UsageError
from interpbench.events import ProgressEvent, notifier
from interpbench.jobs import run_jobs
from interpbench.options import arguments
from interpbench.process import tune_process
from interpbench.stored import CARD
from interpbench.subjects import Subject, save_subject
from interpbench.tables import certificate_rows, print_json, print_lines, print_table, progress, progress_of_many
from interpbench.trainers import Trainer

OFTEN = 0.5
"""Seconds between two reports of a process."""


@dataclass(frozen=True)
class Asked:
    """One subject to make. `seeds`: how many seeds to try, from the configuration's own; the best one is kept."""

    trainer: str
    case: str
    config: Any
    folder: Path
    seeds: int
    force: bool


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
    plugins.load().trainer(name)
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


def make(asked: Asked, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Make a subject, save it, and return its card; of several seeds the first that is certified at edges, or the best.

    Runs in a process of its own if there are several.
    """
    tune_process()
    registry = plugins.load()
    trainer, case = registry.trainer(asked.trainer), registry.case(asked.case)
    checkpoints = asked.folder.with_name(asked.folder.name + ".checkpoints")
    shown, notify = _seldom(report), notifier(registry.listeners)
    best, seed = None, getattr(asked.config, "seed", 0)
    for tried in range(asked.seeds):
        config = dataclasses.replace(asked.config, seed=seed + tried) if tried else asked.config
        here = checkpoints / str(tried) if asked.seeds > 1 else checkpoints
        start = ProgressEvent("train", case.name, trainer.name, seed + tried)

        def progress(facts: Mapping[str, Any], start: ProgressEvent = start) -> None:
            shown(facts)
            notify(start.after(facts))

        try:
            subject = make_subject(trainer, case, config, here, progress)
        except OSError as error:
            raise InterpbenchError(f"{error.filename or here}: {error.strerror}; nothing was lost") from None
        came_to = card_numbers(subject.card)
        notify(start.after({**came_to, "step": came_to["steps"] or 0}, ended=True))
        if best is None or _rank(subject) > _rank(best):
            best = subject
        if best.card["certificate"]["certified_edges"]:
            break
    assert best is not None
    save_subject(best, asked.folder, asked.force)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return {"case": case.name, **best.card, "weights_hash": best.weights_hash}


def _rank(subject: Subject) -> tuple[Any, ...]:
    told = subject.card["certificate"]
    lowest = min(told[key] for key in ("accuracy", "iia_min", "strict_min", "edges"))
    return told["certified_edges"], told["certified"], lowest


def _seldom(report: Callable[[dict[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
    """A report that passes on what it is told now and then only."""
    last = 0.0

    def tell(facts: Mapping[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last > OFTEN:
            last = time.monotonic()
            report(dict(facts))

    return tell


def make_subject(
    trainer: Trainer,
    case: Case,
    config: Any,
    checkpoints: Path | None = None,
    progress: Callable[[Mapping[str, Any]], None] = lambda facts: None,
) -> Subject:
    """Train a subject and measure its certificate; the card tells both, and the command that makes it again."""
    from interpbench.certificate import certify

    trained = trainer.train(case, config, checkpoints, progress)
    reference = case.reference()
    card = {
        "program_digest": reference.digest,
        "trainer": {"name": trainer.name, "config": dataclasses.asdict(config), **trained.facts},
        "certificate": certify(case, trained.model, trained.circuit),
        "command": " ".join(["interpbench", "train", trainer.name, "--case", case.name, *arguments(config)]),
    }
    return Subject(case, trainer.name, trained.model, trained.circuit, reference.classes, card)
