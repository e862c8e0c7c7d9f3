"""Facts about core's cases that need their references, kept beside them so that listing compiles nothing.

`python -m interpbench.catalogue` writes them anew; a test holds them against the references.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from interpbench.cases.case import Case
from interpbench.cases.tokens import value_to_json
from interpbench.files import write_text

PATH = Path(__file__).with_name("facts.json")


def measure(case: Case) -> dict[str, Any]:
    """Program hash; shape of a subject; its true circuit, size at each granularity, a hash, and what the published
    one lacks of it; what the logits stand for; which components sit elsewhere in a subject (compiles the case).
    """
    from interpbench.graph.names import is_head  # the graph needs NumPy, reading stored facts does not

    reference = case.reference()
    circuit = reference.circuit(reference.subject_config.graph)
    sizes = {granularity: int(circuit.members(granularity).sum()) for granularity in ("edges", "heads", "nodes")}
    compiled: Any = reference
    published = compiled.published_circuit(circuit.graph) if case.compiled else circuit
    facts = json.dumps([str(circuit.graph), sorted(circuit.edges)])
    return {
        "program_digest": reference.digest,
        **sizes,
        "attention": any(map(is_head, circuit.nodes)),
        "circuit": hashlib.sha256(facts.encode()).hexdigest()[:16],
        "shape": asdict(reference.subject_config),
        "true": sorted(circuit.edges),
        "published_lacks": sorted(circuit.edges - published.edges),
        "classes": reference.classes and [value_to_json(value) for value in reference.classes],
        "alignment": dict(compiled.alignment.moved) if case.compiled else {},
    }


@functools.cache
def _stored() -> dict[str, dict[str, Any]]:
    return json.loads(PATH.read_text())


def facts_of(case: Case) -> dict[str, Any]:
    """The facts, from the file for core's cases in their own form, else measured."""
    return (_stored().get(case.name) if case.form == "own" else None) or measure(case)


def has_heads(case: Case) -> bool:
    """Whether the case is compiled and its true circuit holds an attention head."""
    return case.compiled and facts_of(case)["attention"]


def twins(case: Case) -> list[str]:
    """Other cases of core's with the same true circuit in a subject of the same layers and heads."""
    circuit = facts_of(case)["circuit"]
    return [name for name, facts in _stored().items() if facts["circuit"] == circuit and name != case.name]


def main() -> None:
    """Write the file."""
    from interpbench.cases import interpbench_cases

    cases = sorted(interpbench_cases(), key=lambda case: (not case.name.isdigit(), case.name.zfill(9)))
    rows = (f"{json.dumps(case.name)}: {json.dumps(measure(case))}" for case in cases)
    write_text(PATH, "{\n" + ",\n".join(rows) + "\n}\n")
