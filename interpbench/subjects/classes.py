"""The classes of a subject's true edges: from its card, or else found once and kept in the cache folder."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from interpbench.certificate.edge_classes import EdgeClasses
from interpbench.errors import InterpbenchError
from interpbench.files import cache_folder, read_json, write_text
from interpbench.subjects.subject import Subject
from interpbench.torch_state import clean_state

if TYPE_CHECKING:
    from interpbench.problem.ablation import Ablation

CLASSES = "edge_classes"
"""The entry of a card, by ablation."""
RECIPE = 2
"""Changes whenever classes of the same subject would be found in another way."""


@clean_state()
def edge_classes(subject: Subject, ablation: Ablation) -> EdgeClasses:
    """Classes under an ablation. A card's entry counts only if it is about the edges of the subject's circuit."""
    return stated_classes(subject, ablation) or _found(subject, ablation)


def stated_classes(subject: Subject, ablation: str) -> EdgeClasses | None:
    """The classes on the card. Raises InterpbenchError if they are damaged."""
    stated = (subject.card.get(CLASSES) or {}).get(ablation)
    if stated is None:
        return None
    try:
        classes = EdgeClasses.from_json(stated)
    except ValueError as error:
        raise InterpbenchError(f"the card of case {subject.case.name}: {error}") from None
    is_own = classes.kept is None or classes.kept.keys() == subject.circuit.edges
    return classes if is_own else None


def _found(subject: Subject, ablation: Ablation) -> EdgeClasses:
    from interpbench.certificate.classify import classify_edges

    identity = (subject.case.name, subject.card["program_digest"], subject.weights_hash, subject.circuit.to_json())
    key = hashlib.sha256(json.dumps([*identity, ablation, RECIPE]).encode()).hexdigest()[:32]
    path = cache_folder() / "classes" / f"{key}.json"
    with suppress(InterpbenchError, OSError, ValueError):
        return EdgeClasses.from_json(read_json(path))
    classes = classify_edges(subject.case, subject.model, subject.circuit, ablation)
    with suppress(OSError):  # a folder that cannot be written to only means finding them again
        write_text(path, json.dumps(classes.to_json()) + "\n")
    return classes
