"""A declarative causal model: variables of whole numbers, each carried by a node of the subject.

A head looks: at every position it takes the value at the position whose key is what its query asks for. An MLP
computes: a table over the values at one position. The answer is a sum of votes of variables. What a RASP program says
in functions is data here, so that a model can be drawn at random, compared and hashed; and what RASP cannot say (a
backup that speaks where the first head is silent, votes against the answer) can be said.

A value is a number from 0, or none: what BOS has, what a head finds where no key fits, and what a table says so.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from interpbench.graph.names import edge_name

if TYPE_CHECKING:
    import numpy as np

NONE = -1
"""The number that stands for no value."""

TOKEN, PLACE = "embed", "pos"
"""The values that every input has: the token, by its index in the vocabulary, and the position, BOS's being 0."""


@dataclass(frozen=True)
class Table:
    """A function of one or more values: `entries` in the order of `itertools.product`, with `NONE` last in each
    dimension; `size` is the number of values that it may give.
    """

    sizes: tuple[int, ...]
    size: int
    entries: tuple[int, ...]

    @classmethod
    def of(cls, sizes: Sequence[int], size: int, function: Callable[..., int | None]) -> Table:
        """The table of a function of numbers, each None where there is none; it may return None."""
        arguments = itertools.product(*([*range(each), None] for each in sizes))
        found = (function(*each) for each in arguments)
        return cls(tuple(sizes), size, tuple(NONE if value is None else value for value in found))

    def __call__(self, *values: int) -> int:
        """The value for these."""
        index = 0
        for value, size in zip(values, self.sizes, strict=True):
            index = index * (size + 1) + (size if value == NONE else value)
        return self.entries[index]


@dataclass(frozen=True)
class Look:
    """What a head does: at each position it takes what is `carried` of the `value` where the `key` equals `wanted` of
    the `query` values.

    Where several keys fit, it takes the first; where none does, nothing.
    """

    query: tuple[str, ...]
    wanted: Table
    key: str
    value: str
    carried: Table


@dataclass(frozen=True)
class Compute:
    """What an MLP does: a table over the `inputs` at each position."""

    inputs: tuple[str, ...]
    table: Table


@dataclass(frozen=True)
class Draw:
    """Inputs: uniform tokens, then: `copies` makes tokens at some positions (from 0, without BOS) those of the first
    of them; `distinct` lets no token come twice; `rare` puts a token at a position on a share of the inputs, and
    never on the others.
    """

    copies: tuple[tuple[int, ...], ...] = ()
    distinct: bool = False
    rare: tuple[tuple[int, int, float], ...] = ()

    def __call__(self, rng: np.random.Generator, n: int, vocab: int, length: int) -> np.ndarray:
        """Token indices `[n, length]`."""
        import numpy as np

        tokens = rng.integers(vocab, size=(n, length))
        if self.distinct:
            tokens = np.argsort(rng.random((n, vocab)), 1)[:, :length]
        for first, *others in self.copies:
            tokens[:, others] = tokens[:, [first]]
        for position, token, share in self.rare:
            others = (token + rng.integers(1, vocab, size=n)) % vocab
            tokens[:, position] = np.where(rng.random(n) < share, token, others)
        return tokens


@dataclass(frozen=True)
class Flow:
    """A causal model over `vocab` tokens (numbers from 0) and inputs of `length`.

    `variables` maps nodes of the subject to what they do, in the order of computation. The answer is the class with
    the most `votes`: a variable's value gets its weight. With `numbers`, the answer is a number instead: the sum of
    weights times `numbers[value]`.
    """

    vocab: int
    length: int
    variables: Mapping[str, Look | Compute]
    votes: Mapping[str, float]
    classes: int
    shape: Mapping[str, Any]
    draw: Draw = field(default_factory=Draw)
    numbers: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        known = {TOKEN, PLACE}
        for node, variable in self.variables.items():
            for name, _ in reads(variable):
                if name not in known:
                    raise ValueError(f"{node} reads {name}, which is not computed before it")
            known.add(node)
        if unknown := self.votes.keys() - known:
            raise ValueError(f"votes of {', '.join(sorted(unknown))}, which nothing computes")

    def size(self, name: str) -> int:
        """Number of values of a variable, or of the input's tokens or positions."""
        if name in (TOKEN, PLACE):
            return self.vocab if name == TOKEN else self.length + 1
        variable = self.variables[name]
        return (variable.carried if isinstance(variable, Look) else variable.table).size

    @cached_property
    def edges(self) -> frozenset[str]:
        """The true circuit's edges."""
        inner = {
            edge_name(writer, f"{node}<{slot}>" if slot else node)
            for node, variable in self.variables.items()
            for writer, slot in reads(variable)
        }
        return frozenset(inner | {edge_name(node, "logits") for node in self.votes})

    @cached_property
    def digest(self) -> str:
        """Hash of everything that the model says."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def values(self, tokens: Sequence[int]) -> dict[str, list[int]]:
        """The value of every variable at each position, BOS's first; `NONE` where there is none."""
        found = {TOKEN: [NONE, *tokens], PLACE: list(range(len(tokens) + 1))}
        for node, variable in self.variables.items():
            found[node] = [_value(variable, found, i) for i in range(len(tokens) + 1)]
        return found

    def answer(self, tokens: Sequence[int]) -> list[int | float]:
        """The answer at every position but BOS's: a class, or a number."""
        found = self.values(tokens)
        return [self._answer({name: found[name][i] for name in self.votes}) for i in range(1, len(tokens) + 1)]

    def _answer(self, voted: Mapping[str, int]) -> int | float:
        votes = [0.0] * self.classes
        for name, value in voted.items():
            if value != NONE:
                votes[value] += self.votes[name]
        if self.numbers is not None:
            return sum(share * number for share, number in zip(votes, self.numbers, strict=True))
        return votes.index(max(votes))


def reads(variable: Look | Compute) -> list[tuple[str, str]]:
    """What a variable reads, each with the entrance: `q`, `k`, `v` of a head, empty for an MLP."""
    if isinstance(variable, Compute):
        return [(name, "") for name in variable.inputs]
    return [*((name, "q") for name in variable.query), (variable.key, "k"), (variable.value, "v")]


def _value(variable: Look | Compute, found: Mapping[str, Sequence[int]], i: int) -> int:
    if isinstance(variable, Compute):
        return variable.table(*(found[name][i] for name in variable.inputs))
    wanted = variable.wanted(*(found[name][i] for name in variable.query))
    for key, value in zip(found[variable.key], found[variable.value], strict=True):
        if key == wanted != NONE:
            return variable.carried(value)
    return NONE
