"""`verify`: certificates of subjects, measured anew."""

from __future__ import annotations

from typing import Any

from interpbench.commands.choose import cases, is_one
from interpbench.errors import InterpbenchError
from interpbench.process import tune_process
from interpbench.subjects import Subject, load_subject
from interpbench.tables import certificate_rows, print_json, print_table, progress


def verify(names: str, suite: str, model: str, seed: int, as_json: bool) -> int:
    """Print the certificates; the status is 1 if one of the subjects is not certified."""
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
    return 0 if all(facts["certificate"]["certified"] for facts in measured) else 1


def _measure(subject: Subject, seed: int) -> dict[str, Any]:
    from interpbench.certificate import certify

    if subject.case.reference().digest != subject.card["program_digest"]:
        raise InterpbenchError(f"case {subject.case.name} has changed since its subject was made: train it again")
    certificate = certify(subject.case, subject.model, subject.circuit, seed=seed)
    facts = {"case": subject.case.name, "model": subject.kind, "weights_hash": subject.weights_hash}
    return facts | {"certificate": certificate}
