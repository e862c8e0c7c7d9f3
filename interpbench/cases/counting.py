"""Cases that count: fractions of tokens so far, how often a token occurs, how many are greater."""

from __future__ import annotations

from typing import Any

from interpbench.cases.define import rasp_case


def running_fraction(rasp: Any, token: str) -> Any:
    """Fraction of `token` among the positions up to each one."""
    is_token = rasp.numerical(rasp.Map(lambda t: float(t == token), rasp.tokens))
    so_far = rasp.Select(rasp.indices, rasp.indices, rasp.Comparison.LEQ)
    return rasp.numerical(rasp.Aggregate(so_far, is_token, default=0))


def length(rasp: Any) -> Any:
    """How many tokens the input has, at every position."""
    return rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.TRUE))


def histogram(rasp: Any) -> Any:
    """How often the token at each position occurs in the input."""
    return rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.EQ))


@rasp_case(
    "3",
    vocab="abcx",
    max_length=4,
    output="numerical",
    causal=True,
    suites=["quick"],
    alignment={"a1.h0": "a1.h2"},
)
def fraction_of_x(rasp: Any) -> Any:
    """Fraction of 'x' among the tokens up to each position."""
    return running_fraction(rasp, "x")


@rasp_case("4", vocab="()abc", max_length=9, output="numerical", causal=True, suites=["quick"])
def bracket_balance(rasp: Any) -> Any:
    """Fraction of '(' minus fraction of ')' among the tokens up to each position."""
    opened, closed = running_fraction(rasp, "("), running_fraction(rasp, ")")
    return rasp.numerical(rasp.LinearSequenceMap(opened, closed, 1, -1))


@rasp_case("7", vocab="abc", max_length=9, suites=["quick"], subject={"d_model": 17, "d_head": 4})
def occurrences(rasp: Any) -> Any:
    """How often the token at each position occurs in the whole input."""
    return histogram(rasp)


@rasp_case("18", vocab="abcde", max_length=9, suites=["quick"], subject={"d_model": 26, "d_head": 6})
def rarity(rasp: Any) -> Any:
    """'frequent' if a token makes up more than half of the input, 'common' if more than a quarter, else 'rare'."""

    def classify(count: int, total: int) -> str:
        return "frequent" if count > total / 2 else "common" if count > total / 4 else "rare"

    return rasp.SequenceMap(classify, histogram(rasp), length(rasp))


@rasp_case("44", vocab=range(11), max_length=9, suites=["quick"], subject={"d_model": 24, "d_head": 6})
def count_greater(rasp: Any) -> Any:
    """How many elements of the input are greater than the one at each position."""
    return rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.GT))
