"""Generated cases: a name such as `redundancy-2-17` (property, level, seed) says which case it is."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interpbench.cases.case import Case
from interpbench.cases.flow import Draw, Flow
from interpbench.cases.tokens import Inputs, Token
from interpbench.errors import InterpbenchError, UsageError, kind_and_line
from interpbench.properties.property import Property

if TYPE_CHECKING:
    import numpy as np

ATTEMPTS = 50
"""How many models are drawn until one is worth a subject."""

_NAME = re.compile(r"(\w[\w.]*)-(\d{1,3})-(\d{1,9})")


@dataclass(frozen=True)
class Drawn:
    """A model that passed the filters, and why the models drawn before it did not."""

    flow: Flow
    rejections: tuple[str, ...]


@functools.cache
def draw(property: Property, level: int, seed: int) -> Drawn:
    """The model of a property at a level that a seed gives: the same everywhere.

    Raises UsageError for a level that there is not, InterpbenchError if no model passes the filters or the
    property's function fails.
    """
    import numpy as np

    from interpbench.properties.accept import rejected

    if not 1 <= level <= len(property.levels):
        raise UsageError(f"property '{property.name}' has the levels 1 to {len(property.levels)}, not {level}")
    rejections: list[str] = []
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([seed, level, zlib.crc32(property.name.encode()), attempt])
        try:
            flow = property.make(level, rng)
        except Exception as error:
            said = f"property '{property.name}' at level {level}, seed {seed}: {kind_and_line(error)}"
            raise InterpbenchError(f"{said} (in its function; `check_property` shows where)") from error
        reason = rejected(flow)
        if reason is None:
            return Drawn(flow, tuple(rejections))
        rejections.append(reason)
    most = max(set(rejections), key=rejections.count)
    raise InterpbenchError(f"property '{property.name}' at level {level}: all of {ATTEMPTS} models rejected ({most})")


def name_of(property: Property, level: int, seed: int) -> str:
    """The name of a generated case."""
    return f"{property.name}-{level}-{seed}"


def property_of(name: str) -> str | None:
    """The name of the property that the name of a generated case begins with; None for another name."""
    found = _NAME.fullmatch(name)
    return found[1] if found is not None else None


def parts_of(name: str, properties: Mapping[str, Property]) -> tuple[Property, int, int] | None:
    """Property, level and seed of a generated case; None if the name is not one of a generated case."""
    found = _NAME.fullmatch(name)
    if found is None or found[1] not in properties or name != f"{found[1]}-{int(found[2])}-{int(found[3])}":
        return None
    return properties[found[1]], int(found[2]), int(found[3])


def generated_case(name: str, properties: Mapping[str, Property]) -> Case | None:
    """The case of that name, None if the name is not one of a generated case. Raises as `draw` does."""
    parts = parts_of(name, properties)
    if parts is None:
        return None
    property, level, seed = parts
    flow = draw(property, level, seed).flow
    return _case(name, f"Generated: {property.what}; {property.levels[level - 1]}.", flow, property.make.__module__)


def _case(name: str, description: str, flow: Flow, module: str) -> Case:
    """The case of a causal model, which `module` makes."""
    vocab: tuple[Token, ...] = tuple(range(flow.vocab))

    def program(tokens: Sequence[Token]) -> list[Any]:
        return list(flow.answer([int(token) for token in tokens]))

    def inputs(rng: np.random.Generator, n: int) -> Inputs:
        return [tuple(row) for row in flow.draw(rng, n, flow.vocab, flow.length).tolist()]

    @functools.cache
    def reference() -> Any:
        from interpbench.cases.flow_reference import FlowReference

        return FlowReference(flow, case.tokens)

    program.__module__ = module
    case = Case(
        name=name,
        description=description,
        output="categorical" if flow.numbers is None else "numerical",
        vocab=vocab,
        max_length=flow.length,
        min_length=flow.length,
        program=program,
        reference=reference,
        draw=None if flow.draw == Draw() else inputs,
    )
    return case
