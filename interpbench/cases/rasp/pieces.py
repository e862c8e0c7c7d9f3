"""RASP expressions that many cases share. Tracr's `rasp` module is the first argument of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def constant(rasp: Any, value: float, of: Any) -> Any:
    """The same value at every position, made from `of`."""
    return rasp.Map(lambda _: value, of)


def at(rasp: Any, position: Any, values: Any) -> Any:
    """The value that stands at `position`; undefined where there is no such position."""
    return rasp.Aggregate(rasp.Select(rasp.indices, position, rasp.Comparison.EQ), values)


def moved(rasp: Any, target: Any, values: Any) -> Any:
    """Every value at the position that its `target` names."""
    return rasp.Aggregate(rasp.Select(target, rasp.indices, rasp.Comparison.EQ), values)


def gather(rasp: Any, reads: Callable[[int, int], bool], values: Any) -> Any:
    """The value at the position `key` that `reads(key, query)` picks for each position `query`."""
    return rasp.Aggregate(rasp.Select(rasp.indices, rasp.indices, reads), values)


def shift(rasp: Any, by: int, values: Any) -> Any:
    """The value `by` positions earlier; undefined where there is none."""
    return gather(rasp, lambda key, query: query == key + by, values)


def length(rasp: Any, of: Any = None) -> Any:
    """How many tokens the input has, at every position; counted over `of` (the tokens)."""
    of = rasp.tokens if of is None else of
    return rasp.SelectorWidth(rasp.Select(of, of, rasp.Comparison.TRUE))


def histogram(rasp: Any) -> Any:
    """How often the token at each position occurs in the input."""
    return rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.EQ))


def how_many(rasp: Any, values: Any, value: int) -> Any:
    """How many positions hold `value`, at every position."""
    return rasp.SelectorWidth(rasp.Select(values, constant(rasp, value, rasp.indices), rasp.Comparison.EQ))


def running_fraction(rasp: Any, token: str) -> Any:
    """Fraction of `token` among the positions up to each one."""
    is_token = rasp.numerical(rasp.Map(lambda t: float(t == token), rasp.tokens))
    so_far = rasp.Select(rasp.indices, rasp.indices, rasp.Comparison.LEQ)
    return rasp.numerical(rasp.Aggregate(so_far, is_token, default=0))


def balance(rasp: Any, opening: str, closing: str) -> Any:
    """Fraction of opening minus fraction of closing brackets up to each position."""
    opened, closed = running_fraction(rasp, opening), running_fraction(rasp, closing)
    return rasp.numerical(rasp.LinearSequenceMap(opened, closed, 1, -1))


def backwards(rasp: Any) -> Any:
    """The tokens in reverse order."""
    opposite = rasp.Map(lambda i: i - 1, rasp.SequenceMap(lambda n, i: n - i, length(rasp), rasp.indices))
    return at(rasp, opposite, rasp.tokens)


def ascending(rasp: Any, keys: Any, values: Any, parts: float) -> Any:
    """Values in the order of their keys; ties in the order of positions, each of which adds `1 / parts` to a key."""
    unique = rasp.SequenceMap(lambda x, i: x + i / parts, keys, rasp.indices)
    smaller = rasp.SelectorWidth(rasp.Select(unique, unique, rasp.Comparison.LT))
    return moved(rasp, smaller, values)


def median(rasp: Any, parts: float) -> Any:
    """The median of the input, at every position."""
    in_order = ascending(rasp, rasp.tokens, rasp.tokens, parts)
    n = length(rasp)
    lower, upper = rasp.Map(lambda x: (x - 1) // 2, n), rasp.Map(lambda x: x // 2, n)
    return rasp.SequenceMap(lambda x, y: (x + y) / 2, at(rasp, lower, in_order), at(rasp, upper, in_order))


def maximum(rasp: Any) -> Any:
    """The largest token, at every position."""
    unique = rasp.SequenceMap(lambda x, i: x + i * 1e-14, rasp.tokens, rasp.indices)
    rank = rasp.SelectorWidth(rasp.Select(unique, unique, rasp.Comparison.LEQ))
    return rasp.Aggregate(rasp.Select(rank, length(rasp), rasp.Comparison.EQ), rasp.tokens)


def following(rasp: Any) -> Any:
    """The next token; at the last position the last itself."""
    before = rasp.SequenceMap(lambda i, n: i if i < n - 1 else i - 1, rasp.indices, length(rasp, rasp.indices))
    return rasp.Aggregate(rasp.Select(rasp.indices, before, lambda key, query: key - 1 == query), rasp.tokens)


def previous(rasp: Any) -> Any:
    """The token before; at the first position the first itself."""
    return gather(rasp, lambda key, query: query == key + 1 or key == query == 0, rasp.tokens)


def bad_pairs(rasp: Any, good: Callable[[Any, Any], bool]) -> Any:
    """How many tokens stand in no `good(previous, token)` order, at every position."""
    return how_many(rasp, rasp.SequenceMap(lambda x, y: int(good(x, y)), previous(rasp), rasp.tokens), 0)
