"""`verify`: certificates measured anew and compared with the subjects' cards."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from interpbench.cli.app import AsJson, Model, Seed, Suite, app
from interpbench.cli.choose import Choice
from interpbench.cli.console import print_json, print_lines, print_table, progress
from interpbench.errors import InterpbenchError

if TYPE_CHECKING:
    from interpbench.subjects.subject import Subject


@app.command()
def verify(
    case: Annotated[str, typer.Argument(metavar="[CASE,...]", help="Cases, with commas between.")] = "",
    suite: Suite = "",
    model: Model = "siit",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure certificates anew; status 1 if a subject is not certified or differs from its card."""
    from interpbench.processes import tune_process
    from interpbench.subjects.zoo import load_subject

    tune_process()
    choice = Choice(case, suite)
    subjects = [load_subject(case, model) for case in choice.cases()]
    measured = []
    with progress("verify", len(subjects)) as update:
        for done, subject in enumerate(subjects, 1):
            measured.append(_measure(subject, seed))
            update(done, {})
    if as_json:
        print_json(measured[0] if choice.is_one else measured)
    else:
        _print(measured)
    off = [
        f"case {each['case']}: the card differs from the measurement: {'; '.join(each['off'])}"
        for each in measured
        if each["off"]
    ]
    print_lines(off, to="stderr")
    if off or not all(each["certificate"]["certified"] for each in measured):
        raise typer.Exit(1)


def _measure(subject: "Subject", seed: int) -> dict[str, Any]:
    from interpbench.certificate.certify import certify
    from interpbench.certificate.differences import differences
    from interpbench.plugins.registry import load_case

    name = subject.case.name
    if load_case(name).reference().digest != subject.card["program_digest"]:
        raise InterpbenchError(f"case {name} has changed since its subject was made: train it again")
    try:
        certificate = certify(subject.case, subject.model, subject.circuit, seed=seed).to_json()
    except ValueError as error:
        raise InterpbenchError(f"case {name}: the subject does not fit the alignment: {error}") from error
    facts = {"case": name, "model": subject.kind, "weights_hash": subject.weights_hash}
    return facts | {"certificate": certificate, "off": differences(subject.card.get("certificate"), certificate)}


def _print(measured: list[dict[str, Any]]) -> None:
    from interpbench.subjects.card import certificate_rows

    for each in measured:
        print_table(f"case {each['case']}, model {each['model']}", ("", ""), certificate_rows(each["certificate"]))
