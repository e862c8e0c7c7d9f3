"""`train`: make subjects, measure their certificates, and save both."""

from __future__ import annotations

import dataclasses
import math
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interpbench.cases.case import Case
from interpbench.catalogue.facts import facts_of
from interpbench.certificate.certificate import Headline
from interpbench.errors import InterpbenchError, contained, shown
from interpbench.files import check_writable
from interpbench.plugins import registry
from interpbench.plugins.options import arguments
from interpbench.plugins.progress import ProgressEvent, notifier
from interpbench.processes import tune_process
from interpbench.subjects.card import card_numbers
from interpbench.subjects.classes import CLASSES
from interpbench.subjects.folder import check_place, read_card, save_subject
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import stored_card
from interpbench.torch_state import clean_state
from interpbench.trainers.trainer import Trainer
from interpbench.transformer.config import Config

OFTEN = 0.5
"""Seconds between two reports of a process."""


@dataclass(frozen=True)
class Asked:
    """One subject to make. `seeds`: how many seeds to try, from the configuration's own; the best one is kept.

    Without `certify` the card holds no certificate, which takes longer than a short training.
    """

    trainer: str
    case: str
    config: Any
    folder: Path
    seeds: int
    force: bool
    certify: bool = True


def make(asked: Asked, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Make a subject, save it, and return its card; of several seeds the first that is certified, or the best.

    Runs in a process of its own if there are several. Training goes on from the checkpoints beside the folder, if an
    earlier process left some. Raises UsageError if the folder exists, unless `force` is to replace it.
    """
    check_place(asked.folder, asked.force)
    tune_process()
    installed = registry.load()
    trainer, case = installed.trainer(asked.trainer), installed.case(asked.case)
    checkpoints = asked.folder.with_name(asked.folder.name + ".checkpoints")
    check_writable(checkpoints)
    shown, notify = _seldom(report), notifier(installed.listeners)
    best, seed = None, getattr(asked.config, "seed", 0)
    for tried in range(asked.seeds):
        config = dataclasses.replace(asked.config, seed=seed + tried) if tried else asked.config
        here = checkpoints / str(tried) if asked.seeds > 1 else checkpoints
        start = ProgressEvent("train", case.name, trainer.name, seed + tried)

        def progress(facts: Mapping[str, Any], start: ProgressEvent = start) -> None:
            shown(facts)
            notify(start.after(facts))

        try:
            subject = make_subject(trainer, case, config, here, progress, report if asked.certify else None)
        except OSError as error:
            raise InterpbenchError(f"{error.filename or here}: {error.strerror}; nothing was lost") from None
        came_to = card_numbers(subject.card)
        notify(start.after({**came_to, "step": came_to["steps"] or 0}, ended=True))
        if best is None or Headline.of_card(subject.card).rank > Headline.of_card(best.card).rank:
            best = subject
        if Headline.of_card(best.card).certified:
            break
    assert best is not None
    try:
        save_subject(best, asked.folder, asked.force)
    except OSError as error:
        raise InterpbenchError(f"{asked.folder}: {error.strerror}; the same command goes on from checkpoints") from None
    shutil.rmtree(checkpoints, ignore_errors=True)
    return {"case": case.name, **best.card, "weights_hash": best.weights_hash}


def stored(asked: Asked) -> dict[str, Any]:
    """The card of a subject that is there already.

    Raises InterpbenchError if it cannot be read, or is not a subject of the case as it is now.
    """
    card = read_card(asked.folder)
    if card["program_digest"] != registry.load().case(asked.case).reference().digest:
        raise InterpbenchError(
            f"{asked.folder}: a subject of another program (hash {shown(card['program_digest'])}); --force replaces it"
        )
    return card


def longest_first(asked: Sequence[Asked]) -> list[Asked]:
    """The same subjects in order of expected time, so that no process is left with a long one at the end.

    The time is what the bundled subject took by its card; where there is none, it grows with the number of weights.
    """
    installed = registry.load()
    cases = {each.case: installed.case(each.case) for each in asked}
    took = {name: _seconds(case) for name, case in cases.items()}
    if None in took.values():
        known = [(case, seconds) for case in installed.cases.values() if (seconds := _seconds(case)) is not None]
        per_weight = statistics.median([seconds / _weights(case) for case, seconds in known] or [1.0])
        took = {name: per_weight * _weights(cases[name]) if each is None else each for name, each in took.items()}
    return sorted(asked, key=lambda each: took[each.case] or 0.0, reverse=True)


def _seconds(case: Case) -> float | None:
    """Seconds that training the bundled subject took."""
    return card_numbers(stored_card(case, "siit") or {})["seconds"]


def _weights(case: Case) -> int:
    """Number of weights of the case's subject."""
    shapes = Config.from_json(facts_of(case)["shape"]).weight_shapes()
    return sum(math.prod(shape) for shape in shapes.values())


def _seldom(report: Callable[[dict[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
    """A report that is called at most every `OFTEN` seconds."""
    last = 0.0

    def tell(facts: Mapping[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last > OFTEN:
            last = time.monotonic()
            report(dict(facts))

    return tell


@clean_state()
def make_subject(
    trainer: Trainer,
    case: Case,
    config: Any,
    checkpoints: Path | None = None,
    progress: Callable[[Mapping[str, Any]], None] = lambda facts: None,
    certifying: Callable[[dict[str, Any]], None] | None = lambda facts: None,
) -> Subject:
    """Train a subject and measure its certificate; the card holds both, and the command that makes it again.

    `certifying` follows the measurement as `progress` does the training; with None nothing is measured.
    """
    from interpbench.certificate.certify import certify
    from interpbench.certificate.classify import stated_on_card

    with clean_state(getattr(config, "seed", 0)), contained(f"trainer {trainer.name}"):
        trained = trainer.train(case, config, checkpoints, progress)
    reference = case.reference()
    card: dict[str, Any] = {
        "program_digest": reference.digest,
        "trainer": {"name": trainer.name, "config": dataclasses.asdict(config), **trained.facts},
        "certificate": None,
        "command": " ".join(["interpbench", "train", trainer.name, "--case", case.name, *arguments(config)]),
    }
    if certifying is not None:
        card["certificate"] = certify(case, trained.model, trained.circuit, progress=certifying).to_json()
        card[CLASSES] = stated_on_card(case, trained.model, trained.circuit, progress=certifying)
    return Subject(case, trainer.name, trained.model, trained.circuit, reference.classes, card)
