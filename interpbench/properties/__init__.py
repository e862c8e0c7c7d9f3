"""Planted properties: causal models drawn at random, each with something that a technique could miss.

Imports neither PyTorch nor Tracr.
"""

from __future__ import annotations

from collections.abc import Iterable

from interpbench.cases.flow import PLACE, TOKEN, Compute, Draw, Flow, Look, Table
from interpbench.hooks import hookimpl
from interpbench.properties.property import Property
from interpbench.properties.sketch import Sketch

__all__ = ["PLACE", "TOKEN", "Compute", "Draw", "Flow", "Look", "Property", "Sketch", "Table"]


@hookimpl
def interpbench_properties() -> Iterable[Property]:
    """Core's own."""
    from interpbench.properties.planted import PROPERTIES

    return PROPERTIES
