"""What the installed plugins provide, as plain data. Imports nothing that computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from interpbench.cases.case import Case
from interpbench.catalogue.facts import facts_of
from interpbench.catalogue.suites import SUITES, Suite, frozen, suite_cases, suites_of
from interpbench.plugins.registry import Registry
from interpbench.properties.property import Property
from interpbench.subjects.card import card_numbers
from interpbench.subjects.zoo import models, stored_card


def inventory(registry: Registry) -> dict[str, list[dict[str, Any]]]:
    """Everything that the plugins provide, by kind; see `PARTS`."""
    return {part: rows(registry) for part, rows in PARTS.items()}


def case_facts(case: Case) -> dict[str, Any]:
    """The facts of a case that need no subject."""
    return {
        "name": case.name,
        "description": case.description,
        "output": case.output,
        "n_ctx": case.n_ctx,
        "vocab_size": len(case.vocab),
        "suites": suites_of(case),
        "models": models(case),
        "circuit_size": facts_of(case)["edges"],
    }


def model_facts(case: Case, model: str) -> dict[str, Any]:
    """A bundled model and the headline numbers of its card."""
    return {"case": case.name, "model": model, **card_numbers(stored_card(case, model) or {})}


def _suite_facts(suite: Suite, registry: Registry) -> dict[str, Any]:
    installed = () if suite.generated else suite_cases(suite.name, registry)
    names = [*frozen(suite.name)] if suite.generated else [case.name for case in installed]
    return {"name": suite.name, "version": suite.version, "description": suite.description, "cases": names}


def _property_facts(property: Property) -> dict[str, Any]:
    """What a property plants: its generated cases are named by it, a level from 1 and a seed."""
    return {
        "name": property.name,
        "what": property.what,
        "aimed_at": property.aimed_at,
        "levels": [f"{i}: {level}" for i, level in enumerate(property.levels, 1)],
    }


def _worker_facts(worker: Any) -> dict[str, Any]:
    """A technique or a trainer: the first line of its docstring, and the names of its options."""
    description = (worker.__doc__ or "").strip().partition("\n")[0]
    options = [field.name for field in dataclasses.fields(worker.Config)]
    return {"name": worker.name, "description": description, "options": options}


PARTS: dict[str, Callable[[Registry], list[dict[str, Any]]]] = {
    "cases": lambda registry: [case_facts(case) for case in registry.cases.values()],
    "properties": lambda registry: [_property_facts(each) for each in registry.properties.values()],
    "techniques": lambda registry: [_worker_facts(each) for each in registry.techniques.values()],
    "trainers": lambda registry: [_worker_facts(each) for each in registry.trainers.values()],
    "models": lambda registry: [model_facts(case, model) for case in registry.cases.values() for model in models(case)],
    "suites": lambda registry: [_suite_facts(suite, registry) for suite in SUITES.values()],
    "plugins": lambda registry: [dataclasses.asdict(plugin) for plugin in registry.plugins],
}
"""The kinds of things that `list` prints, each with a function that describes all of them."""
