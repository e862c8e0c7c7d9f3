"""Tokens and answers: their types, their order, and their form in JSON."""

from __future__ import annotations

import math
from typing import Any

Token = str | int | float
Inputs = list[tuple[Token, ...]]
BOS, PAD = "BOS", "PAD"


def value_to_json(value: Any) -> Any:
    """A token or an answer as JSON. Tuples and infinity, which JSON lacks, become objects."""
    if isinstance(value, tuple):
        return {"tuple": [value_to_json(each) for each in value]}
    value = value.item() if hasattr(value, "item") else value
    return {"float": repr(value)} if isinstance(value, float) and not math.isfinite(value) else value


def value_from_json(value: Any) -> Any:
    """The inverse of `value_to_json`."""
    if isinstance(value, dict):
        return tuple(map(value_from_json, value["tuple"])) if "tuple" in value else float(value["float"])
    return value


def tracr_order(a: Token, b: Token) -> int:
    """Tracr orders basis directions by value, and by their text where values do not compare."""
    try:
        return (a > b) - (a < b)  # type: ignore[operator]
    except TypeError:
        return (str(a) > str(b)) - (str(a) < str(b))
