"""A subject's certificate and classes of edges, measured anew and compared with its card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from interpbench.certificate.certify import certify
from interpbench.certificate.classify import stated_on_card
from interpbench.certificate.differences import differences
from interpbench.errors import InterpbenchError, UsageError
from interpbench.files import check_new
from interpbench.plugins.registry import load_case
from interpbench.processes import tune_process
from interpbench.subjects.classes import CLASSES
from interpbench.subjects.folder import CARD, write_card
from interpbench.subjects.zoo import folder_of, load_subject
from interpbench.torch_state import clean_state


@dataclass(frozen=True)
class Check:
    """One subject to measure, on data of this seed; with `write` its card gets what was measured."""

    case: str
    model: str
    seed: int
    write: bool


@clean_state()
def verify(check: Check, report: Callable[[dict[str, Any]], None] = lambda facts: None) -> dict[str, Any]:
    """Measure; returns the certificate, the classes, and in `off` each number in which the card differs.

    Raises InterpbenchError if the program has changed or the subject does not fit it, UsageError if there is no card to
    write on.
    """
    tune_process()
    report({})
    subject = load_subject(check.case, check.model)
    folder = folder_of(subject.case, check.model)
    if check.write and folder is None:
        raise UsageError(f"model {check.model} is not stored: it has no card to write on")
    if check.write and folder is not None:
        check_new(folder / CARD, force=True)
    name, model, circuit = subject.case.name, subject.model, subject.circuit
    known = subject.case if subject.case.form == "published" else load_case(name)
    if known.reference().digest != subject.card["program_digest"]:
        raise InterpbenchError(f"case {name} has changed since its subject was made: train it again")
    try:
        certificate = certify(subject.case, model, circuit, seed=check.seed, progress=report).to_json()
    except ValueError as error:
        raise InterpbenchError(f"case {name}: the subject does not fit the alignment: {error}") from error
    classes = stated_on_card(subject.case, model, circuit, check.seed, report)
    if check.write and folder is not None:
        measured = {"circuit_hash": circuit.digest, "certificate": certificate, CLASSES: classes}
        write_card(folder, {**subject.card, **measured})
    facts = {"case": name, "model": subject.name, "weights_hash": subject.weights_hash}
    stated = subject.card.get("certificate")
    off = [] if check.write else differences(stated, certificate)
    off += [] if check.write else _reclassified(subject.card.get(CLASSES) or {}, classes)
    return {**facts, "certificate": certificate, CLASSES: classes, "off": off}


def _reclassified(card: Mapping[str, Any], measured: Mapping[str, Any]) -> list[str]:
    """Each edge whose class is not the card's, as `ablation edge: card, measured`."""
    found = []
    for ablation, classes in measured.items():
        stated = (card.get(ablation) or {}).get("classes") or {}
        now = classes["classes"] or {}
        found += [f"{ablation} {e}: {stated[e]}, {now.get(e)}" for e in stated if stated[e] != now.get(e)]
    return found
