"""`try`: one input answered by the program, its reference and a subject."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interpbench.cli.app import AsJson, CaseName, app
from interpbench.cli.console import print_json, print_lines, print_table
from interpbench.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from interpbench.cases.case import Case

Answers = Mapping[str, list[Any] | None]
"""The answers at all positions, of `program`, `reference` and perhaps `subject`; None if an extra is missing."""


@app.command("try")
def try_(
    case: CaseName,
    tokens: Annotated[list[str], typer.Argument(metavar="TOKEN...", help="One input, without BOS.")],
    model: Annotated[str, typer.Option(metavar="MODEL", help="Kind of subject or a folder (default: the first).")] = "",
    as_json: AsJson = False,
) -> None:
    """Show the answers of the program, its reference and the subject for one input."""
    from interpbench.cases.tokens import value_to_json
    from interpbench.plugins.registry import load_case
    from interpbench.subjects.zoo import load_subject, models

    chosen = load_case(case)
    model = model or next(iter(models(chosen)), "")
    subject = load_subject(chosen, model) if model else None
    chosen = subject.case if subject else chosen
    try:
        parsed = chosen.parse(tokens)
    except ValueError as error:
        raise UsageError(str(error)) from None
    answers, missing = _answers(chosen, parsed)
    if subject:
        answers = {**answers, "subject": subject.predict([parsed])[0]}
    wrong = _differences(chosen, answers, len(parsed))
    if as_json:
        values = {who: told and [value_to_json(value) for value in told] for who, told in answers.items()}
        print_json({"case": case, "model": model or None, "tokens": list(parsed), **values, "differs": wrong})
        return
    shown = [answer if answer is not None else [None] * len(parsed) for answer in answers.values()]
    columns = ("token", "program", "reference", *([model] if model else []), "differs")
    print_table(f"case {case}", columns, list(zip(parsed, *shown, wrong, strict=True)))
    print_lines(missing)


def _answers(case: "Case", tokens: Sequence[Any]) -> tuple[Answers, list[str]]:
    """The answers of the program and its reference, and why either has none."""
    missing: set[str] = set()

    def unless_missing(answer: Callable[[], list[Any]]) -> list[Any] | None:
        try:
            return answer()
        except MissingExtra as error:
            missing.add(str(error))
            return None

    answers = {
        "program": unless_missing(lambda: case.expected(tokens)),
        "reference": unless_missing(lambda: _reference_answers(case, tokens)),
    }
    return answers, sorted(missing)


def _differences(case: "Case", answers: Answers, n: int) -> list[list[str]]:
    """At each of `n` positions, whose answers differ from the program's, if that is defined."""
    from interpbench.cases.reference import ATOL

    def differs(answer: Any, value: Any) -> bool:
        if answer is None:
            return True
        return abs(answer - value) >= ATOL if case.output == "numerical" else answer != value

    others = {who: given for who, given in answers.items() if who != "program" and given is not None}
    return [
        [who for who, given in others.items() if value is not None and differs(given[i], value)]
        for i, value in enumerate(answers["program"] or [None] * n)
    ]


def _reference_answers(case: "Case", tokens: Sequence[Any]) -> list[Any]:
    import torch

    from interpbench.cases.reference import defined

    reference = case.reference()
    outputs = reference.outputs(torch.from_numpy(case.encode([tokens])))[0, 1:]
    if reference.classes is None:
        answers: list[Any] = outputs[:, 0].tolist()
    else:
        there = defined(reference, outputs).tolist()
        picked = zip(outputs.argmax(-1).tolist(), there, strict=True)
        answers = [reference.classes[i] if is_there else None for i, is_there in picked]
    return answers if case.scored == "all" else [None] * (len(answers) - 1) + answers[-1:]
