"""Whether a new measurement of a certificate reproduces the one on the subject's card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TOLERANCE = 1e-3
"""Largest difference between two measurements of the same subject on the same data: machines round differently."""


def differences(card: Mapping[str, Any] | None, measured: Mapping[str, Any]) -> list[str]:
    """Each number in which the two disagree, as `name: card, measured`.

    None if they are of different versions or used different data.
    """
    if card is None or any(card.get(key) != measured.get(key) for key in ("version", "seed", "rows")):
        return []
    return _differences(card, measured)


def _differences(card: Mapping[str, Any], measured: Mapping[str, Any]) -> list[str]:
    found = []
    for name, value in measured.items():
        stated = card.get(name)
        if isinstance(value, Mapping):
            found += [f"{name} {each}" for each in _differences(stated or {}, value)]
        elif isinstance(value, str):
            continue  # rounding may decide which of several edges is the worst, but not its accuracy
        elif isinstance(value, float) and isinstance(stated, float):
            if abs(value - stated) > TOLERANCE * max(1, abs(stated)):
                found.append(f"{name}: {stated:.4f}, {value:.4f}")
        elif value != stated:
            found.append(f"{name}: {stated}, {value}")
    return found
