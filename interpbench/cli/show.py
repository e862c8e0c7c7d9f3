"""`show` and `try`: one case and its subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from interpbench.cases.case import Case
from interpbench.cases.reference import ATOL, defined
from interpbench.cases.tokens import value_to_json
from interpbench.catalogue.facts import facts_of, twins
from interpbench.cli.console import print_json, print_lines, print_table
from interpbench.cli.list import case_facts
from interpbench.errors import MissingExtra, UsageError
from interpbench.files import refuse_existing, write_new
from interpbench.graph.circuit import Circuit
from interpbench.graph.drawing import circuit_svg
from interpbench.graph.graph import Graph
from interpbench.plugins.registry import load_case
from interpbench.subjects.card import certificate_rows
from interpbench.subjects.folder import read_shape_and_circuit
from interpbench.subjects.zoo import COMPILED, HUB, UNCERTIFIED, load_subject, models, stored_card, stored_folder


def show(name: str, model: str, plot: Path | None, force: bool, as_json: bool) -> None:
    """Describe a case and the subject asked for, else its first, else what a subject would be."""
    case = load_case(name)
    if plot is not None:
        refuse_existing(plot, force)
    kind = model or next((each for each in models(case) if each != COMPILED), None)
    known = facts_of(case)
    if kind is None:
        shape, card = known["shape"], None
        circuit = Circuit(Graph(shape["n_layers"], shape["n_heads"]), frozenset(known["true"]))
    elif kind in models(case) and kind != COMPILED:  # no weights, no PyTorch: that alone would take two seconds
        card, (shape, circuit) = stored_card(case, kind), read_shape_and_circuit(stored_folder(case, kind))
    else:
        subject = load_subject(case, kind)
        kind, circuit, shape, card = subject.kind, subject.circuit, asdict(subject.model.config), subject.card
    published = None
    if case.compiled:
        other = _published(case, circuit)
        published = {part: _members(other, part) for part in ("edges", "heads", "nodes")}
    if plot is not None:
        title = f"case {case.name}: true circuit of the {kind or 'reference'} model"
        write_new(plot, circuit_svg(circuit, title), force)
    facts = {
        **case_facts(case),
        "model": kind,
        "shape": shape,
        "twins": twins(case),
        "circuit": {part: _members(circuit, part) for part in ("edges", "heads", "nodes")},
        "published_circuit": published,
        "card": card,
    }
    print_json(facts) if as_json else _print(facts)


def _published(case: Case, circuit: Circuit) -> Circuit:
    """The published circuit for a model with this true one: a subject, or the compiled model itself."""
    known = facts_of(case)
    true, published = frozenset(known["true"]), frozenset(known["true"]) - frozenset(known["published_lacks"])
    if circuit.edges in (true, published):
        return Circuit(circuit.graph, published)
    reference: Any = case.reference()
    return reference.unaligned.published_circuit(circuit.graph)


def _members(circuit: Circuit, granularity: Any) -> list[str]:
    names = circuit.graph.universe(granularity)
    return [name for name, inside in zip(names, circuit.members(granularity), strict=True) if inside]


def _print(facts: dict[str, Any]) -> None:
    print_lines([f"case {facts['name']}: {facts['description']}", ""])
    shown = ("output", "n_ctx", "vocab_size", "suites", "models")
    rows = [[key, facts[key]] for key in shown]
    alike = facts["twins"]
    rows.append(["twin of", [*alike[:5], f"{len(alike) - 5} more"] if len(alike) > 6 else alike])
    print_table("case", ("", ""), rows)
    print_table(f"model {facts['model'] or '(none yet)'}", ("", ""), list(facts["shape"].items()))
    rows = [[edge.split("->")[0], "->", edge.split("->")[1]] for edge in facts["circuit"]["edges"]]
    print_table(f"true circuit: {len(rows)} edges", ("writer", "", "reader"), rows)
    card = facts["card"] or {}
    if card.get("certificate"):
        print_table("certificate", ("", ""), certificate_rows(card["certificate"]))
    if card.get("command"):
        print_lines([f"made by: {card['command']}"])
    if card.get("kind") == HUB:
        print_lines([UNCERTIFIED])


def try_(name: str, words: Sequence[str], model: str, as_json: bool) -> None:
    """Print the answers of program, reference and subject (if there is one), position by position."""
    case = load_case(name)
    try:
        tokens = case.parse(words)
    except ValueError as error:
        raise UsageError(str(error)) from None
    missing: list[str] = []
    answers = {
        "program": _unless_missing(lambda: case.expected(tokens), missing),
        "reference": _unless_missing(lambda: _reference_answers(case, tokens), missing),
    }
    model = model or next(iter(models(case)), "")
    if model:
        answers["subject"] = load_subject(case, model).predict([tokens])[0]
    wrong = _differences(case, answers)
    if as_json:
        answers = {who: told and [value_to_json(value) for value in told] for who, told in answers.items()}
        facts = {"case": case.name, "model": model or None, "tokens": list(tokens), **answers, "differs": wrong}
        print_json(facts)
        return
    told = [answer if answer is not None else [None] * len(tokens) for answer in answers.values()]
    columns = ("token", "program", "reference", *([model] if model else []), "differs")
    print_table(f"case {case.name}", columns, list(zip(tokens, *told, wrong, strict=True)))
    print_lines(sorted(set(missing)))


def _differences(case: Case, answers: dict[str, list[Any] | None]) -> list[list[str]]:
    """For every position who answers otherwise than the program; nobody where that is undefined or not known."""

    def other(told: Any, value: Any) -> bool:
        return abs(told - value) >= ATOL if case.output == "numerical" else told != value

    program = answers["program"]
    if program is None:
        return [[] for _ in answers["subject"] or ()]
    others = {who: told for who, told in answers.items() if who != "program" and told is not None}
    return [
        [who for who, told in others.items() if value is not None and (told[i] is None or other(told[i], value))]
        for i, value in enumerate(program)
    ]


def _unless_missing(answer: Any, missing: list[str]) -> Any:
    try:
        return answer()
    except MissingExtra as error:
        missing.append(str(error))
        return None


def _reference_answers(case: Case, tokens: Sequence[Any]) -> list[Any]:
    import torch

    reference = case.reference()
    outputs = reference.outputs(torch.from_numpy(case.encode([tokens])))[0, 1:]
    if reference.classes is None:
        answers: list[Any] = outputs[:, 0].tolist()
    else:
        there = defined(reference, outputs).tolist()
        picked = zip(outputs.argmax(-1).tolist(), there, strict=True)
        answers = [reference.classes[i] if is_there else None for i, is_there in picked]
    return answers if case.scored == "all" else [None] * (len(answers) - 1) + answers[-1:]
