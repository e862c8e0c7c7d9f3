"""Cases that count: fractions of tokens so far, how often a token occurs, how many are greater."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

from interpbench.cases.programs import draws
from interpbench.cases.rasp.define import rasp_case
from interpbench.cases.rasp.pieces import at, balance, histogram, length, running_fraction


@rasp_case("3", vocab="abcx", max_length=4, output="numerical", causal=True, alignment={"a1.h0": "a1.h2"})
def fraction_of_x(rasp: Any) -> Any:
    """Fraction of 'x' among the tokens up to each position."""
    return running_fraction(rasp, "x")


@rasp_case("4", vocab="()abc", max_length=9, output="numerical", causal=True)
def bracket_balance(rasp: Any) -> Any:
    """Fraction of '(' minus fraction of ')' among the tokens up to each position."""
    return balance(rasp, "(", ")")


@rasp_case(
    "5",
    vocab="()x{}",
    max_length=9,
    draw=draws.half("()x{}", 9, draws.in_balance),
    subject={"d_model": 37, "d_head": 9},
)
def balanced(rasp: Any) -> Any:
    """Whether every round and every curly bracket is closed after it was opened, at every position."""
    round_, curly = balance(rasp, "(", ")"), balance(rasp, "{", "}")
    either = rasp.SequenceMap(
        lambda x, y: x or y, *(rasp.Map(lambda share: share < 0, kind) for kind in (round_, curly))
    )
    numbers = rasp.numerical(rasp.Map(lambda x: x, either))
    anywhere = rasp.Select(rasp.indices, rasp.indices, rasp.Comparison.TRUE)
    never = rasp.Map(lambda share: not share, rasp.numerical(rasp.Aggregate(anywhere, numbers, default=0)))
    both = rasp.SequenceMap(
        lambda x, y: x and y, *(rasp.Map(lambda share: share == 0, kind) for kind in (round_, curly))
    )
    at_the_end = at(rasp, rasp.Map(lambda n: n - 1, length(rasp)), both)
    return rasp.SequenceMap(lambda x, y: x and y, at_the_end, never)


@rasp_case("7", vocab="abc", max_length=9, subject={"d_model": 17, "d_head": 4})
def occurrences(rasp: Any) -> Any:
    """How often the token at each position occurs in the whole input."""
    return histogram(rasp)


@rasp_case("14", vocab="abc", max_length=9)
def count_a(rasp: Any) -> Any:
    """How often 'a' occurs in the input, at every position."""
    return rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.tokens, lambda key, query: key == "a"))


@rasp_case("18", vocab="abcde", max_length=9, subject={"d_model": 26, "d_head": 6})
def rarity(rasp: Any) -> Any:
    """'frequent' if a token makes up more than half of the input, 'common' if more than a quarter, else 'rare'."""

    def classify(count: int, total: int) -> str:
        return "frequent" if count > total / 2 else "common" if count > total / 4 else "rare"

    return rasp.SequenceMap(classify, histogram(rasp), length(rasp))


@rasp_case("21", vocab="abc", max_length=9, partial=True, causal=True, subject={"d_model": 50, "d_head": 12})
def first_occurrences(rasp: Any) -> Any:
    """Each token at its first occurrence; undefined at later ones."""
    pair = rasp.SequenceMap(lambda x, i: (x, i), rasp.tokens, rasp.indices)
    so_far = rasp.Select(pair, pair, lambda key, query: key[0] == query[0] and key[1] <= query[1])
    place = rasp.SequenceMap(lambda count, i: i if count == 1 else -1, rasp.SelectorWidth(so_far), rasp.indices)
    return rasp.Aggregate(rasp.Select(place, rasp.indices, rasp.Comparison.EQ), rasp.tokens)


@rasp_case("25", vocab="abc", max_length=9, subject={"d_model": 62, "d_head": 15})
def relative_frequency(rasp: Any) -> Any:
    """Share of the input that equals the token at each position."""
    return rasp.SequenceMap(lambda x, y: x / y if y > 0 else None, histogram(rasp), length(rasp))


@rasp_case("39", vocab=ascii_lowercase, max_length=59, output="numerical", causal=True)
def fraction_of_x_in_long_inputs(rasp: Any) -> Any:
    """Fraction of 'x' among the tokens up to each position, in long inputs."""
    return running_fraction(rasp, "x")


@rasp_case("44", vocab=range(11), max_length=9)
def count_greater(rasp: Any) -> Any:
    """How many elements of the input are greater than the one at each position."""
    return rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.GT))


@rasp_case("47", vocab="abcdefghij", max_length=9)
def frequency(rasp: Any) -> Any:
    """How often the token at each position occurs, among ten letters."""
    return histogram(rasp)


@rasp_case("61", vocab=range(11), max_length=9)
def rank(rasp: Any) -> Any:
    """Rank of each number: 1 plus how many are smaller."""
    smaller = rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.LT))
    return rasp.Map(lambda n: n + 1, smaller)


@rasp_case("63", vocab=range(11), max_length=9)
def count_less(rasp: Any) -> Any:
    """How many elements of the input are less than the one at each position."""
    return rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.LT))


@rasp_case("78", vocab="abcdefghij", max_length=9)
def how_often(rasp: Any) -> Any:
    """How often the token at each position occurs, among ten letters (case 47 under another name)."""
    return histogram(rasp)


@rasp_case("96", vocab=range(1, 11), max_length=9)
def only_once(rasp: Any) -> Any:
    """Each number that occurs exactly once, 0 for others (the published text promises first occurrences)."""
    count, place = histogram(rasp), rasp.Map(lambda i: i + 1, rasp.indices)
    possible = rasp.SequenceMap(lambda n, i: n if n <= i else 0, count, place)
    single = rasp.Map(lambda n: 1 if n == 1 else 0, possible)
    return rasp.SequenceMap(lambda x, keep: x if keep == 1 else 0, rasp.tokens, single)
