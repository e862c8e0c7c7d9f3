"""Cases that move tokens to other positions."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

from interpbench.cases.counting import length
from interpbench.cases.define import rasp_case


@rasp_case("2", vocab=ascii_lowercase, max_length=9)
def reverse(rasp: Any) -> Any:
    """The input in reverse order."""
    opposite = rasp.SequenceMap(lambda n, i: n - i, length(rasp), rasp.indices)
    opposite = rasp.Map(lambda i: i - 1, opposite)
    return rasp.Aggregate(rasp.Select(rasp.indices, opposite, rasp.Comparison.EQ), rasp.tokens, default=None)
