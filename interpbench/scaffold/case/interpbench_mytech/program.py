"""The program, from which everything is made: expected answers, the compiled reference, its true circuit.

Functions that programs share (`shift`, `histogram`, ...) are in `interpbench.cases.pieces`. The settings are explained
in `interpbench.cases.rasp_case`.
"""

from __future__ import annotations

from typing import Any

from interpbench.cases import rasp_case


@rasp_case("mytech", vocab="abc", max_length=5, output="numerical", causal=True)
def fraction_of_a(rasp: Any) -> Any:
    """Fraction of 'a' among the tokens up to each position."""
    is_a = rasp.numerical(rasp.Map(lambda token: float(token == "a"), rasp.tokens))
    so_far = rasp.Select(rasp.indices, rasp.indices, rasp.Comparison.LEQ)
    return rasp.numerical(rasp.Aggregate(so_far, is_a, default=0))
