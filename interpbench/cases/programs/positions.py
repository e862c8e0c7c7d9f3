"""Cases that change each element by where it stands or by how long the input is."""

from __future__ import annotations

from typing import Any

from interpbench.cases.rasp.define import rasp_case
from interpbench.cases.rasp.pieces import length

DIGITS = range(11)


@rasp_case("15", vocab=range(5), max_length=4, causal=True)
def twice_minus_index(rasp: Any) -> Any:
    """Twice each number minus its position, by way of pairs and triples."""
    pair = rasp.SequenceMap(lambda x, y: (x, y), rasp.tokens, rasp.tokens)
    triple = rasp.SequenceMap(lambda xy, i: (*xy, i), pair, rasp.indices)
    return rasp.Map(lambda abc: abc[0] + abc[1] - abc[2], triple)


@rasp_case("45", vocab=DIGITS, max_length=9)
def first_half_doubled(rasp: Any) -> Any:
    """The first half of the input doubled."""
    early = rasp.SequenceMap(lambda i, n: 1 if i < n / 2 else 0, rasp.indices, length(rasp))
    return rasp.SequenceMap(lambda x, e: x * (1 + e), rasp.tokens, early)


@rasp_case("48", vocab=DIGITS, max_length=9, causal=True)
def plus_index(rasp: Any) -> Any:
    """Each number plus its position."""
    return rasp.SequenceMap(lambda x, i: x + i, rasp.tokens, rasp.indices)


@rasp_case("53", vocab=DIGITS, max_length=9, causal=True)
def odd_places_plus_1(rasp: Any) -> Any:
    """Each number, plus 1 at odd positions (counted from 0)."""
    return rasp.SequenceMap(lambda x, y: x + y, rasp.tokens, rasp.Map(lambda i: i % 2, rasp.indices))


@rasp_case("56", vocab=DIGITS, max_length=9, causal=True)
def every_third_zero(rasp: Any) -> Any:
    """Each number, but 0 at every third position."""
    third = rasp.Map(lambda yes: 1 if yes else 0, rasp.Map(lambda i: (i + 1) % 3 == 0, rasp.indices))
    return rasp.SequenceMap(lambda x, y: 0 if y else x, rasp.tokens, third)


@rasp_case("67", vocab=DIGITS, max_length=9)
def times_length(rasp: Any) -> Any:
    """Each number times the length of the input."""
    return rasp.SequenceMap(lambda x, n: x * n, rasp.tokens, length(rasp))


@rasp_case("71", vocab=DIGITS, max_length=9)
def divided_by_length(rasp: Any) -> Any:
    """Each number divided by the length of the input."""
    return rasp.SequenceMap(lambda x, n: x / n if n > 0 else 0, rasp.tokens, length(rasp))


@rasp_case("76", vocab=DIGITS, max_length=9, causal=True)
def even_places_zero(rasp: Any) -> Any:
    """Each number, but 0 at even positions (counted from 0)."""
    mark = rasp.Map(lambda i: -1 if i % 2 else 0, rasp.Map(lambda i: i, rasp.indices))
    return rasp.SequenceMap(lambda x, y: x if y == -1 else 0, rasp.tokens, mark)


@rasp_case("82", vocab=DIGITS, max_length=9)
def second_half_halved(rasp: Any) -> Any:
    """The second half of the input divided by 2."""
    middle = rasp.Map(lambda n: n // 2, length(rasp))
    late = rasp.SequenceMap(lambda i, m: i >= m, rasp.indices, middle)
    return rasp.SequenceMap(lambda x, y: x / 2 if y else x, rasp.tokens, late)


@rasp_case("106", vocab=DIGITS, max_length=9, causal=True)
def only_index_1(rasp: Any) -> Any:
    """The number at position 1 (counted from 0), 0 elsewhere."""
    return rasp.SequenceMap(lambda x, i: x if i == 1 else 0, rasp.tokens, rasp.indices)
