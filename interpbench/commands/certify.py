"""`verify`: certificates of subjects, measured anew."""

from __future__ import annotations

from typing import Any

from interpbench.commands.choose import cases, is_one
from interpbench.errors import InterpbenchError
from interpbench.plugins import load_case
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

    name = subject.case.name
    if load_case(name).reference().digest != subject.card["program_digest"]:
        raise InterpbenchError(f"case {name} has changed since its subject was made: train it again")
    try:
        certificate = certify(subject.case, subject.model, subject.circuit, seed=seed)
    except ValueError as error:
        raise InterpbenchError(f"case {name}: the subject does not fit the alignment: {error}") from error
    facts = {"case": name, "model": subject.kind, "weights_hash": subject.weights_hash}
    return facts | {"certificate": certificate}
