"""A trained subject with three copies of one variable: which of its true edges can be left out, by a plain route."""

from __future__ import annotations

import functools
import runpy
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interpbench.certificate.classify import Elimination, classify_edges
from interpbench.problem.problem import make_problem
from interpbench.subjects.folder import read_subject
from interpbench.subjects.subject import Subject
from interpbench.testing.cases import CASE_CHECKS, check_import_is_light, check_imports_public_modules

HERE = Path(__file__).parent
FOLDER = HERE / "data" / "majority"
MAJORITY = runpy.run_path(str(HERE / "majority.py"))
COPIES: dict[str, tuple[str, ...]] = MAJORITY["COPIES"]
ALTERNATIVES = frozenset(edge for edges in COPIES.values() for edge in edges)
CORE = frozenset([MAJORITY["CORE"]])
ORDERS, ENOUGH = 32, 0.99
ROWS, SEED = 500, 15

Kept = Callable[[Iterable[str]], float]


@pytest.fixture(scope="module")
def subject() -> Subject:
    return read_subject(FOLDER, MAJORITY["majority_case"](), "siit")


@pytest.fixture(scope="module")
def kept(subject: Subject) -> Kept:
    """Accuracy with everything outside the circuit and some edges of it replaced by values on independent inputs."""
    case, model, graph = subject.case, subject.model, subject.model.graph
    clean, source = map(torch.tensor, case.pairs(ROWS, SEED))
    answers = torch.tensor(
        [[subject.classes.index(each) for each in case.expected(row)] for row in case.decode(clean.numpy())]
    )
    other, outside = model.writers(source), 1 - subject.circuit.mask()

    @functools.cache
    def accuracy(cut: frozenset[str]) -> float:
        mask = torch.tensor(np.maximum(outside, graph.mask(cut)))
        with torch.no_grad():
            logits = model(clean, mask, other)
        return float((logits.argmax(-1)[:, 1:] == answers).float().mean())

    return lambda cut: accuracy(frozenset(cut))


def minimal(order: Sequence[str], kept: Kept) -> frozenset[str]:
    """Backward elimination: try to cut each edge in turn, leave it cut if the answers stay, until none can be cut."""
    left, before = list(order), []
    while left != before:
        before = list(left)
        for edge in before:
            if kept([other for other in order if other not in left or other == edge]) >= ENOUGH:
                left.remove(edge)
    return frozenset(left)


@pytest.fixture(scope="module")
def true(subject: Subject) -> list[str]:
    """The true edges as they are ordered in the graph."""
    return [edge for edge in subject.model.graph.edges if edge in subject.circuit.edges]


@pytest.fixture(scope="module")
def orders(true: list[str]) -> np.ndarray:
    """Orders in which the true edges are tried, as positions in `true`; `[order, edge]`."""
    return np.random.default_rng(0).permuted(np.tile(np.arange(len(true)), (ORDERS, 1)), axis=1)


@pytest.fixture(scope="module")
def circuits(true: list[str], orders: np.ndarray, kept: Kept) -> list[frozenset[str]]:
    return [minimal([true[i] for i in order], kept) for order in orders]


NEEDS_A_MODULE = (check_import_is_light, check_imports_public_modules)


@pytest.mark.parametrize("check", [each for each in CASE_CHECKS if each not in NEEDS_A_MODULE])
def test_the_case_keeps_the_contract(check: Callable[..., None]):
    check(MAJORITY["majority_case"]())


def test_the_stored_subject_is_one_of_this_case_and_is_certified(subject: Subject):
    reference: Any = subject.case.reference()
    assert subject.card["program_digest"] == reference.digest
    assert subject.circuit == reference.circuit(subject.model.graph)
    assert subject.circuit.edges == ALTERNATIVES | CORE
    assert subject.card["certificate"]["certified_edges"]


def test_answers_are_right_and_nothing_outside_the_circuit_matters(subject: Subject, kept: Kept):
    inputs = subject.case.decode(subject.case.inputs(500, np.random.default_rng(16)))
    right = [p == e for p, e in zip(subject.predict(inputs), map(subject.case.expected, inputs))]
    assert np.mean(right) >= ENOUGH
    assert kept([]) >= ENOUGH
    graph = subject.model.graph
    assert set(graph.nodes) - subject.circuit.nodes == {"a0.h2", "a1.h1", "a1.h2"}


def test_any_copy_can_be_cut_and_no_two(kept: Kept):
    for copy, edges in COPIES.items():
        assert kept(edges) >= ENOUGH
        for other in COPIES.keys() - {copy}:
            assert kept([*edges, *COPIES[other]]) < 0.8


def test_the_ten_edges_of_the_copies_are_alternatives_and_none_is_dispensable(circuits: list[frozenset[str]]):
    often = Counter(edge for circuit in circuits for edge in circuit)
    assert {edge for edge, times in often.items() if times == ORDERS} == CORE
    assert {edge for edge, times in often.items() if 0 < times < ORDERS} == ALTERNATIVES
    assert len(ALTERNATIVES) == 10
    assert all(1 / 3 < often[edge] / ORDERS < 1 for edge in ALTERNATIVES)


def test_a_minimal_circuit_has_two_whole_copies_and_keeps_the_answers(circuits: list[frozenset[str]], kept: Kept):
    for circuit in set(circuits):
        assert sum(circuit.issuperset(edges) for edges in COPIES.values()) == 2
        assert kept(ALTERNATIVES - circuit) >= ENOUGH


def test_the_librarys_elimination_finds_the_same_circuits(
    subject: Subject, true: list[str], orders: np.ndarray, circuits: list[frozenset[str]]
):
    clean, source = subject.case.pairs(ROWS, SEED)
    scored = np.arange(clean.shape[1]) > 0
    problem = make_problem(subject.model, clean, source, "categorical", np.tile(scored, (ROWS, 1)))
    found = Elimination(problem, subject.model.graph.indices(true)).minimal(orders)
    assert [frozenset(np.array(true)[row].tolist()) for row in found] == circuits


def test_the_librarys_classes_on_fresh_inputs_are_the_same(subject: Subject):
    found = classify_edges(subject.case, subject.model, subject.circuit, "resample")
    assert found.of_edges == dict.fromkeys(ALTERNATIVES, "alternative") | dict.fromkeys(CORE, "core")
