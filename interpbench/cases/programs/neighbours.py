"""Cases that compare or combine each element with those beside it."""

from __future__ import annotations

from typing import Any

from interpbench.cases.programs import draws
from interpbench.cases.rasp.define import rasp_case
from interpbench.cases.rasp.pieces import following, previous, shift

DIGITS = range(11)
NAMES = ("MbJmTPSI", "SBvrj", "UDIh", "Wvgfy", "bVrp", "fJsONxK", "fLBcbfno", "iVgRV", "oCLrZaW", "wwMq")


@rasp_case("1", vocab="abcde", max_length=9, partial=True, causal=True)
def same_two_before(rasp: Any) -> Any:
    """Whether each token equals the one two positions before; undefined for the first two."""
    return rasp.SequenceMap(lambda x, y: x == y, rasp.tokens, shift(rasp, 2, rasp.tokens))


@rasp_case("6", vocab=range(10), max_length=9, partial=True, subject={"d_model": 36, "d_head": 9})
def oscillation(rasp: Any) -> Any:
    """Whether the sequence turns from rising to not rising, or back, at each position; undefined at both ends."""
    before, after = shift(rasp, 1, rasp.tokens), shift(rasp, -1, rasp.tokens)
    rises = [rasp.SequenceMap(lambda x, y: y > x, *pair) for pair in ((before, rasp.tokens), (rasp.tokens, after))]
    return rasp.SequenceMap(lambda x, y: x != y, *rises)


@rasp_case(
    "12", vocab="abc", max_length=14, partial=True, causal=True, draw=draws.half("abc", 14, draws.with_the_first_three)
)
def ends_abc(rasp: Any) -> Any:
    """Whether 'abc' ends at each position; undefined for the first two."""
    third, second, first = (rasp.Map(lambda x, letter=letter: x == letter, rasp.tokens) for letter in ("c", "b", "a"))
    begun = rasp.SequenceMap(lambda x, y: x and y, shift(rasp, 2, first), shift(rasp, 1, second))
    return rasp.SequenceMap(lambda x, y: x and y, begun, third)


@rasp_case("13", vocab=range(3), max_length=9, partial=True)
def trend(rasp: Any) -> Any:
    """'increasing', 'decreasing' or 'constant' towards the next element; undefined for the last."""

    def name(x: int, y: int) -> str:
        return "increasing" if x < y else "decreasing" if x > y else "constant"

    return rasp.SequenceMap(name, rasp.tokens, shift(rasp, -1, rasp.tokens))


@rasp_case("19", vocab="abc", max_length=14, partial=True, causal=True)
def no_repeats(rasp: Any) -> Any:
    """Each token that differs from the one before; undefined for repeats and for the first."""
    return rasp.SequenceMap(lambda x, y: x if x != y else None, rasp.tokens, shift(rasp, 1, rasp.tokens))


@rasp_case("32", vocab=NAMES, max_length=9, partial=True, causal=True)
def boundaries(rasp: Any) -> Any:
    """Whether each word differs from the one before; undefined for the first."""
    return rasp.SequenceMap(lambda x, y: x != y, rasp.tokens, shift(rasp, 1, rasp.tokens))


@rasp_case("38", vocab="abc", max_length=9, partial=True)
def differs_from_both(rasp: Any) -> Any:
    """Whether each token differs from both its neighbours; undefined at both ends."""
    before, after = shift(rasp, 1, rasp.tokens), shift(rasp, -1, rasp.tokens)
    pairs = [rasp.SequenceMap(lambda x, y: x != y, *pair) for pair in ((before, rasp.tokens), (rasp.tokens, after))]
    return rasp.SequenceMap(lambda x, y: x and y, *pairs)


@rasp_case("92", vocab=DIGITS, max_length=9, causal=True)
def zero_where_falling(rasp: Any) -> Any:
    """Each number, but 0 where it is less than the one before."""
    return rasp.SequenceMap(lambda x, y: 0 if x < y else x, rasp.tokens, previous(rasp))


@rasp_case("99", vocab=DIGITS, max_length=9)
def plus_next(rasp: Any) -> Any:
    """Each number plus the next; the last plus itself."""
    return rasp.SequenceMap(lambda x, y: x + y if y != 0 else x, rasp.tokens, following(rasp))


@rasp_case("112", vocab=DIGITS, max_length=9)
def difference_to_next(rasp: Any) -> Any:
    """The next number minus each; 0 for the last."""
    return rasp.SequenceMap(lambda x, y: x - y, following(rasp), rasp.tokens)


@rasp_case("115", vocab=DIGITS, max_length=9)
def times_next(rasp: Any) -> Any:
    """Each number times the next; the last times itself."""
    return rasp.SequenceMap(lambda x, y: x * y, rasp.tokens, following(rasp))


@rasp_case("118", vocab=DIGITS, max_length=9, partial=True)
def plus_previous(rasp: Any) -> Any:
    """Each number plus the one before; undefined for the first (the published text does not say so)."""
    before = rasp.SequenceMap(lambda x, i: x if i > 0 else 0, shift(rasp, 1, rasp.tokens), rasp.indices)
    return rasp.SequenceMap(lambda x, y: int(x + y), rasp.tokens, before)


@rasp_case("131", vocab=DIGITS, max_length=9, partial=True, causal=True)
def larger_of_two(rasp: Any) -> Any:
    """The larger of each number and the one before; undefined for the first (published: left as it is)."""
    return rasp.SequenceMap(lambda x, y: int(max(x, y)), rasp.tokens, shift(rasp, 1, rasp.tokens))
