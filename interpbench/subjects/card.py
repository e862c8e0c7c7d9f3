"""The card of a subject: how it was made, and what was measured on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from interpbench.certificate.certificate import Headline
from interpbench.table import cell

CARD_SCHEMA = 1

CARD_KEYS = ("schema", "case", "classes", "weights_hash", "program_digest")

CARD_KINDS: dict[str, Any] = {
    **dict.fromkeys(("case", "weights_hash", "program_digest"), str),
    **dict.fromkeys(("certificate", "trainer"), dict | None),
    "classes": list | None,
}

FEW = 6


def certificate_rows(certificate: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The rows of a table of a certificate: nested entries as `name: part`, more than `FEW` numbers as the lowest."""
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
    """The headline of a card: of its certificate, and of its training; None for what it does not hold."""
    trainer = card.get("trainer") or {}
    return {
        **asdict(Headline.of_card(card)),
        "steps": trainer.get("steps"),
        "seconds": trainer.get("seconds"),
    }
