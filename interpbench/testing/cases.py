"""Checks of a case. Those that need its reference may have to compile it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from interpbench.cases.case import Case
from interpbench.cases.reference import ATOL, defined
from interpbench.graph.circuit import Circuit
from interpbench.testing.workers import global_state, import_light, import_public, unchanged_state
from interpbench.torch_state import clean_state

ROWS = 100
DIFFERENT, DIFFERENT_ANSWERS = 0.9, 0.3
"""Share of the pairs whose inputs, and whose answers, differ at least."""


def check_case(case: Case) -> None:
    """Run every check of `CASE_CHECKS`. Raises AssertionError at the first that fails."""
    for check in CASE_CHECKS:
        check(case)


def _pairs(case: Case, seed: int = 0, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    with clean_state():
        return case.pairs(rows, seed)


def _expected(case: Case, inputs: np.ndarray) -> list[list[Any]]:
    return [case.expected(tokens) for tokens in case.decode(inputs)]


def _answers(case: Case, tokens: np.ndarray, **interchange: torch.Tensor) -> torch.Tensor:
    """What the reference puts out where it is scored, without BOS."""
    outputs = case.reference().outputs(torch.tensor(tokens), **interchange)
    return outputs[:, 1:] if case.scored == "all" else outputs[:, -1:]


def check_is_described(case: Case) -> None:
    """It has a name that can be typed and be a folder's, one line of description, tokens, and lengths in order."""
    assert re.fullmatch(r"\w[\w-]*", case.name), f"{case.name!r} is not a valid name"
    assert case.description.strip() and "\n" not in case.description, "no description, or one of several lines"
    assert len(set(case.vocab)) == len(case.vocab) > 1, "a token comes twice, or there are not two"
    assert 1 <= case.min_length <= case.max_length, f"lengths from {case.min_length} to {case.max_length}"


def check_import_is_light(case: Case) -> None:
    """The module that makes the case imports no torch: every command lists all cases."""
    import_light(case.program.__module__)


def check_imports_public_modules(case: Case) -> None:
    """The plugin imports only from the public modules of interpbench, and only names in their `__all__`."""
    import_public(case.program.__module__)


def check_inputs_are_inputs(case: Case) -> None:
    """Clean and corrupted inputs are token ids of full length, one for one, that decode and encode to themselves."""
    clean, corrupted = _pairs(case)
    for encoded in (clean, corrupted):
        assert encoded.shape == (ROWS, case.n_ctx), f"shape {encoded.shape}, expected {(ROWS, case.n_ctx)}"
        assert encoded.dtype == np.int64, f"ids are {encoded.dtype}, expected int64"
        assert np.array_equal(case.encode(case.decode(encoded)), encoded), "decoded and encoded again they differ"


def check_program_answers_everywhere(case: Case) -> None:
    """The program has one answer a token, None only where that is said: a number if the output is one."""
    for answer, tokens in zip(_expected(case, (clean := _pairs(case)[0])), case.decode(clean), strict=True):
        assert len(answer) == len(tokens), f"{len(answer)} answers to {len(tokens)} tokens: {tokens}"
        scored = answer if case.scored == "all" else answer[-1:]
        assert case.partial or None not in scored, f"no answer somewhere, and the case is not partial: {tokens}"
        if case.output == "numerical":
            assert all(isinstance(each, (int, float)) for each in scored if each is not None), f"no numbers: {answer}"


def check_pairs_are_seeded(case: Case) -> None:
    """The same seed gives the same pairs, another one others; global state is left alone."""
    with clean_state():
        before = global_state()
        first, again, other = (case.pairs(ROWS, seed) for seed in (3, 3, 4))
        unchanged_state(before)
    assert all(map(np.array_equal, first, again)), "the same seed gave other pairs"
    assert not np.array_equal(first[0], other[0]), "another seed gave the same clean inputs"


def check_clean_differs_from_corrupted(case: Case) -> None:
    """Most pairs differ, and many in what the program answers: else there is nothing to discover."""
    clean, corrupted = _pairs(case)
    rows = zip(clean.tolist(), corrupted.tolist(), _expected(case, clean), _expected(case, corrupted), strict=False)
    differ, answers_differ = np.mean([(a != b, x != y) for a, b, x, y in rows], axis=0)
    assert differ >= DIFFERENT, f"{differ:.0%} of the pairs differ, expected {DIFFERENT:.0%}"
    assert answers_differ >= DIFFERENT_ANSWERS, f"{answers_differ:.0%} of the answers differ"


def check_reference_answers_as_the_program(case: Case) -> None:
    """At every scored position where the program has an answer, the reference has the same."""
    clean, _ = _pairs(case)
    classes = case.reference().classes
    for tokens, answer, logits in zip(
        case.decode(clean), _expected(case, clean), _answers(case, clean).tolist(), strict=True
    ):
        for expected, answered in zip(answer[-len(logits) :], logits, strict=True):
            assert expected is None or _agree(expected, answered, classes), (
                f"{tokens}: {expected}, reference {answered}"
            )


def _agree(expected: Any, logits: Sequence[float], classes: tuple[Any, ...] | None) -> bool:
    if classes is None:
        return abs(expected - logits[0]) < ATOL / 20
    return classes[int(np.argmax(logits))] == expected


def check_reference_knows_where_it_answers(case: Case) -> None:
    """The reference is undefined exactly where the program has no answer."""
    clean, _ = _pairs(case)
    there = defined(case.reference(), _answers(case, clean)).tolist()
    for tokens, answer, known in zip(case.decode(clean), _expected(case, clean), there, strict=True):
        if case.partial:
            has = [value is not None for value in answer[-len(known) :]]
            assert has == known, f"{tokens}: the program has answers at {has}, the reference at {known}"
        else:
            assert all(known), f"{tokens}: the reference is undefined somewhere, and the case is not partial"


def check_reference_fits_the_case(case: Case) -> None:
    """The subject it asks for takes the case's tokens and gives its classes; it has a digest."""
    reference = case.reference()
    shape, classes = reference.subject_config, reference.classes
    assert shape.d_vocab == len(case.tokens), f"{shape.d_vocab} tokens, the case has {len(case.tokens)}"
    assert shape.n_ctx >= case.n_ctx, f"{shape.n_ctx} positions, the case has {case.n_ctx}"
    assert (classes is None) == (case.output == "numerical"), f"classes {classes} for {case.output} output"
    assert shape.d_vocab_out == len(classes or "1"), f"{shape.d_vocab_out} outputs for {classes}"
    assert isinstance(reference.digest, str) and reference.digest, "no digest"


def check_alignment_names_real_nodes(case: Case) -> None:
    """Every variable has nodes of the subject to itself, and the true circuit is one of these nodes and no others."""
    reference = case.reference()
    graph = reference.subject_config.graph
    nodes = [node for each in reference.variables.values() for node in each]
    unreal = sorted(set(nodes) - set(graph.nodes))
    assert not unreal, f"{unreal} are no nodes of a subject of {graph}"
    assert all(reference.variables.values()) and len(set(nodes)) == len(nodes), "a variable without a node of its own"
    try:
        circuit = reference.circuit(graph)
    except ValueError as error:
        raise AssertionError(f"the true circuit is none of a subject of {graph}: {error}") from None
    assert isinstance(circuit, Circuit) and (circuit.graph, circuit.granularity) == (graph, "edges")
    assert circuit.nodes == set(nodes), f"a circuit of {sorted(circuit.nodes)}, variables at {sorted(nodes)}"


def check_interchange_replaces_variables(case: Case) -> None:
    """With nothing replaced, or by the same input's value, answers stay; replaced by another's, some change."""
    reference = case.reference()
    (clean, _), (source, _) = (_pairs(case, seed, rows=25) for seed in (0, 1))
    plain, changed = _answers(case, clean), False
    for variable in range(-1, len(reference.variables)):
        rows = torch.full((len(clean),), variable)
        own = _answers(case, clean, source=torch.tensor(clean), variable=rows)
        assert torch.allclose(own, plain, atol=1e-5), f"variable {variable} from the same input changes answers"
        other = _answers(case, clean, source=torch.tensor(source), variable=rows)
        same = torch.allclose(other, plain, atol=1e-3)
        assert variable >= 0 or same, "answers change although no variable is replaced"
        changed |= not same
    assert changed, "no variable's replacement changes an answer"


CASE_CHECKS: tuple[Callable[[Case], None], ...] = (
    check_is_described,
    check_import_is_light,
    check_imports_public_modules,
    check_inputs_are_inputs,
    check_program_answers_everywhere,
    check_pairs_are_seeded,
    check_clean_differs_from_corrupted,
    check_reference_answers_as_the_program,
    check_reference_knows_where_it_answers,
    check_reference_fits_the_case,
    check_alignment_names_real_nodes,
    check_interchange_replaces_variables,
)
