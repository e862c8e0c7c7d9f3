"""The card of a subject: how it was made, and what was measured on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from interpbench.table import cell

if TYPE_CHECKING:
    pass


CARD_SCHEMA = 1


CARD_KEYS = ("schema", "case", "classes", "weights_hash", "program_digest")


CARD_KINDS: dict[str, Any] = {
    **dict.fromkeys(("case", "weights_hash", "program_digest"), str),
    **dict.fromkeys(("certificate", "trainer"), dict | None),
    "classes": list | None,
}


FEW = 6


def certificate_rows(certificate: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """A certificate, line by line: what is nested as `name: part`, the lowest of many numbers for all of them."""
    rows: list[tuple[str, Any]] = []
    for name, value in certificate.items():
        shown = name.replace("_", " ")
        if isinstance(value, Mapping) and len(value) > FEW and all(isinstance(x, float | None) for x in value.values()):
            numbers = {part: each for part, each in value.items() if each is not None}
            lowest = min(numbers, key=numbers.__getitem__, default=None)
            rows.append((f"{shown}: lowest of {len(numbers)}", lowest and f"{cell(numbers[lowest])} ({lowest})"))
        elif isinstance(value, Mapping):
            rows += [(f"{shown}: {part}", each) for part, each in certificate_rows(value)]
        else:
            rows.append((shown, value))
    return rows


def card_numbers(card: Mapping[str, Any]) -> dict[str, Any]:
    """The headline of a card: what its certificate and its making come to; None for what it does not say."""
    told, trainer = card.get("certificate") or {}, card.get("trainer") or {}
    worst = (told.get("worst_edge") or {}).get("edges") or {}
    certificate = ("certified", "certified_edges", "accuracy", "iia_min", "strict_min", "edges")
    return {
        **{key: told.get(key) for key in certificate},
        "worst_edge": worst.get("accuracy"),
        "steps": trainer.get("steps"),
        "seconds": trainer.get("seconds"),
    }
