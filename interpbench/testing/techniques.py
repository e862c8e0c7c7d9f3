"""Checks of a technique."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import get_args

import numpy as np
import torch

from interpbench.graph.circuit import Circuit
from interpbench.plugins.contract import sources, uses
from interpbench.problem.losses import Output
from interpbench.problem.problem import Problem
from interpbench.problem.technique import Discovery, Technique
from interpbench.testing.toys import toy_problem
from interpbench.testing.workers import (
    check_config_is_simple,
    check_config_round_trips,
    check_import_is_light,
    check_imports_public_modules,
    check_name,
    check_options_are_its_own,
    global_state,
    unchanged_state,
)
from interpbench.transformer.torch_state import clean_state

NEAR_THE_TRUTH = (
    *("Case", "EdgeClasses", "Subject", "edge_classes", "from_transformer_lens", "judge", "load_case", "load_subject"),
    *("run", "score"),
)
"""Names of `interpbench` through which a technique could reach the true circuit."""
NOT_FOR_TECHNIQUES = ("interpbench.cases", "interpbench.trainers")
"""Public modules that know true circuits."""


def check_technique(technique: Technique) -> None:
    """Run every check of `CHECKS`. Raises AssertionError at the first that fails."""
    for check in CHECKS:
        check(technique)


def check_version(technique: Technique) -> None:
    """The version is a text: it is part of what a result is filed under."""
    assert isinstance(technique.version, str) and technique.version, f"version is {technique.version!r}"


def check_truth_is_out_of_reach(technique: Technique) -> None:
    """`discover` takes a problem and a configuration; the plugin uses nothing that leads to the true circuit."""
    names = list(inspect.signature(technique.discover).parameters)
    assert len(names) == 2, f"discover takes {names}, expected a problem and a configuration"
    for name, tree in sources(type(technique).__module__):
        for module, used in uses(tree):
            near = used in NEAR_THE_TRUTH or module in NOT_FOR_TECHNIQUES
            path = f"{module}.{used}".rstrip(".")
            assert not near, f"{name} uses {path}: a technique may use its problem only"


def _discover(technique: Technique, output: Output, seed: int = 0) -> tuple[Problem, Circuit, Discovery]:
    problem, truth = toy_problem(output, seed=seed)
    with clean_state():
        return problem, truth, technique.discover(problem, technique.Config())


def check_scores_fit_the_graph(technique: Technique) -> None:
    """There is a score for every edge of the problem's graph."""
    for output in get_args(Output):
        problem, _, found = _discover(technique, output)
        assert found.scores.graph == problem.graph, f"scores of {found.scores.graph}, a problem of {problem.graph}"


def check_scores_are_finite(technique: Technique) -> None:
    """Scores are finite, but for the infinity of edges that are never cut."""
    scores = _discover(technique, "categorical")[2].scores
    bad = np.isnan(scores.values) | np.isneginf(scores.values)
    assert not bad.any(), f"the score of {scores.graph.edges[int(bad.argmax())]} is {scores.values[bad.argmax()]}"


def check_circuit_fits_the_graph(technique: Technique) -> None:
    """The circuit chosen, if one is, is one of edges in the problem's graph."""
    problem, _, found = _discover(technique, "categorical")
    if found.circuit is not None:
        got = found.circuit.graph, found.circuit.granularity
        assert got == (problem.graph, "edges"), f"a circuit of {got}, expected {problem.graph}, 'edges'"


def check_notes_are_json(technique: Technique) -> None:
    """Notes are plain JSON: no objects, no NaN."""
    found = _discover(technique, "categorical")[2]
    try:
        json.dumps(dict(found.notes), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"notes are not JSON: {error}") from None


def check_is_deterministic(technique: Technique) -> None:
    """The same problem and configuration give the same result, whatever the state of global generators."""
    results = []
    for seed in (1, 2):
        with clean_state(seed):
            results.append(_discover(technique, "categorical", seed=3)[2])
    first, second = results
    assert np.array_equal(first.scores.values, second.scores.values, equal_nan=True), "two runs gave different scores"
    assert first.circuit == second.circuit, "two runs chose different circuits"
    assert first.notes == second.notes, "two runs gave different notes"


def check_leaves_problem_alone(technique: Technique) -> None:
    """Weights and data are as they were, without gradients."""
    problem, _ = toy_problem("categorical")
    tensors = {**problem.model.weights, "clean": problem.clean, "corrupted": problem.corrupted, "other": problem.other}
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    with clean_state():
        technique.discover(problem, technique.Config())
    for name, tensor in tensors.items():
        assert torch.equal(tensor, before[name]), f"{name} was changed"
        assert tensor.grad is None and not tensor.requires_grad, f"{name} was given a gradient"


def check_leaves_global_state_alone(technique: Technique) -> None:
    """Global generators, the default type, and whether gradients are enabled are as they were."""
    problem, _ = toy_problem("categorical")
    with clean_state():
        before = global_state()
        technique.discover(problem, technique.Config())
        unchanged_state(before)


def _separates(technique: Technique, output: Output) -> None:
    _, truth, found = _discover(technique, output)
    inside, values = truth.members("edges"), found.scores.values
    if values.shape != inside.shape:
        return  # for `check_scores_fit_the_graph` to say
    worst, best = np.nanmin(values[inside]), np.nanmax(values[~inside])
    below = [e for e, s in zip(truth.graph.edges, values, strict=True) if e in truth.edges and s == worst]
    assert worst > best, f"true edge {below[0]} scores {worst}, an edge without any effect {best}"


def check_finds_numerical_truth(technique: Technique) -> None:
    """Every edge of the numerical toy's circuit is ranked above all edges that have no effect."""
    _separates(technique, "numerical")


def check_finds_categorical_truth(technique: Technique) -> None:
    """Every edge of the categorical toy's circuit is ranked above all edges that have no effect."""
    _separates(technique, "categorical")


CHECKS: tuple[Callable[[Technique], None], ...] = (
    check_name,
    check_version,
    check_config_is_simple,
    check_config_round_trips,
    check_options_are_its_own,
    check_import_is_light,
    check_imports_public_modules,
    check_truth_is_out_of_reach,
    check_scores_fit_the_graph,
    check_scores_are_finite,
    check_circuit_fits_the_graph,
    check_notes_are_json,
    check_is_deterministic,
    check_leaves_problem_alone,
    check_leaves_global_state_alone,
    check_finds_numerical_truth,
    check_finds_categorical_truth,
)
