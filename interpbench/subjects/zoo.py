"""Stored subjects by name: which exist, where they are, and their cards, without reading weights or PyTorch.

A subject on disk is a folder of three files: `weights.safetensors` (TransformerLens's names; the model's `Config` in
the metadata), `circuit.json` (its true circuit) and `card.json` (how it was made and what was measured on it). The
bundled ones are in `zoo/<case>/<kind>/`, published ones (`interpbench hub pull`) in the cache.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from interpbench.cases.case import Case
from interpbench.certificate.certificate import Headline
from interpbench.errors import UsageError, unknown
from interpbench.files import cache_folder
from interpbench.plugins import registry
from interpbench.subjects.card import CARD_SCHEMA, HUB
from interpbench.subjects.folder import CARD, WEIGHTS, read_card, read_subject
from interpbench.subjects.subject import Subject, weights_hash
from interpbench.torch_state import clean_state

ZOO = Path(__file__).parents[1] / "zoo"
COMPILED = "tracr"
"""The model that is a case's compiled reference itself."""
UNCERTIFIED = "Published subjects are not certified; `interpbench verify CASE --model MODEL` measures what holds."


def models(case: Case) -> list[str]:
    """Names that `load_subject` knows for a case: the bundled kinds, the published subject if it has been pulled, and
    the compiled reference if it has one.
    """
    bundled = sorted(path.parent.name for path in (ZOO / case.name).glob(f"*/{WEIGHTS}"))
    pulled = [HUB] if (stored_folder(case, HUB) / WEIGHTS).is_file() else []
    return sorted(bundled, key=lambda kind: kind != "siit") + pulled + ([COMPILED] if case.compiled else [])


def bundled(name: str) -> bool:
    """Whether a case of that name has a bundled SIIT subject."""
    return (ZOO / name / "siit" / WEIGHTS).is_file()


def stored_folder(case: Case, model: str) -> Path:
    """The folder of the subject of that name, which may not exist."""
    return cache_folder() / HUB / case.name if model == HUB else ZOO / case.name / model


def folder_of(case: Case, model: str) -> Path | None:
    """The folder that `load_subject` reads; None for the compiled reference."""
    if model in models(case):
        return None if model == COMPILED else stored_folder(case, model)
    return _own_folder(case, model)


def is_there(case: Case, model: str) -> bool:
    """Whether a case has a model of that name, or a folder that it names."""
    folder = folder_of(case, model)
    return folder is None or folder.is_dir()


def _own_folder(case: Case | None, model: str | Path) -> Path:
    """A folder that is not bundled; `{case}` in its name stands for the case's, one name for the folders of a suite."""
    return Path(model) if case is None else Path(str(model).replace("{case}", case.name))


_bundled_card = functools.cache(read_card)


def stored_card(case: Case, model: str) -> dict[str, Any] | None:
    """The card of a bundled or pulled subject, None if there is none or it has no card (the compiled reference).

    Raises InterpbenchError if it is damaged.
    """
    folder = stored_folder(case, model)
    if not (folder / CARD).exists():
        return None
    return read_card(folder) if model == HUB else _bundled_card(folder)


def is_certified(case: Case) -> bool:
    """Whether the bundled SIIT subject of a case is certified, by its card."""
    return bool(Headline.of_card(stored_card(case, "siit") or {}).certified)


@clean_state()
def load_subject(case: str | Case | None, model: str | Path = "siit") -> Subject:
    """The subject `model` of a case: a bundled kind, `hub` for the published one, `tracr` for the compiled reference,
    or a folder, in whose name `{case}` stands for the case's.

    For a folder the case may be None: its card names it. A published subject's case is the published form. Raises
    UsageError for a model that does not exist or does not belong to the case, InterpbenchError for a damaged folder,
    MissingExtra where the reference cannot be compiled.
    """
    if isinstance(case, str):
        case = registry.load_case(case)
    if case is not None and str(model) in models(case):
        if str(model) == COMPILED:
            return _compiled(case)
        return read_subject(stored_folder(case, str(model)), case, str(model))
    folder = _own_folder(case, model)
    if not folder.is_dir():
        raise UsageError(_missing(case, str(folder)))
    return replace(read_subject(folder, case, "custom"), name=str(Path(model)))


def _missing(case: Case | None, model: str) -> str:
    if case is None:
        return f"no folder {model}"
    if model == HUB:
        fetch = f"`interpbench hub pull {case.name}` fetches it, `interpbench hub pull` all"
        return f"the published subject of case {case.name} is not here; {fetch}"
    known = models(case)
    there = f"there are: {', '.join(known)}" if known else "none is bundled"
    if model in registry.load().trainers:
        make = f"interpbench train {model} --case {case.name} --out FOLDER"
        return f"case {case.name} has no bundled subject '{model}' ({there}); `{make}` makes one for --model FOLDER"
    return f"case {case.name}: {unknown('model or folder', model, known)}; {there}"


def _compiled(case: Case) -> Subject:
    reference: Any = case.reference()
    card = {"schema": CARD_SCHEMA, "case": case.name, "kind": COMPILED, "program_digest": reference.digest}
    card |= {"classes": reference.classes, "weights_hash": weights_hash(reference.model)}
    itself = reference.unaligned
    case = replace(case, reference=lambda: itself)
    return Subject(case, COMPILED, reference.model, reference.true_circuit, reference.classes, card)
