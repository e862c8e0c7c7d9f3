"""`train`: make a subject, measure its certificate, and save both."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from interpbench import plugins
from interpbench.case import Case
from interpbench.errors import UsageError
from interpbench.options import arguments
from interpbench.process import tune_process
from interpbench.subjects import Subject, save_subject
from interpbench.tables import certificate_rows, print_json, print_lines, print_table, progress
from interpbench.trainers import Trainer


def train(name: str, case_name: str, config: Any, folder: Path, force: bool, as_json: bool) -> None:
    """Train into `folder`, which must not exist; checkpoints stand beside it until the subject is saved."""
    if folder.exists() and not force:
        raise UsageError(f"{folder} exists; --force replaces it")
    registry = plugins.load()
    trainer, case = registry.trainer(name), registry.case(case_name)
    tune_process()
    checkpoints = folder.with_name(folder.name + ".checkpoints")
    with progress(f"train {name} on case {case.name}") as update:
        subject = make_subject(trainer, case, config, checkpoints, lambda facts: update(facts.get("step", 0), facts))
    save_subject(subject, folder, force)
    shutil.rmtree(checkpoints, ignore_errors=True)
    if as_json:
        print_json(subject.card)
        return
    print_table(f"case {case.name}, trained by {name}", ("", ""), certificate_rows(subject.card["certificate"]))
    print_lines([f"saved in {folder}; use it with --model {folder}"])


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
