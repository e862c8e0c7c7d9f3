"""`verify`: certificates of subjects, measured anew and held against their cards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interpbench.cli.choose import cases, is_one
from interpbench.cli.console import print_json, print_lines, print_table, progress
from interpbench.errors import InterpbenchError
from interpbench.plugins.registry import load_case
from interpbench.processes import tune_process
from interpbench.subjects.card import certificate_rows
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import load_subject

TOLERANCE = 1e-3
"""How far two measurements of the same subject on the same data may lie apart: other machines round differently."""


def verify(names: str, suite: str, model: str, seed: int, as_json: bool) -> int:
    """Print the certificates; the status is 1 if one of the subjects is not certified or not what its card says."""
    tune_process()
    subjects = [load_subject(case, model) for case in cases(names, suite)]
    measured = []
    with progress("verify", len(subjects)) as update:
        for done, subject in enumerate(subjects):
            measured.append(_measure(subject, seed))
            update(done + 1, {})
    if as_json:
        print_json(measured[0] if is_one(names, suite) else measured)
    for facts in [] if as_json else measured:
        title = f"case {facts['case']}, model {facts['model']}"
        print_table(title, ("", ""), certificate_rows(facts["certificate"]))
    off = [
        f"case {facts['case']}: the card says otherwise: {'; '.join(facts['off'])}"
        for facts in measured
        if facts["off"]
    ]
    print_lines(off, to="stderr")
    return 0 if all(facts["certificate"]["certified"] for facts in measured) and not off else 1


def _measure(subject: Subject, seed: int) -> dict[str, Any]:
    from interpbench.certificate.certify import certify

    name = subject.case.name
    if load_case(name).reference().digest != subject.card["program_digest"]:
        raise InterpbenchError(f"case {name} has changed since its subject was made: train it again")
    try:
        certificate = certify(subject.case, subject.model, subject.circuit, seed=seed)
    except ValueError as error:
        raise InterpbenchError(f"case {name}: the subject does not fit the alignment: {error}") from error
    facts = {"case": name, "model": subject.kind, "weights_hash": subject.weights_hash}
    return facts | {"certificate": certificate, "off": differences(subject.card.get("certificate"), certificate)}


def differences(card: Mapping[str, Any] | None, measured: Mapping[str, Any]) -> list[str]:
    """Where a new certificate does not reproduce the card's, if both are of the same data: `name: card, measured`."""
    if card is None or any(card.get(key) != measured[key] for key in ("seed", "rows")):
        return []
    off = []
    for name, told in measured.items():
        said = card.get(name)
        if isinstance(told, Mapping):
            nested = {"seed": 0, "rows": 0}
            off += [f"{name} {each}" for each in differences(nested | dict(said or {}), nested | dict(told))]
        elif isinstance(told, str):
            continue  # which of several edges is the lowest may hang on rounding; how low it is may not
        elif isinstance(told, float) and isinstance(said, float):
            if abs(told - said) > TOLERANCE * max(1, abs(said)):
                off.append(f"{name}: {said:.4f}, {told:.4f}")
        elif told != said:
            off.append(f"{name}: {said}, {told}")
    return off
