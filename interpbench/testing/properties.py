"""Checks of a property. They draw causal models and train nothing."""

from __future__ import annotations

import re

from interpbench.properties.generated import draw, generated_case
from interpbench.properties.property import Property
from interpbench.testing.cases import check_case
from interpbench.testing.workers import import_light, import_public

SEEDS = range(3)


def check_property(property: Property) -> None:
    """Run every check of `PROPERTY_CHECKS`. Raises AssertionError at the first that fails."""
    for check in PROPERTY_CHECKS:
        check(property)


def _levels(property: Property) -> range:
    return range(1, len(property.levels) + 1)


def check_property_is_described(property: Property) -> None:
    """It has a name that can begin that of a case, a line on what is planted, what it is aimed at, and its levels."""
    assert re.fullmatch(r"[a-zA-Z]\w*", property.name), f"{property.name!r} is not a valid name"
    for text in (property.what, property.aimed_at, *property.levels):
        assert text.strip() and "\n" not in text, "something is not described, or in several lines"


def check_property_import_is_light(property: Property) -> None:
    """The module that makes its models imports no torch, and from interpbench only public names."""
    import_light(property.make.__module__)
    import_public(property.make.__module__)


def check_models_pass_the_filters(property: Property) -> None:
    """At every level, some of the models that a seed draws is worth a subject."""
    for level in _levels(property):
        for seed in SEEDS:
            draw(property, level, seed)


def check_seeds_and_levels_differ(property: Property) -> None:
    """The generator that is given decides everything: the same name is the same model, and others are other models."""
    found = {(level, seed): draw(property, level, seed).flow.digest for level in _levels(property) for seed in SEEDS}
    draw.cache_clear()
    again = {(level, seed): draw(property, level, seed).flow.digest for level, seed in found}
    assert found == again, "the same level and seed gave another model"
    levels = {level: {found[level, seed] for seed in SEEDS} for level in _levels(property)}
    assert all(len(digests) > 1 for digests in levels.values()), "all seeds give the same model at a level"
    assert len(set.union(*levels.values())) == sum(map(len, levels.values())), "two levels give the same model"


def check_generated_cases_are_cases(property: Property) -> None:
    """The first case of every level passes the checks of a case."""
    for level in _levels(property):
        case = generated_case(f"{property.name}-{level}-0", {property.name: property})
        assert case is not None
        check_case(case)


PROPERTY_CHECKS = (
    check_property_is_described,
    check_property_import_is_light,
    check_models_pass_the_filters,
    check_seeds_and_levels_differ,
    check_generated_cases_are_cases,
)
