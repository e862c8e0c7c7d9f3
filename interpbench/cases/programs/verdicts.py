"""Cases that give one answer about the whole input, at every position."""

from __future__ import annotations

from typing import Any

from interpbench.cases.programs import draws
from interpbench.cases.rasp.define import rasp_case
from interpbench.cases.rasp.pieces import at, bad_pairs, constant, gather, how_many, length, moved

DIGITS, UP_TO_29 = range(11), range(30)


def last_two(rasp: Any) -> tuple[Any, Any]:
    """The last element and the one before, at every position."""
    n = length(rasp)
    last, before = rasp.Map(lambda x: x - 1, n), rasp.Map(lambda x: x - 2, n)
    return at(rasp, last, rasp.tokens), at(rasp, before, rasp.tokens)


@rasp_case("88", vocab=DIGITS, max_length=9)
def mean_of_ends(rasp: Any) -> Any:
    """Mean of the first and the last element."""
    start = rasp.Select(rasp.indices, rasp.indices, lambda key, query: key == 0)
    opposite = rasp.SequenceMap(lambda i, n: n - i - 1, rasp.indices, length(rasp, rasp.indices))
    first = rasp.Aggregate(start, rasp.tokens)
    last = rasp.Aggregate(start, moved(rasp, opposite, rasp.tokens))
    return rasp.SequenceMap(lambda x, y: (x + y) / 2.0, first, last)


@rasp_case("89", vocab=DIGITS, max_length=10, draw=draws.half(DIGITS, 10, draws.in_order))
def never_falls(rasp: Any) -> Any:
    """1 if no element is less than the one before, else 0."""
    return rasp.Map(lambda bad: 0 if bad > 0 else 1, bad_pairs(rasp, lambda x, y: x <= y))


@rasp_case("94", vocab=DIGITS, max_length=9, draw=draws.half(DIGITS, 9, draws.in_reverse_order))
def never_rises(rasp: Any) -> Any:
    """1 if no element is greater than the one before, else 0."""
    return rasp.Map(lambda bad: 0 if bad > 0 else 1, bad_pairs(rasp, lambda x, y: x >= y))


@rasp_case("108", vocab=DIGITS, max_length=9, draw=draws.half(DIGITS, 9, draws.all_different))
def any_equal(rasp: Any) -> Any:
    """1 if two elements are equal, else 0."""
    count = rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.tokens, lambda key, query: key == query))
    twice = rasp.Select(count, constant(rasp, 2, rasp.indices), rasp.Comparison.GEQ)
    return rasp.Map(lambda n: 1 if n > 0 else 0, rasp.SelectorWidth(twice))


@rasp_case("109", vocab=DIGITS, max_length=9, draw=draws.half(DIGITS, 9, draws.last_two_the_same))
def last_two_equal(rasp: Any) -> Any:
    """1 if the last two elements are equal, else 0."""
    return rasp.SequenceMap(lambda x, y: 1 if x == y else 0, *last_two(rasp))


@rasp_case("113", vocab=UP_TO_29, max_length=9, draw=draws.half(UP_TO_29, 9, draws.in_order))
def reverse_if_sorted(rasp: Any) -> Any:
    """The input, in reverse order if it is sorted in ascending order."""
    side = rasp.Map(lambda bad: 1 if bad > 0 else -1, bad_pairs(rasp, lambda x, y: x <= y))
    centre = rasp.Map(lambda n: n / 2 - 0.5, length(rasp, rasp.indices))
    distance = rasp.SequenceMap(lambda i, c: i - c, rasp.indices, centre)
    place = rasp.SequenceMap(lambda x, y: x * y, side, distance)
    return moved(rasp, rasp.SequenceMap(lambda x, y: x + y, centre, place), rasp.tokens)


@rasp_case("116", vocab=DIGITS, max_length=10)
def multiple_of_first(rasp: Any) -> Any:
    """1 at each multiple of the first element, else 0 (always 0 if that is 0)."""
    first = at(rasp, constant(rasp, 0, rasp.indices), rasp.tokens)
    return rasp.SequenceMap(lambda x, y: (1 if x % y == 0 else 0) if y != 0 else 0, rasp.tokens, first)


@rasp_case("117", vocab=DIGITS, max_length=9)
def sum_of_last_two(rasp: Any) -> Any:
    """Sum of the last two elements."""
    return rasp.SequenceMap(lambda x, y: x + y, *last_two(rasp))


@rasp_case("119", vocab=range(6), max_length=4, partial=True)
def polynomial(rasp: Any) -> Any:
    """The value b x² + c x + d for an input x b c d; undefined where it is shorter."""
    total = rasp.SequenceMap(lambda x, y: x - y, rasp.tokens, rasp.tokens)
    base = at(rasp, total, rasp.tokens)
    for i in (1, 2, 3):
        weight = at(rasp, constant(rasp, i, rasp.tokens), rasp.tokens)
        term = rasp.SequenceMap(lambda x, y, power=3 - i: y * x**power, base, weight)
        total = rasp.SequenceMap(lambda x, y: x + y, total, term)
    return total


@rasp_case("124", vocab=DIGITS, max_length=9, draw=draws.half(DIGITS, 9, draws.all_the_same))
def all_equal(rasp: Any) -> Any:
    """1 if all elements are equal, else 0."""
    others = rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.tokens, lambda key, query: key != query))
    return rasp.Map(lambda n: 1 if n > 0 else 0, how_many(rasp, others, 0))


@rasp_case("125", vocab=DIGITS, max_length=9, draw=draws.half(DIGITS, 9, draws.even_and_odd_in_turn))
def parity_alternates(rasp: Any) -> Any:
    """1 if even and odd elements alternate, else 0."""
    neighbour = gather(rasp, lambda key, query: query == key + 1 or (key == 1 and query == 0), rasp.tokens)
    even = rasp.Map(lambda x: 1 if x % 2 == 0 else 0, neighbour)
    odd = rasp.Map(lambda x: 1 if x % 2 else 0, rasp.tokens)
    good = rasp.SequenceMap(lambda x, y: 1 if x == y else 0, even, odd)
    return rasp.Map(lambda bad: 0 if bad > 0 else 1, how_many(rasp, good, 0))


@rasp_case("127", vocab=DIGITS, max_length=9)
def divided_by_ratio(rasp: Any) -> Any:
    """Each number divided by the quotient of the second and the first (by 1 if one of them is 0)."""
    first = at(rasp, constant(rasp, 0, rasp.indices), rasp.tokens)
    second = at(rasp, rasp.Map(lambda n: 1 if n > 1 else 0, length(rasp, rasp.indices)), rasp.tokens)
    ratio = rasp.SequenceMap(lambda x, y: y / x if x != 0 and y != 0 else 1, first, second)
    return rasp.SequenceMap(lambda x, y: x / y, rasp.tokens, ratio)


@rasp_case("129", vocab=UP_TO_29, max_length=9, draw=draws.half(UP_TO_29, 9, draws.all_even))
def all_multiples_of_2(rasp: Any) -> Any:
    """1 if all elements are even, else 0."""
    even = rasp.Map(lambda x: 1 if x % 2 == 0 else 0, rasp.tokens)
    return rasp.Map(lambda bad: 0 if bad > 0 else 1, how_many(rasp, even, 0))
