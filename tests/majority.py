"""A case whose true circuit is redundant, and how its subject in `tests/data/majority` was made.

One word of an input is marked (`mb`); the answer is its letter, at every position. Three nodes carry a copy of that
letter, and `m1` answers with the letter that most of the three carry:

    copy     edges into it                                    out of it    what it does
    a0.h0    embed->a0.h0<k>, embed->a0.h0<v>                 a0.h0->m1    attends to the mark, takes the letter
    a0.h1    embed->a0.h1<k>, embed->a0.h1<v>                 a0.h1->m1    the same
    a1.h0    embed->m0, m0->a1.h0<k>, m0->a1.h0<v>            a1.h0->m1    the same, of words as `m0` carries them

These ten edges are alternatives. Two right copies suffice: all edges of one copy can be cut, and then none of the
others. Backward elimination in a random order mostly cuts the copy that loses an edge first, so that each copy is in
about two thirds of the minimal circuits. `m1->logits` is core. No edge is dispensable: no edge that leaves `pos` is in
the circuit, because a mark stands anywhere, and no query is, because every position looks for the same.

Interchange makes the copies. The answer must not change when one of them comes from another input, and nothing says
which one does. A subject that used fewer than three would then answer with the wrong letter.

In the whole subject an edge into `m1`, cut alone, does change answers (`necessity` on the card); cut together with the
other edges that leave the same copy, it does not. So the copies' edges outside the circuit help to suppress a wrong
copy, where they carry the same input as it does: as in every row of the training and of the certificate.

`python tests/majority.py FOLDER` makes the subject: 600 steps, 96 s on a busy core.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from interpbench.cases.case import Case
from interpbench.cases.tokens import BOS, Inputs, Token
from interpbench.graph.circuit import Circuit
from interpbench.graph.graph import Graph
from interpbench.transformer.config import Config

LETTERS, WORDS = "abcd", 4
COPIES = {
    "a0.h0": ("embed->a0.h0<k>", "embed->a0.h0<v>", "a0.h0->m1"),
    "a0.h1": ("embed->a0.h1<k>", "embed->a0.h1<v>", "a0.h1->m1"),
    "a1.h0": ("embed->m0", "m0->a1.h0<k>", "m0->a1.h0<v>", "a1.h0->m1"),
}
"""The edges of every copy, by the node that carries it."""
CORE = "m1->logits"
SETTINGS = {"seed": 1, "steps": 2000, "lr": 0.001, "rows": 128, "margin": 1.0, "eval_rows": 4000, "half": True}
"""Settings of `siit`. At its own rate training of this case diverges."""


class MajorityReference:
    """A causal model: words, three copies of the letter of the marked one, and the letter that most copies have.

    Under an interchange of `words` at some positions only there may be no mark, or two: the first counts, or else the
    first word.
    """

    partial = False
    variables = {"first": ("a0.h0",), "second": ("a0.h1",), "words": ("m0",), "third": ("a1.h0",), "majority": ("m1",)}
    classes = tuple(LETTERS)
    subject_config = Config(
        n_layers=2,
        n_heads=3,
        d_model=32,
        d_head=8,
        d_mlp=128,
        n_ctx=WORDS + 1,
        d_vocab=1 + 2 * len(LETTERS),
        d_vocab_out=len(LETTERS),
    )

    def __init__(self, tokens: Sequence[Token]) -> None:
        letters = [str(token)[-1] if token != BOS else "" for token in tokens]
        self.letter = torch.tensor([LETTERS.index(letter) if letter else 0 for letter in letters])
        self.marked = torch.tensor([token != BOS and len(str(token)) > 1 for token in tokens])
        facts = repr((tuple(tokens), self.variables, COPIES, CORE))
        self.digest = hashlib.sha256(facts.encode()).hexdigest()[:16]

    def circuit(self, graph: Graph) -> Circuit:
        """The edges of the copies, and the edge of the answer."""
        return Circuit(graph, frozenset([*(edge for edges in COPIES.values() for edge in edges), CORE]))

    @property
    def reading_sizes(self) -> dict[str, tuple[int, ...]]:
        """A letter for every copy and for the answer."""
        return {name: (len(LETTERS),) for name in self.variables if name != "words"}

    def outputs(
        self,
        tokens: Int[Tensor, "row position"],
        source: Int[Tensor, "row position"] | None = None,
        variable: Int[Tensor, " row"] | None = None,
    ) -> Tensor:
        """Logits `[row, position, letter]`; see `Reference.outputs`."""
        return self.outputs_and_readings(tokens, source, variable)[0]

    def outputs_and_readings(
        self,
        tokens: Int[Tensor, "row position"],
        source: Int[Tensor, "row position"] | None = None,
        variable: Int[Tensor, " row"] | None = None,
    ) -> tuple[Tensor, dict[str, tuple[Tensor, ...]]]:
        """The same, and the letter of every copy and of the answer."""
        rows = len(tokens)
        variable = torch.full((rows,), -1) if variable is None else variable
        there = self._values(tokens if source is None else source, {}, variable)
        values = self._values(tokens, there, variable)
        logits = torch.nn.functional.one_hot(values["majority"], len(LETTERS)).float()
        return logits, {name: (values[name],) for name in self.reading_sizes}

    def _values(self, tokens: Tensor, other: dict[str, Tensor], variable: Tensor) -> dict[str, Tensor]:
        """Values of the variables, `[row, position]` each; `other`'s on the rows that name them."""
        names = list(self.variables)

        def put(name: str, value: Tensor) -> Tensor:
            here = (variable == names.index(name))[:, None]
            values[name] = torch.where(here, other[name], value) if other else value
            return values[name]

        values: dict[str, Tensor] = {}
        first, second = put("first", self._marked_letter(tokens)), put("second", self._marked_letter(tokens))
        third = put("third", self._marked_letter(put("words", tokens)))
        put("majority", torch.where(second == third, second, first))
        return values

    def _marked_letter(self, tokens: Tensor) -> Tensor:
        """The letter of the marked word, at every position; `[row, position]`."""
        found = self.marked[tokens].int().argmax(-1, keepdim=True).clamp(min=1)
        return self.letter[tokens.gather(-1, found)].expand(tokens.shape)


def draw(rng: np.random.Generator, n: int) -> Inputs:
    """Random letters, one of them marked."""
    letters, where = rng.integers(len(LETTERS), size=(n, WORDS)), rng.integers(WORDS, size=n)
    return [
        tuple("m" * (i == at) + LETTERS[letter] for i, letter in enumerate(row))
        for row, at in zip(letters.tolist(), where.tolist())
    ]


def answer(tokens: Sequence[Token]) -> list[Any]:
    """The letter of the marked word, at every position."""
    marked = [str(token)[-1] for token in tokens if len(str(token)) > 1]
    return [marked[0] if marked else None] * len(tokens)


def majority_case() -> Case:
    """The letter of the marked word by majority of three copies. Made anew at every call."""

    @functools.cache
    def reference() -> MajorityReference:
        return MajorityReference(case.tokens)

    case = Case(
        name="majority",
        description="The letter of the marked word, by majority of three copies.",
        output="categorical",
        vocab=(*LETTERS, *(f"m{letter}" for letter in LETTERS)),
        max_length=WORDS,
        min_length=WORDS,
        program=answer,
        draw=draw,
        reference=reference,
        special=(BOS,),
    )
    return case


def main() -> None:
    from interpbench.processes import tune_process
    from interpbench.runs.make import make_subject
    from interpbench.subjects.folder import save_subject
    from interpbench.trainers.settings import Config as Settings
    from interpbench.trainers.siit import SiitTrainer

    parser = argparse.ArgumentParser(description="Train the subject of the majority case.")
    parser.add_argument("folder")
    folder = parser.parse_args().folder
    tune_process()
    subject = make_subject(SiitTrainer(), majority_case(), Settings(**SETTINGS))
    subject.card["command"] = "python tests/majority.py FOLDER"
    save_subject(subject, folder)


if __name__ == "__main__":
    main()
