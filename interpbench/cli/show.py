"""`show`: a case, its true circuit, and the certificate of its subject."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interpbench.cli.app import AsJson, CaseName, Force, app
from interpbench.cli.console import print_json, print_lines, print_prose, print_table

if TYPE_CHECKING:
    from interpbench.cases.case import Case
    from interpbench.graph.circuit import Circuit


@app.command()
def show(
    case: CaseName,
    model: Annotated[str, typer.Option(metavar="MODEL", help="Kind of subject or a folder (default: the first).")] = "",
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw the true circuit.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Describe a case: shapes, true circuit, and the certificate of its subject."""
    from interpbench.catalogue.facts import twins
    from interpbench.catalogue.inventory import case_facts
    from interpbench.files import check_new, write_new
    from interpbench.graph.drawing import circuit_svg
    from interpbench.plugins.registry import load_case
    from interpbench.subjects.zoo import HUB

    chosen = load_case(case)
    if plot is not None:
        check_new(plot, force)
    kind, shape, circuit, card = _model(chosen, model)
    chosen = chosen.published_form if (card or {}).get("kind") == HUB else chosen
    published = _members(_published(chosen, circuit)) if chosen.compiled else None
    if plot is not None:
        known = ((card or {}).get("edge_classes") or {}).get("resample") or {}
        title = f"case {case}: true circuit of the {kind or 'reference'} model"
        write_new(plot, circuit_svg(circuit, title, classes=known.get("classes")), force)
    facts = {
        **case_facts(chosen),
        "model": kind,
        "shape": shape,
        "twins": twins(chosen),
        "circuit": _members(circuit),
        "published_circuit": published,
        "card": card,
    }
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _model(case: "Case", model: str) -> "tuple[str | None, dict[str, Any], Circuit, dict[str, Any] | None]":
    """Kind, shape, true circuit and card of a model: the one named, else the first, else that of future subjects.

    Bundled models are described without reading their weights: importing PyTorch alone takes two seconds.
    """
    from dataclasses import asdict

    from interpbench.catalogue.facts import facts_of
    from interpbench.graph.circuit import Circuit
    from interpbench.graph.graph import Graph
    from interpbench.subjects.folder import read_shape_and_circuit
    from interpbench.subjects.zoo import COMPILED, load_subject, models, stored_card, stored_folder

    kinds = models(case)
    kind = model or next((each for each in kinds if each != COMPILED), None)
    if kind is None:
        known = facts_of(case)
        shape = known["shape"]
        return None, shape, Circuit(Graph(shape["n_layers"], shape["n_heads"]), frozenset(known["true"])), None
    if kind in kinds and kind != COMPILED:
        card, (shape, circuit) = stored_card(case, kind), read_shape_and_circuit(stored_folder(case, kind))
        return kind, shape, circuit, card
    subject = load_subject(case, kind)
    return subject.kind, asdict(subject.model.config), subject.circuit, subject.card


def _published(case: "Case", circuit: "Circuit") -> "Circuit":
    """The published circuit for a model with this true one: a subject, or the compiled model itself."""
    from interpbench.catalogue.facts import facts_of
    from interpbench.graph.circuit import Circuit

    known = facts_of(case)
    true = frozenset(known["true"])
    published = true - frozenset(known["published_lacks"])
    if circuit.edges in (true, published):
        return Circuit(circuit.graph, published)
    reference: Any = case.reference()
    return reference.unaligned.published_circuit(circuit.graph)


def _members(circuit: "Circuit") -> dict[str, list[str]]:
    """Names of the edges, the edges between heads, and the nodes of a circuit."""

    def names(granularity: Any) -> list[str]:
        every = circuit.graph.universe(granularity)
        return [name for name, inside in zip(every, circuit.members(granularity), strict=True) if inside]

    return {granularity: names(granularity) for granularity in ("edges", "heads", "nodes")}


def _print(facts: dict[str, Any]) -> None:
    from interpbench.subjects.card import certificate_tables, classes_of_edges
    from interpbench.subjects.zoo import HUB, UNCERTIFIED

    print_prose([f"case {facts['name']}: {facts['description']}", ""])
    rows = [[key, facts[key]] for key in ("output", "n_ctx", "vocab_size", "suites", "models")]
    alike = facts["twins"]
    rows.append(["twin of", [*alike[:5], f"{len(alike) - 5} more"] if len(alike) > 6 else alike])
    print_table("case", ("", ""), rows)
    print_table(f"model {facts['model'] or '(none yet)'}", ("", ""), list(facts["shape"].items()))
    card = facts["card"] or {}
    table, lines = classes_of_edges(facts["circuit"]["edges"], card)
    print_table(table.title, table.columns, table.rows)
    print_prose(lines)
    for table in certificate_tables("certificate", card):
        print_table(table.title, table.columns, table.rows)
    if card.get("command"):
        print_lines([f"made by: {card['command']}"])
    if card.get("kind") == HUB:
        print_lines([UNCERTIFIED])
