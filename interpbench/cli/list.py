"""`list` and `plugins`: what there is. Imports nothing that computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from interpbench.cases.case import Case
from interpbench.catalogue.facts import facts_of
from interpbench.catalogue.suites import SUITES, Suite, suite_cases, suites_of
from interpbench.cli.console import print_json, print_lines, print_table
from interpbench.plugins.registry import Registry, load
from interpbench.subjects.card import card_numbers
from interpbench.subjects.zoo import models, stored_card


def inventory(registry: Registry) -> dict[str, list[dict[str, Any]]]:
    """All that plugins provide, as plain data."""
    return {part: rows(registry) for part, rows in PARTS.items()}


def case_facts(case: Case) -> dict[str, Any]:
    """A case as plain data."""
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
    """A bundled model as plain data, with what its card says."""
    return {"case": case.name, "model": model, **card_numbers(stored_card(case, model) or {})}


def _suite_facts(suite: Suite, registry: Registry) -> dict[str, Any]:
    names = [case.name for case in suite_cases(suite.name, registry.cases)]
    return {"name": suite.name, "version": suite.version, "description": suite.description, "cases": names}


def _worker(thing: Any) -> dict[str, Any]:
    facts = {"name": thing.name, "description": _first_line(thing)}
    return facts | {"options": [field.name for field in dataclasses.fields(thing.Config)]}


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


PARTS: dict[str, Callable[[Registry], list[dict[str, Any]]]] = {
    "cases": lambda registry: [case_facts(case) for case in registry.cases.values()],
    "techniques": lambda registry: [_worker(each) for each in registry.techniques.values()],
    "trainers": lambda registry: [_worker(each) for each in registry.trainers.values()],
    "models": lambda registry: [model_facts(case, model) for case in registry.cases.values() for model in models(case)],
    "suites": lambda registry: [_suite_facts(suite, registry) for suite in SUITES.values()],
    "plugins": lambda registry: [dataclasses.asdict(plugin) for plugin in registry.plugins],
}


def list_(what: str, as_json: bool) -> None:
    """Print the inventory, or one part of it."""
    registry = load()
    if as_json:
        print_json(inventory(registry) if what == "all" else {what: PARTS[what](registry)})
        return
    if what == "all":  # 131 rows of eight columns, and reading all cards, would take longer than everything else
        short = [[case.name, models(case), case.description] for case in registry.cases.values()]
        print_table("cases", ("name", "models", "description"), short)
    columns = {
        "cases": ("name", "output", "n_ctx", "circuit_size", "models", "suites", "description"),
        "techniques": ("name", "description"),
        "trainers": ("name", "description"),
        "models": (
            *("case", "model", "certified", "certified_edges", "accuracy>", "iia_min>", "strict_min>", "edges>"),
            *("worst_edge>", "steps>", "seconds>"),
        ),
        "suites": ("name", "version", "description", "cases"),
    }
    for part in ("techniques", "trainers") if what == "all" else (what,):
        rows = [[row[column.rstrip(">")] for column in columns[part]] for row in PARTS[part](registry)]
        print_table(part, columns[part], rows)
    broken = [plugin.name for plugin in registry.plugins if plugin.error]
    if broken:
        print_lines([f"broken plugins: {', '.join(broken)}; see `interpbench plugins`"])


def list_cases(format: str) -> None:
    """Print the cases as a table, JSON, CSV or Croissant."""
    from interpbench.catalogue import croissant as metadata

    cases = load().cases.values()
    if format == "csv":
        print(metadata.cases_csv(cases), end="")
    elif format == "croissant":
        print_json(metadata.croissant(cases))
    else:
        list_("cases", format == "json")


def plugins(as_json: bool) -> None:
    """Print the installed plugins."""
    rows = PARTS["plugins"](load())
    if as_json:
        print_json({"plugins": rows})
        return
    kinds = ("cases", "trainers", "techniques")
    shown = []
    for row in rows:
        provides = [f"{kind}: {', '.join(row[kind])}" for kind in kinds if row[kind]]
        provides += ["follows progress"] * row["progress"]
        shown.append([row["name"], row["distribution"], row["version"], row["error"] or "; ".join(provides)])
    print_table("plugins", ("name", "distribution", "version", "provides, or why it is broken"), shown)
