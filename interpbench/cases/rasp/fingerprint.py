"""A hash of what a RASP program computes: a function is identified by its value table, not its source."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from interpbench.cases.tokens import Token

if TYPE_CHECKING:
    from tracr.rasp.rasp import RASPExpr, SOp


def fingerprint(program: SOp, vocab: Iterable[Token], max_length: int) -> str | None:
    """Hash of a program on a vocabulary and a greatest length; 16 hexadecimal digits.

    Follows Tracr's inference of the values that an expression can take (arXiv 2301.05062). None if the program holds
    an expression of a kind without a table; our cases use none of these.
    """
    try:
        facts = _Tables(sorted(vocab, key=repr), max_length).of(program)
    except _NoTable:
        return None
    return hashlib.sha256(repr((max_length, facts)).encode()).hexdigest()[:16]


class _NoTable(Exception):
    pass


class _Tables:
    """Facts about each expression of a program, numbered in order of first visit, and the values it can take."""

    def __init__(self, vocab: list[Token], max_length: int) -> None:
        self.vocab, self.max_length = vocab, max_length
        self.facts: list[Any] = []
        self.number: dict[int, int] = {}
        self.values: dict[int, list[Any]] = {}

    def of(self, program: SOp) -> list[Any]:
        self._add(program)
        return self.facts

    def _add(self, expr: RASPExpr) -> int:
        from tracr.rasp import rasp

        if id(expr) not in self.number:
            children = [self._add(child) for child in expr.children]
            fact, values = self._describe(expr)
            encoding = expr.annotations["encoding"].value if isinstance(expr, rasp.SOp) else None
            self.facts.append((type(expr).__name__, children, encoding, fact))
            self.number[id(expr)] = len(self.facts) - 1
            self.values[id(expr)] = list(dict.fromkeys(value for value in values if value is not None))
        return self.number[id(expr)]

    def _describe(self, expr: Any) -> tuple[Any, Iterable[Any]]:
        from tracr.rasp import rasp

        match expr:
            case rasp.TokensType():
                return self.vocab, self.vocab
            case rasp.IndicesType():
                return None, range(self.max_length)
            case rasp.SelectorWidth():
                return None, range(self.max_length + 1)
            case rasp.Map():
                table = [_value(expr.f, x) for x in self.values[id(expr.inner)]]
                return table, table
            case rasp.SequenceMap():
                table = self._table(expr.f, expr.fst, expr.snd)
                return table, table
            case rasp.Select():
                return self._table(expr.predicate, expr.keys, expr.queries), ()
            case rasp.Aggregate() if rasp.is_categorical(expr):
                return expr.default, self.values[id(expr.sop)]
            case rasp.Aggregate():
                lengths = range(1, self.max_length + 1)
                return expr.default, [x / n for x in self.values[id(expr.sop)] for n in lengths]
        raise _NoTable

    def _table(self, function: Callable[[Any, Any], Any], first: RASPExpr, second: RASPExpr) -> list[Any]:
        pairs = itertools.product(self.values[id(first)], self.values[id(second)])
        return [_value(function, x, y) for x, y in pairs]


def _value(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's value; None where it is undefined, as Tracr has it."""
    try:
        return function(*arguments)
    except ArithmeticError:
        return None
