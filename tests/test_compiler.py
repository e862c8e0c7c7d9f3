"""Any program that Tracr takes compiles, and the compiled reference answers as Tracr's interpreter does."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tracr.rasp import rasp

from interpbench.cases import Case, defined
from interpbench.cases.alignment import Alignment
from interpbench.cases.rasp.compiler import compile_program
from interpbench.cases.rasp.define import rasp_case
from interpbench.cases.rasp.reference import RaspReference
from interpbench.cases.reference import ATOL
from interpbench.errors import UsageError

T, I = rasp.tokens, rasp.indices  # noqa: E741
LETTERS, NUMBERS = "abcdefghij", (0, 1, 2)
COMPARISONS = tuple(rasp.Comparison)


def number(function: Callable[..., Any], inner: Any) -> Any:
    return rasp.numerical(rasp.Map(function, inner))


def mean(selector: Any, of: Any) -> Any:
    return rasp.numerical(rasp.Aggregate(selector, of, default=0))


def at(place: int) -> Any:
    return rasp.Select(I, I, lambda key, query: key == place)


def shifted_twice() -> Any:
    before = rasp.Select(I, I, lambda key, query: key == max(query - 1, 0))
    return rasp.Aggregate(before, rasp.Aggregate(before, T))


def backwards() -> Any:
    length = rasp.SelectorWidth(rasp.Select(T, T, rasp.Comparison.TRUE))
    return rasp.Aggregate(rasp.Select(I, rasp.SequenceMap(lambda i, n: n - 1 - i, I, length), rasp.Comparison.EQ), T)


def is_a() -> Any:
    return number(lambda token: int(token == "a"), T)


PROGRAMS: dict[str, tuple[Callable[[], Any], Any, int]] = {
    "more values than positions": (lambda: rasp.Aggregate(at(0), T), LETTERS, 5),
    "moved twice": (shifted_twice, LETTERS, 4),
    "two heads": (
        lambda: rasp.SequenceMap(lambda x, y: x + y, rasp.Aggregate(at(0), T), rasp.Aggregate(at(1), T)),
        LETTERS[:6],
        2,
    ),
    "backwards": (backwards, LETTERS, 3),
    "of positions only": (lambda: rasp.Map(lambda i: i % 2, I), "abc", 4),
    "one answer": (lambda: rasp.Map(lambda token: 7, T), "abc", 3),
    "truth values": (lambda: rasp.Map(lambda token: token == "a", T), "abc", 3),
    "pairs": (lambda: rasp.SequenceMap(lambda x, y: (x, y), T, I), "abc", 3),
    "pairs on the way": (
        lambda: rasp.Map(lambda p: p[0] if p[1] else "z", rasp.SequenceMap(lambda x, y: (x, y), T, I)),
        "abc",
        3,
    ),
    "infinity": (lambda: rasp.Map(lambda x: float("inf") if x else x, T), (0, 1), 3),
    "texts and numbers": (lambda: rasp.Map(lambda x: "x" if x == 1 else x, T), (1, 2, 12), 3),
    "nowhere defined for some": (lambda: rasp.Map(lambda x: None if x == 1 else x, T), (1, 2, 3), 3),
    "nothing selected": (lambda: rasp.Aggregate(rasp.Select(I, I, lambda k, q: k == q - 1), T), "abc", 3),
    "twice the same": (lambda: rasp.SequenceMap(lambda x, y: x * y, T, T), NUMBERS, 3),
    "a number": (lambda: number(lambda x: 2.5 * x, T), NUMBERS, 3),
    "always zero": (lambda: number(lambda x: 0, T), NUMBERS, 3),
    "number of a number": (lambda: number(lambda x: x * x, number(lambda x: x, T)), NUMBERS, 3),
    "class of a number": (
        lambda: rasp.Map(lambda x: "much" if x > 1.5 else "little", number(lambda x: x, T)),
        NUMBERS,
        3,
    ),
    "linear": (
        lambda: rasp.numerical(rasp.LinearSequenceMap(number(lambda x: x, T), number(lambda i: i, I), 2, -1)),
        NUMBERS,
        3,
    ),
    "width as a number": (lambda: rasp.numerical(rasp.SelectorWidth(rasp.Select(T, T, rasp.Comparison.EQ))), "ab", 3),
    "width over widths": (
        lambda: rasp.SelectorWidth(
            rasp.Select(rasp.SelectorWidth(rasp.Select(T, T, rasp.Comparison.EQ)), I, rasp.Comparison.GT)
        ),
        "ab",
        3,
    ),
    "a selector and another": (
        lambda: rasp.SelectorWidth(rasp.Select(T, T, lambda k, q: k == q) & rasp.Select(T, T, lambda k, q: k == "a")),
        "ab",
        3,
    ),
    "a selector or another": (
        lambda: rasp.SelectorWidth(rasp.Select(T, I, lambda k, q: k == q) | rasp.Select(T, I, lambda k, q: k > q)),
        NUMBERS,
        3,
    ),
    "a constant in a selector": (
        lambda: rasp.SelectorWidth(
            rasp.Select(rasp.Full("a"), I, lambda k, q: q > 0) & rasp.Select(T, I, rasp.Comparison.TRUE)
        ),
        "ab",
        3,
    ),
    "not": (lambda: rasp.SelectorWidth(~rasp.Select(T, T, rasp.Comparison.EQ)), "abc", 3),
    "length one": (lambda: rasp.SelectorWidth(rasp.Select(T, T, rasp.Comparison.EQ)), "abc", 1),
    **{
        f"{name} {compare.name}": (functools.partial(build, compare), vocab, 3)
        for compare in COMPARISONS
        for name, build, vocab in (
            ("tokens", lambda compare: rasp.SelectorWidth(rasp.Select(T, T, compare)), "abc"),
            ("tokens and indices", lambda compare: rasp.SelectorWidth(rasp.Select(T, I, compare)), NUMBERS),
            ("indices, a share", lambda compare: mean(rasp.Select(I, I, compare), is_a()), "abc"),
        )
    },
}


def case_of(build: Callable[[], Any], vocab: Any, max_length: int) -> tuple[Any, Case]:
    program = build()
    output = "numerical" if rasp.is_numerical(program) else "categorical"
    made = rasp_case("made", vocab=tuple(vocab), max_length=max_length, output=output, min_length=1, partial=True)
    return program, made(lambda module: program)


def compiled(build: Callable[[], Any], vocab: Any, max_length: int) -> tuple[Case, RaspReference]:
    program, case = case_of(build, vocab, max_length)
    return case, compile_program(program, case, False, {}, Alignment())


def agrees(case: Case, reference: RaspReference, inputs: np.ndarray) -> None:
    """The reference says what the interpreter says: the class, that there is none, or the number."""
    for tokens, logits in zip(case.decode(inputs), reference.outputs(torch.tensor(inputs))[:, 1:], strict=True):
        expected = case.expected(tokens)
        if reference.classes is None:
            assert np.allclose(logits[:, 0], expected, atol=ATOL), tokens
            continue
        there = defined(reference, logits).tolist()
        best = logits.argmax(-1).tolist()
        assert [reference.classes[i] if known else None for i, known in zip(best, there, strict=True)] == expected


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_compile_and_answer_as_interpreted(name: str) -> None:
    case, reference = compiled(*PROGRAMS[name])
    agrees(case, reference, case.inputs(30, np.random.default_rng(0)))
    cut = torch.tensor(1 - reference.true_circuit.mask())
    clean, source = (torch.tensor(x) for x in case.pairs(30, 0))
    answers = reference.model(clean, cut, reference.model.writers(source))
    assert torch.allclose(answers[:, 1:], reference.outputs(clean)[:, 1:], atol=1e-4), "its circuit is complete"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["backwards", "pairs on the way", "linear", "indices, a share LEQ", "width over widths"]
)
def test_programs_answer_as_tracrs_own_model(name: str) -> None:
    from tracr.compiler import compiling

    build, vocab, max_length = PROGRAMS[name]
    case, reference = compiled(build, vocab, max_length)
    theirs = compiling.compile_rasp_to_model(build(), set(vocab), max_length, compiler_bos="BOS", compiler_pad="PAD")
    inputs = case.inputs(4, np.random.default_rng(0))
    for tokens, logits in zip(case.decode(inputs), reference.outputs(torch.tensor(inputs))[:, 1:], strict=True):
        told = theirs.apply(["BOS", *tokens]).decoded[1:]
        if reference.classes is None:
            assert np.allclose(logits[:, 0], told, atol=1e-4)
        else:
            assert [reference.classes[i] for i in logits.argmax(-1)] == told


def test_heads_are_as_wide_as_what_they_compare_or_move() -> None:
    """Where queries and keys are wider than values, as in all published programs, the shape stays the published one."""
    (_, moving), (_, comparing) = (
        compiled(lambda: rasp.Aggregate(at(0), T), LETTERS[:letters], length) for letters, length in ((10, 5), (3, 5))
    )
    assert moving.model.config.d_head == 10 and moving.subject_config.d_head == 5
    assert comparing.model.config.d_head == 5 + 2, "the positions, BOS, and the constant"


# Programs drawn at random


def scrambled(salt: int, values: int) -> Callable[..., int]:
    """A function of anything to a few numbers, the same in every process."""
    return lambda *x: zlib.crc32(repr((salt, *x)).encode()) % values


def sops(length: int) -> st.SearchStrategy[Any]:
    """Programs with an answer everywhere on inputs of this length. One selected position at most is moved."""
    salts, few = st.integers(0, 99), st.integers(1, 9)

    def deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        def move(salt: int, where: Any, what: Any) -> Any:
            place = rasp.Map(scrambled(salt, length), where)
            return rasp.Aggregate(rasp.Select(I, place, rasp.Comparison.EQ), what)

        def count(salt: int, keys: Any, queries: Any) -> Any:
            return rasp.SelectorWidth(rasp.Select(keys, queries, lambda *x: bool(scrambled(salt, 2)(*x))))

        return st.one_of(
            st.builds(lambda salt, n, x: rasp.Map(scrambled(salt, n), x), salts, few, inner),
            st.builds(lambda salt, n, x, y: rasp.SequenceMap(scrambled(salt, n), x, y), salts, few, inner, inner),
            st.builds(move, salts, inner, inner),
            st.builds(count, salts, inner, inner),
        )

    base = st.sampled_from([T, I])
    return deeper(st.recursive(base, deeper, max_leaves=3))


@settings(max_examples=30, deadline=None)
@given(data=st.data(), letters=st.integers(2, 10), length=st.integers(1, 4))
def test_any_program_answers_as_interpreted(data: st.DataObject, letters: int, length: int) -> None:
    program = data.draw(sops(length))
    if data.draw(st.booleans()):
        program = mean(rasp.Select(I, I, data.draw(st.sampled_from(COMPARISONS))), number(scrambled(0, 2), program))
    case, reference = compiled(lambda: program, LETTERS[:letters], length)
    agrees(case, reference, case.inputs(20, np.random.default_rng(0)))


# Programs that cannot be compiled

REFUSED: dict[str, tuple[Callable[[], Any], Any, str]] = {
    "bare": (lambda: T, "ab", "it only repeats its input"),
    "length": (lambda: rasp.Map(lambda n: n, rasp.length), "ab", "Tracr compiles no LengthType"),
    "constant": (lambda: rasp.Full(3), "ab", "Tracr compiles no Full"),
    "two selectors": (
        lambda: rasp.SelectorWidth(rasp.Select(T, T, rasp.Comparison.EQ) & rasp.Select(I, I, rasp.Comparison.LT)),
        "ab",
        "Tracr compiles no SelectorAnd",
    ),
    "numbers selected": (
        lambda: rasp.SelectorWidth(rasp.Select(number(lambda x: x, T), I, rasp.Comparison.EQ)),
        NUMBERS,
        "keys must be categorical",
    ),
    "tokens as numbers": (lambda: number(lambda x: x, rasp.numerical(T)), NUMBERS, "should always be categorical"),
    "mean of more than two": (lambda: mean(at(0), number(lambda x: x, T)), NUMBERS, "only average binary variables"),
    "mean of texts": (lambda: mean(at(0), rasp.numerical(rasp.Aggregate(at(0), T, default=0))), "ab", "case made"),
    "an error": (lambda: rasp.Map(lambda x: {"a": 1}[x], T), "ab", "KeyError: 'b'"),
    "does not compare": (lambda: rasp.SelectorWidth(rasp.Select(T, I, rasp.Comparison.LT)), "ab", "TypeError: '<'"),
    "no value": (lambda: rasp.Map(lambda x: None, T), "ab", "no value anywhere"),
    "reserved": (lambda: rasp.Map(lambda x: x, T), ("BOS", "a"), "the token BOS is reserved"),
    "no order": (lambda: rasp.Map(lambda x: x, T), (2, 10, "1a"), "numbers and texts of"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compiled_is_refused_in_one_line(name: str) -> None:
    build, vocab, why = REFUSED[name]
    _, case = case_of(build, vocab, 3)
    with pytest.raises(UsageError) as caught:
        case.reference()
    told = str(caught.value)
    assert told.startswith("case made: its program cannot be compiled: ") and why in told and "\n" not in told


def test_the_output_is_as_the_case_says() -> None:
    made = rasp_case("made", vocab=NUMBERS, max_length=3, output="numerical")(lambda module: rasp.Map(lambda x: x, T))
    with pytest.raises(UsageError, match="its output is categorical, the case's numerical"):
        made.reference()
