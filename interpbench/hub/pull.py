"""Published subjects, fetched by `huggingface_hub` into its cache and converted once into ours.

One converted subject a case is kept, where `load_subject(case, "hub")` finds it; its card says which commit it is of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from huggingface_hub import HfApi, errors, hf_hub_download

from interpbench.cases.case import Case
from interpbench.errors import InterpbenchError, brief
from interpbench.files import check_writable
from interpbench.hub.errors import TRANSPORT, hub_errors, unreachable
from interpbench.hub.published import LARGEST, WEIGHTS, read_published
from interpbench.subjects.folder import WEIGHTS as OURS
from interpbench.subjects.folder import save_subject
from interpbench.subjects.zoo import HUB, stored_card, stored_folder

CONVERTER = 1
"""Rises when the same published folder becomes another subject."""


@dataclass(frozen=True)
class Repository:
    """A repository at a commit, a branch or a tag; `files` is None if the hub cannot be reached."""

    name: str
    revision: str
    files: frozenset[str] | None

    def cases(self, known: Mapping[str, Case]) -> list[Case]:
        """The known cases that it holds. Raises InterpbenchError if the hub cannot be reached."""
        if self.files is None:
            raise InterpbenchError(f"{self.name}: {unreachable()}; name the cases, those in the cache can be had")
        return [case for case in known.values() if f"{case.name}/{WEIGHTS}" in self.files]


def open_repository(name: str, revision: str) -> Repository:
    """Look up the commit and its files. Raises InterpbenchError if the repository or the revision does not exist."""
    with hub_errors(name, revision):
        try:
            found = HfApi().model_info(name, revision=revision, timeout=20)
        except errors.HfHubHTTPError:
            raise
        except (OSError, TRANSPORT):  # offline, or no network: the cache may do
            return Repository(name, revision, None)
    files = frozenset(each.rfilename for each in found.siblings or ())
    commit = found.sha or ""
    if not re.fullmatch("[0-9a-f]{40}", commit):  # it becomes the name of a folder
        raise InterpbenchError(f"{name}: the hub names no commit for {brief(revision)}")
    return Repository(name, commit, files)


def is_here(case: Case, name: str, commit: str) -> bool:
    """Whether the published subject of a case has been converted from that commit."""
    try:
        card: Mapping[str, Any] = stored_card(case, HUB) or {}
    except InterpbenchError:  # damaged: fetched again
        return False
    there = (stored_folder(case, HUB) / OURS).is_file()
    return there and _source(name, commit).items() <= (card.get("source") or {}).items()


def pull(case: Case, repository: Repository) -> bool:
    """Fetch and convert the published subject of a case; returns False if it is here already.

    Several processes may do this at once. Raises InterpbenchError for files that cannot be fetched or are not valid.
    """
    if is_here(case, repository.name, repository.revision):
        return False
    target = stored_folder(case, HUB)
    check_writable(target)
    folder, commit = _download(case, repository)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if is_here(case, repository.name, commit):
                return False
            save_subject(read_published(folder, case, _source(repository.name, commit)), target, force=True)
    except OSError as error:
        raise InterpbenchError(f"{target}: cannot be written: {error.strerror or error}") from None
    return True


def _source(name: str, commit: str) -> dict[str, Any]:
    return {"repository": name, "commit": commit, "converter": CONVERTER}


def _download(case: Case, repository: Repository) -> tuple[Path, str]:
    """The published folder in the cache of `huggingface_hub`, and the commit that it is of."""
    name, revision = repository.name, repository.revision
    wanted = [f"{case.name}/{file}" for file in LARGEST]
    if repository.files is not None and (missing := sorted(set(wanted) - repository.files)):
        raise InterpbenchError(f"{name} at {revision[:12]} has no {missing[0]}")
    only_cache = repository.files is None
    with hub_errors(name, revision):
        files = [hf_hub_download(name, file, revision=revision, local_files_only=only_cache) for file in wanted]
    folder = Path(files[0]).parent
    return folder, folder.parent.name
