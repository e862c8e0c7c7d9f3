"""Cases that move tokens to other positions: reversing, swapping, picking, sorting."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

from interpbench.cases.programs import draws
from interpbench.cases.programs.words import WORDS
from interpbench.cases.rasp.define import rasp_case
from interpbench.cases.rasp.pieces import (
    ascending,
    at,
    backwards,
    constant,
    gather,
    length,
    maximum,
    median,
    moved,
)

LETTERS, DIGITS = "abcdefghij", range(11)


@rasp_case("2", vocab=ascii_lowercase, max_length=9)
def reverse(rasp: Any) -> Any:
    """The input in reverse order."""
    return backwards(rasp)


@rasp_case("9", vocab=range(10), max_length=9, subject={"d_model": 66, "d_head": 16})
def sort_digits(rasp: Any) -> Any:
    """The digits in ascending order."""
    return ascending(rasp, rasp.tokens, rasp.tokens, 10)


@rasp_case("17", vocab=LETTERS, max_length=9, draw=draws.half(LETTERS, 9, draws.mirrored))
def mirror_images(rasp: Any) -> Any:
    """Whether each token equals the one as far from the other end."""
    return rasp.SequenceMap(lambda x, y: x == y, rasp.tokens, backwards(rasp))


@rasp_case("22", vocab=WORDS, max_length=9, subject={"d_model": 44, "d_head": 11})
def sort_by_length(rasp: Any) -> Any:
    """The words from short to long; equally long ones in their order."""
    return ascending(rasp, rasp.Map(len, rasp.tokens), rasp.tokens, 10)


@rasp_case("24", vocab="abc", max_length=9, causal=True, subject={"d_model": 36, "d_head": 9})
def same(rasp: Any) -> Any:
    """The input as it is, each position read from itself (the published text promises first occurrences)."""
    return at(rasp, rasp.indices, rasp.tokens)


@rasp_case("42", vocab=LETTERS, max_length=9, causal=True)
def first(rasp: Any) -> Any:
    """The first token, at every position."""
    return at(rasp, constant(rasp, 0, rasp.indices), rasp.tokens)


@rasp_case("57", vocab=LETTERS, max_length=9)
def second(rasp: Any) -> Any:
    """The second token, at every position."""
    return at(rasp, constant(rasp, 1, rasp.indices), rasp.tokens)


@rasp_case("58", vocab=DIGITS, max_length=9)
def first_half_mirrored(rasp: Any) -> Any:
    """The first half of the input, then its mirror image."""
    source = rasp.SequenceMap(lambda i, n: n - 1 - i if i >= n // 2 else i, rasp.indices, length(rasp))
    return at(rasp, source, rasp.tokens)


@rasp_case("59", vocab=DIGITS, max_length=9)
def sort(rasp: Any) -> Any:
    """The numbers in ascending order."""
    return ascending(rasp, rasp.tokens, rasp.tokens, 100_000)


@rasp_case("74", vocab=DIGITS, max_length=9)
def interleaved_with_reverse(rasp: Any) -> Any:
    """Even positions as they are; odd positions hold the odd ones in reverse order."""

    def source(i: int, n: int) -> int:
        return i if i % 2 == 0 else n - i if n % 2 == 0 else n - i - 1

    return at(rasp, rasp.SequenceMap(source, rasp.indices, length(rasp, rasp.indices)), rasp.tokens)


@rasp_case("81", vocab=DIGITS, max_length=9)
def middle(rasp: Any) -> Any:
    """The median of the input, at every position (published without a text)."""
    return median(rasp, 100)


@rasp_case("93", vocab=DIGITS, max_length=9)
def swap_from_second(rasp: Any) -> Any:
    """Positions 1 and 2, 3 and 4, ... swapped; the first, and a last one without partner, stay."""

    def source(i: int, n: int) -> int:
        stays = i == 0 or (i == n - 1 and n % 2 == 0)
        return i if stays else i - 1 if i % 2 == 0 else i + 1

    return at(rasp, rasp.SequenceMap(source, rasp.indices, length(rasp, rasp.indices)), rasp.tokens)


@rasp_case("97", vocab=DIGITS, max_length=9)
def scaled_by_maximum(rasp: Any) -> Any:
    """Each number divided by the largest; 0 if that is 0."""
    return rasp.SequenceMap(lambda x, y: x / y if y > 0 else 0, rasp.tokens, maximum(rasp))


@rasp_case("98", vocab=DIGITS, max_length=9)
def largest(rasp: Any) -> Any:
    """The largest number, at every position."""
    return maximum(rasp)


@rasp_case("100", vocab=DIGITS, max_length=10)
def swap_first_two(rasp: Any) -> Any:
    """The first two elements swapped."""
    return moved(rasp, rasp.Map(lambda i: 1 - i if i < 2 else i, rasp.indices), rasp.tokens)


@rasp_case("103", vocab=DIGITS, max_length=9)
def swap_pairs(rasp: Any) -> Any:
    """Positions 0 and 1, 2 and 3, ... swapped; a last one without partner stays."""

    def source(i: int, n: int) -> int:
        return i if i == n - 1 and n % 2 else i + 1 if i % 2 == 0 else i - 1

    return at(rasp, rasp.SequenceMap(source, rasp.indices, length(rasp, rasp.indices)), rasp.tokens)


@rasp_case("110", vocab=DIGITS, max_length=9)
def zeros_between(rasp: Any) -> Any:
    """The first half of the input with a 0 after each element."""
    spread = gather(rasp, lambda key, query: key == int(query / 2), rasp.tokens)
    return rasp.SequenceMap(lambda x, i: x if i % 2 == 0 else 0, spread, rasp.indices)


@rasp_case("111", vocab=DIGITS, max_length=9)
def last_then_zeros(rasp: Any) -> Any:
    """The last element at the first position, 0 elsewhere."""
    last = at(rasp, rasp.Map(lambda n: n - 1, length(rasp)), rasp.tokens)
    return rasp.SequenceMap(lambda x, i: x if i == 0 else 0, last, rasp.indices)


@rasp_case("120", vocab=DIGITS, max_length=9)
def halves_swapped(rasp: Any) -> Any:
    """The second half of the input, then the first; the middle of an odd length stays."""

    def target(i: int, half: float) -> int:
        if half == int(half):
            return int(i - half if i >= half else i + half)
        step = int(half) + 1
        return i if i + 0.5 == half else i + step if i < half else i - step

    half = rasp.Map(lambda n: n / 2, length(rasp, rasp.indices))
    return moved(rasp, rasp.SequenceMap(target, rasp.indices, half), rasp.tokens)


@rasp_case("126", vocab=DIGITS, max_length=9)
def median_of_all(rasp: Any) -> Any:
    """The median of the input, at every position (as case 81, with other sorting keys)."""
    return median(rasp, 10_000)


@rasp_case("128", vocab=DIGITS, max_length=9)
def swap_ends(rasp: Any) -> Any:
    """The first and the last element swapped."""

    def target(i: int, n: int) -> int:
        return n - 1 if i == 0 else 0 if i + 1 == n else i

    return moved(rasp, rasp.SequenceMap(target, rasp.indices, length(rasp, rasp.indices)), rasp.tokens)
