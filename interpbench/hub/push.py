"""Upload a subject to a repository of the hub: its files, a model card, the benchmark's metadata."""

from __future__ import annotations

import json
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

from interpbench.catalogue.croissant import CROISSANT_FILE, CSV_FILE, cases_csv, croissant
from interpbench.errors import UsageError
from interpbench.hub.errors import hub_errors
from interpbench.hub.model_card import model_card
from interpbench.plugins.registry import load
from interpbench.subjects.folder import CARD, CIRCUIT, WEIGHTS
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import load_subject

README = "README.md"


def push(folder: Path, repository: str, private: bool, force: bool) -> str:
    """Upload a subject as one commit, creating the repository if it does not exist; returns the commit's address.

    Raises InterpbenchError for a damaged subject and for what the hub refuses, UsageError if files of these names are
    there already, unless `force` replaces them.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}")
    subject = load_subject(None, folder)
    files = contents(subject, folder, repository)
    with hub_errors(repository):
        hub = HfApi()
        hub.create_repo(repository, private=private, exist_ok=True)
        listed = {each.rfilename for each in hub.model_info(repository).siblings or ()}
        there = sorted({WEIGHTS, CIRCUIT, CARD, README} & listed)
        if there and not force:
            raise UsageError(f"{repository} holds {', '.join(there)}; --force replaces them")
        message = f"A subject of case {subject.case.name}"
        add = [CommitOperationAdd(name, content) for name, content in files.items()]
        return hub.create_commit(repository, add, commit_message=message).commit_url


def contents(subject: Subject, folder: Path, repository: str) -> dict[str, bytes]:
    """The files to upload, by name, for a subject that was read from a folder."""
    cases = list(load().cases.values())
    made = {
        README: model_card(subject, repository),
        CSV_FILE: cases_csv(cases),
        CROISSANT_FILE: json.dumps(croissant(cases), indent=1) + "\n",
    }
    kept = {name: (folder / name).read_bytes() for name in (WEIGHTS, CIRCUIT, CARD)}
    return kept | {name: text.encode() for name, text in made.items()}
