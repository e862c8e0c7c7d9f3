"""A case: a task with a known algorithm, its inputs, and the reference model that runs the algorithm.

A case is frozen data. Heavy work (compiling or evaluating a RASP program) happens in the callables it holds, so that
listing all cases is fast and needs none of their extras.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from interpbench.cases.reference import Reference
from interpbench.cases.tokens import BOS, PAD, Inputs, Token, tracr_order

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Case:
    """A task: vocabulary, input lengths, program and reference. Lengths count the tokens of an input without BOS.

    `partial`: the program is undefined (None) at some positions.
    """

    name: str
    description: str
    output: Literal["categorical", "numerical"]
    vocab: tuple[Token, ...]
    max_length: int
    min_length: int
    program: Callable[[Sequence[Token]], list[Any]]
    reference: Callable[[], Reference]
    draw: Callable[[np.random.Generator, int], Inputs] | None = None
    counterfactual: Callable[[np.random.Generator, Inputs], Inputs] | None = None
    scored: Literal["all", "last"] = "all"
    next_token: bool = False
    special: tuple[str, ...] = (BOS, PAD)
    partial: bool = False
    published_ids: tuple[int, ...] | None = None
    """Ids of `tokens` in the vocabulary of a published subject whose vocabulary is larger than the case's."""
    compiled: bool = False
    """Whether the reference is itself a transformer, a compiled program that can be run like a subject."""
    form: Literal["own", "published"] = "own"
    published: Case | None = None
    """The form of the case that published subjects are about, of the same name, where it is not this one; its own
    `form` is "published".
    """

    @property
    def published_form(self) -> Case:
        """The case as published subjects know it."""
        return self.published or self

    @property
    def n_ctx(self) -> int:
        """Positions of the longest input with BOS."""
        return self.max_length + 1

    @cached_property
    def tokens(self) -> tuple[Token, ...]:
        """The vocabulary in the order of its token ids, BOS and PAD among them (Tracr's order)."""
        return tuple(sorted({*self.vocab, *self.special}, key=functools.cmp_to_key(tracr_order)))

    def expected(self, tokens: Sequence[Token]) -> list[Any]:
        """The program's answers, one for each position (None: undefined or not scored).

        Raises ValueError for tokens outside the vocabulary or an input too long or empty.
        """
        self.check(tokens)
        return self.program(tokens)

    def check(self, tokens: Sequence[Token]) -> None:
        """Raise ValueError, naming valid tokens or lengths, if this is not an input of the case."""
        for token in tokens:
            if token not in self.vocab:
                shown = " ".join(map(str, self.vocab[:40])) + (" ..." if len(self.vocab) > 40 else "")
                raise ValueError(f"case {self.name} has no token {token!r}; its tokens: {shown}")
        if not 1 <= len(tokens) <= self.max_length:
            raise ValueError(f"case {self.name} takes 1 to {self.max_length} tokens, not {len(tokens)}")

    def encode(self, inputs: Sequence[Sequence[Token]]) -> np.ndarray:
        """Token ids with BOS first; int64 `[row, position]`. Raises ValueError for bad or unequally long inputs."""
        import numpy as np

        for tokens in inputs:
            self.check(tokens)
        if len({len(tokens) for tokens in inputs}) > 1:
            raise ValueError("inputs of one batch must have the same length")
        ids = {token: i for i, token in enumerate(self.tokens)}
        return np.array([[ids[BOS], *(ids[token] for token in tokens)] for tokens in inputs], dtype=np.int64)

    def parse(self, words: Sequence[str]) -> tuple[Token, ...]:
        """Tokens typed on a command line. Raises ValueError for a word that is not a token."""
        by_word = {str(token): token for token in self.vocab}
        tokens = tuple(by_word.get(word, word) for word in words)
        self.check(tokens)
        return tokens

    def inputs(self, n: int, rng: np.random.Generator, unique: bool = False) -> np.ndarray:
        """Encoded inputs of full length, uniform unless the case draws its own; int64 `[n, position]`.

        With `unique`, all inputs differ. Raises ValueError if the case has too few different inputs.
        """
        import numpy as np

        if unique:
            return self._unique_inputs(n, rng)
        if self.draw is not None:
            return self.encode(self.draw(rng, n))
        ids = np.array([self.tokens.index(token) for token in self.vocab])
        drawn = ids[rng.integers(len(ids), size=(n, self.max_length))]
        return np.concatenate([np.full((n, 1), self.tokens.index(BOS)), drawn], 1)

    def _unique_inputs(self, n: int, rng: np.random.Generator) -> np.ndarray:
        import numpy as np

        found, first = self.inputs(n, rng), ()
        for _ in range(20):
            _, first = np.unique(found, axis=0, return_index=True)
            found = found[np.sort(first)]
            if len(found) >= n:
                return found[:n]
            found = np.concatenate([found, self.inputs(2 * n, rng)])
        raise ValueError(f"case {self.name} has hardly more than {len(first)} different inputs; {n} were asked for")

    def corrupt(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Corrupted inputs for clean ones: the case's counterfactual, or independent draws; int64 `[n, position]`."""
        if self.counterfactual is None:
            return self.inputs(len(clean), rng)
        return self.encode(self.counterfactual(rng, self.decode(clean)))

    def decode(self, encoded: np.ndarray) -> Inputs:
        """The inverse of `encode`."""
        return [tuple(self.tokens[i] for i in row[1:]) for row in encoded.tolist()]

    def pairs(self, n: int, seed: int, unique: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Clean and corrupted inputs, both int64 `[n, position]`; the corrupted ones have their own seed.

        With `unique`, all clean inputs differ; see `inputs`.
        """
        import numpy as np

        clean = self.inputs(n, np.random.default_rng([seed, 0]), unique)
        return clean, self.corrupt(clean, np.random.default_rng([seed, 1]))

    def all_inputs(self, limit: int) -> np.ndarray | None:
        """Every input of full length, encoded, or None if there are more than `limit` or they are not a product."""
        if self.draw is not None or len(self.vocab) ** self.max_length > limit:
            return None
        return self.encode(list(itertools.product(self.vocab, repeat=self.max_length)))
