"""How many generated subjects are accepted, by property and level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from statistics import median
from typing import Any

from interpbench.properties.generated import draw, name_of
from interpbench.properties.property import Property
from interpbench.subjects.card import card_numbers

COLUMNS = ("property", "level", "planted", "subjects>", "certified>", "seconds>", "rejected")
"""Of the table: `seconds` is the median over subjects, `rejected` counts models by the reason that kept them out."""


def acceptance(
    drawn: Sequence[tuple[Property, int, int]], cards: Mapping[str, Mapping[str, Any]]
) -> list[tuple[Any, ...]]:
    """Rows of the table for subjects, given by property, level and seed, whose cards are there by name."""
    rows = []
    for (property, level), group in groupby(drawn, lambda each: each[:2]):
        seeds = [seed for _, _, seed in group]
        found = [card_numbers(cards.get(name_of(property, level, seed)) or {}) for seed in seeds]
        took = [each["seconds"] for each in found if each["seconds"] is not None]
        reasons = Counter(reason for seed in seeds for reason in draw(property, level, seed).rejections)
        rejected = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or None
        certified = sum(bool(each["certified"]) for each in found)
        seconds = median(took) if took else None
        rows.append((property.name, level, property.levels[level - 1], len(seeds), certified, seconds, rejected))
    return rows
