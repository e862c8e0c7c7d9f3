"""The card of a subject: how it was made, and what was measured on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from interpbench.certificate.certificate import VERSION, Headline, demands, version_of
from interpbench.certificate.edge_classes import EDGE_CLASSES
from interpbench.table import Table, cell

CARD_SCHEMA = 1

CARD_KEYS = ("schema", "case", "classes", "weights_hash", "program_digest")

HUB = "hub"
"""Kind of a published subject, once `interpbench hub pull` has fetched and converted it."""

CARD_KINDS: dict[str, Any] = {
    **dict.fromkeys(("case", "weights_hash", "program_digest"), str),
    **dict.fromkeys(("certificate", "trainer", "edge_classes"), dict | None),
    "classes": list | None,
}

DEMANDED = ("iia", "iia_circuit_only", "strict", "worst_edge", "positions", "mean", "zero")
"""Entries of a certificate that stand in the table of demands."""


def certificate_tables(title: str, card: Mapping[str, Any]) -> list[Table]:
    """Tables of a card's certificate (what it demands, what it reports) and classes of edges; none without them."""
    certificate = card.get("certificate")
    tables = [_demands(title, certificate), _reported(certificate)] if certificate else []
    return tables + ([_classes(card["edge_classes"])] if card.get("edge_classes") else [])


def _demands(title: str, certificate: Mapping[str, Any]) -> Table:
    """What was replaced, how much must stay, and what stayed."""
    version = version_of(certificate)
    made = demands(certificate)
    verdict = "certified" if certificate["certified"] and all(each.is_met for each in made) else "not certified"
    if version != VERSION:
        verdict += f" by version {version}, which tests less than version {VERSION}; `interpbench verify` measures anew"
    rows = [
        (each.replaced, each.by, each.threshold, each.share, "yes" if each.is_met else "no", each.lowest)
        for each in made
    ]
    return Table(f"{title}: {verdict}", ("replaced", "by", "must stay>", "stays>", "met", "lowest"), tuple(rows))


def _reported(certificate: Mapping[str, Any]) -> Table:
    rows: list[tuple[str, Any]] = []
    for name, value in certificate.items():
        shown = name.replace("_", " ")
        if name in DEMANDED:
            continue
        if isinstance(value, Mapping) and value and all(isinstance(x, float | None) for x in value.values()):
            numbers = {part: each for part, each in value.items() if each is not None}
            lowest = min(numbers, key=numbers.__getitem__, default=None)
            rows.append((f"{shown}: lowest of {len(numbers)}", lowest and f"{cell(numbers[lowest])} ({lowest})"))
        elif isinstance(value, Mapping):
            rows += [(f"{shown}: {part}", each) for part, each in value.items() if not isinstance(each, Mapping)]
        else:
            rows.append((shown, value))
    return Table("measured on", ("", ""), tuple(rows))


def _classes(by_ablation: Mapping[str, Mapping[str, Any]]) -> Table:
    """How many true edges are of each class, by ablation."""
    rows = []
    for ablation, found in by_ablation.items():
        counts = Counter((found["classes"] or {}).values())
        numbers = [counts[kind] if found["classes"] else None for kind in EDGE_CLASSES]
        smallest = found["smallest"]
        rows.append((ablation, found["bare"], *numbers, smallest if smallest is None else len(smallest)))
    columns = ("ablation", "circuit alone keeps>", *(f"{kind}>" for kind in EDGE_CLASSES), "smallest>")
    return Table("true edges by class", columns, tuple(rows))


WHY = {
    "core": "no minimal circuit is without it",
    "alternative": "some minimal circuits do without it",
    "dispensable": "answers stay without it and all that is outside",
    "invisible": "its writer gives the same in both runs",
}


def classes_of_edges(edges: Sequence[str], card: Mapping[str, Any]) -> tuple[Table, list[str]]:
    """A table of the true edges, with their classes under the ablations that have them; a line for each other one.

    Classes of other edges, those of a circuit before it was edited, are left out.
    """
    stated = card.get("edge_classes") or {}
    known = {name: found for name, found in stated.items() if (found["classes"] or {}).keys() == set(edges)}
    why = known.get("resample") or next(iter(known.values()), None)
    rows = []
    for edge in edges:
        row = [edge]
        for found in known.values():
            row += [found["classes"][edge], f"{found['kept'][edge]} of {found['orders']}"]
        rows.append((*row, WHY[why["classes"][edge]]) if why else tuple(row))
    columns = ["edge"]
    for ablation in known:
        columns += [f"by {ablation}", "minimal circuits>"]
    unknown = "it is not sufficient there, and its edges have no classes"
    lines = [
        f"under {ablation} the true circuit alone keeps {found['bare']:.3f} of the answers: {unknown}"
        for ablation, found in stated.items()
        if not found["classes"]
    ]
    return Table(f"true circuit: {len(rows)} edges", (*columns, *(["why"] if why else [])), tuple(rows)), lines


def card_numbers(card: Mapping[str, Any]) -> dict[str, Any]:
    """The headline of a card: of its certificate, and of its training; None for what it does not hold."""
    trainer = card.get("trainer") or {}
    return {
        **asdict(Headline.of_card(card)),
        "steps": trainer.get("steps"),
        "seconds": trainer.get("seconds"),
    }


def loudness(card: Mapping[str, Any]) -> float | None:
    """Median over silent nodes of their deviation, in units of the circuit's; None if there are none, or no number."""
    try:
        return median(card["certificate"]["liveliness"]["relative_deviation"].values())
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
