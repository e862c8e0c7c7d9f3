"""`rasp_case`: a case from one decorated function that builds a RASP program."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from interpbench.cases.case import Case
from interpbench.cases.tokens import Inputs, Token
from interpbench.errors import MissingExtra

if TYPE_CHECKING:
    import numpy as np
    from tracr.rasp.rasp import SOp


def rasp_case(
    name: str,
    *,
    vocab: Sequence[Token],
    max_length: int,
    output: Literal["categorical", "numerical"] = "categorical",
    causal: bool = False,
    partial: bool = False,
    min_length: int = 3,
    draw: Callable[[np.random.Generator, int], Inputs] | None = None,
    subject: Mapping[str, int] | None = None,
    alignment: Mapping[str, str] | None = None,
) -> Callable[[Callable[[Any], SOp]], Case]:
    """Make a case of a function that takes Tracr's `rasp` module and returns the program.

    The function's docstring becomes the description. Lengths count tokens without BOS. `partial`: the program is
    undefined (None) at some positions. `subject` overrides sizes of the subject (`d_model`, `d_head`, `d_mlp`).
    `alignment` maps components of the compiled reference to nodes of the subject, where the two differ.
    """

    def decorate(build: Callable[[Any], SOp]) -> Case:
        program = _built_once(build)

        @functools.cache
        def reference() -> Any:
            _tracr_rasp()
            from interpbench.cases.alignment import Alignment
            from interpbench.cases.rasp.cache import compiled

            return compiled(program(), case, causal, subject or {}, Alignment(alignment or {}))

        case = Case(
            name=name,
            description=" ".join((build.__doc__ or "").split()),
            output=output,
            vocab=tuple(vocab),
            max_length=max_length,
            min_length=min_length,
            program=_evaluated(program, build.__module__),
            reference=reference,
            draw=draw,
            partial=partial,
            compiled=True,
        )
        return case

    return decorate


def _built_once(build: Callable[[Any], SOp]) -> Callable[[], SOp]:
    """The program, built at the first call: that needs Tracr, and listing cases does not."""

    @functools.cache
    def program() -> SOp:
        rasp = _tracr_rasp()
        with _quiet("absl"):  # Tracr advises against using a value twice; published programs do
            return build(rasp)

    return program


def _evaluated(program: Callable[[], SOp], module: str) -> Callable[[Sequence[Token]], list[Any]]:
    """The program as a function of tokens that belongs to the module of the case."""

    def expected(tokens: Sequence[Token]) -> list[Any]:
        return list(program()(list(tokens)))

    expected.__module__ = module
    return expected


def elementwise(
    name: str, vocab: Sequence[Token], *, partial: bool = False, subject: Mapping[str, int] | None = None
) -> Callable[[Callable[[Any], Any]], Case]:
    """Make a case of a function of one token, applied at each of nine positions. `partial`: it may return None."""

    def decorate(function: Callable[[Any], Any]) -> Case:
        def build(rasp: Any) -> SOp:
            return rasp.Map(function, rasp.tokens)

        build.__doc__, build.__module__ = function.__doc__, function.__module__
        return rasp_case(name, vocab=vocab, max_length=9, causal=True, partial=partial, subject=subject)(build)

    return decorate


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Suppress messages of a logger below the level of errors."""
    found = logging.getLogger(logger)
    level = found.level
    found.setLevel(logging.ERROR)
    try:
        yield
    finally:
        found.setLevel(level)


def _tracr_rasp() -> Any:
    try:
        from tracr.rasp import rasp
    except ImportError as error:
        raise MissingExtra("tracr", "evaluating or compiling a RASP program") from error
    return rasp
