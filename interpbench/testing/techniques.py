"""Checks of a technique."""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, get_args

import torch

from interpbench.errors import UsageError, kind_and_line
from interpbench.plugins.contract import sources, uses
from interpbench.problem.losses import Output
from interpbench.problem.technique import Discovery, Technique
from interpbench.testing.flaws import DECLARED, Found, foreign_circuit, infinity, misfit, wrong_order
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
from interpbench.torch_state import clean_state

NEAR_THE_TRUTH = (
    *("Case", "EdgeClasses", "Subject", "edge_classes", "from_transformer_lens", "judge", "load_case", "load_subject"),
    *("run", "score"),
)
"""Names of `interpbench` through which a technique could reach the true circuit."""
NOT_FOR_TECHNIQUES = ("interpbench.cases", "interpbench.trainers")
"""Public modules that know true circuits."""
OUTPUTS: tuple[Output, ...] = get_args(Output)


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


def _discover(technique: Technique, output: Output, seed: int = 0, **kind: Any) -> Found | None:
    """What is found on a toy, with its problem and true circuit; None if the technique refuses such problems."""
    problem, truth = toy_problem(output, seed=seed, **kind)
    with clean_state():
        try:
            return Found(problem, truth, technique.discover(problem, technique.Config()))
        except UsageError:
            return None


def _first(technique: Technique, seed: int = 0) -> Iterator[Found]:
    """What is found on the first toy that the technique takes; nothing if it takes none."""
    tried = (_discover(technique, output, seed) for output in OUTPUTS)
    yield from itertools.islice(filter(None, tried), 1)


def check_takes_a_problem(technique: Technique) -> None:
    """It may refuse problems that do not fit it, by a UsageError, but not all."""
    assert any(_first(technique)), f"it refuses problems of every output: {', '.join(OUTPUTS)}"


def _passes(found: Found, flaw: Callable[[Found], str]) -> None:
    assert not (what := flaw(found)), what


def check_scores_fit_the_graph(technique: Technique) -> None:
    """There is a score for every edge of the problem's graph."""
    for found in filter(None, (_discover(technique, output) for output in OUTPUTS)):
        _passes(found, misfit)


def check_scores_are_finite(technique: Technique) -> None:
    """Scores are finite, but for the infinity of edges that are never cut."""
    for found in _first(technique):
        _passes(found, infinity)


def check_circuit_fits_the_graph(technique: Technique) -> None:
    """The circuit chosen, if one is, is one of edges in the problem's graph."""
    for found in _first(technique):
        _passes(found, foreign_circuit)


def check_notes_are_json(technique: Technique) -> None:
    """Notes are plain JSON: no objects, no NaN."""
    for found in _first(technique):
        try:
            json.dumps(dict(found.discovery.notes), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise AssertionError(f"notes are not JSON: {error}") from None


def check_is_deterministic(technique: Technique) -> None:
    """The same problem and configuration give the same result, whatever the state of global generators."""
    results: list[Discovery] = []
    for seed in (1, 2):
        with clean_state(seed):
            results += [found.discovery for found in _first(technique, seed=3)]
    if not results:
        return  # for `check_takes_a_problem` to say
    first, second = results
    assert first.scores.values.tobytes() == second.scores.values.tobytes(), "two runs gave different scores"
    assert first.circuit == second.circuit, "two runs chose different circuits"
    assert first.notes == second.notes, "two runs gave different notes"


def check_leaves_problem_alone(technique: Technique) -> None:
    """Weights and data are as they were, without gradients."""
    for problem in (toy_problem(output)[0] for output in OUTPUTS):
        data = {"clean": problem.clean, "corrupted": problem.corrupted, "other": problem.other}
        tensors = {**problem.model.weights, **data}
        before = {name: tensor.clone() for name, tensor in tensors.items()}
        with clean_state(), suppress(UsageError):
            technique.discover(problem, technique.Config())
        for name, tensor in tensors.items():
            assert torch.equal(tensor, before[name]), f"{name} was changed"
            assert tensor.grad is None and not tensor.requires_grad, f"{name} was given a gradient"


def check_leaves_global_state_alone(technique: Technique) -> None:
    """Global generators, the default type, and whether gradients are enabled are as they were."""
    for problem in (toy_problem(output)[0] for output in OUTPUTS):
        with clean_state():
            before = global_state()
            with suppress(UsageError):
                technique.discover(problem, technique.Config())
            unchanged_state(before)


def check_declares_what_it_scores(technique: Technique) -> None:
    """`scores` and `attention`, if it has them, are known words; only a baseline scores nothing."""
    for name, known in DECLARED.items():
        said = getattr(technique, name, known[0])
        assert said in known, f"{name} is {said!r}, expected one of {', '.join(known)}"
    if getattr(technique, "scores", "") == "nothing":
        assert getattr(technique, "baseline", False), "it scores nothing and is no baseline"


def check_finds_numerical_truth(technique: Technique) -> None:
    """What it scores is found on the numerical toy: by default every true edge above all edges without effect."""
    _separates(technique, "numerical")


def check_finds_categorical_truth(technique: Technique) -> None:
    """What it scores is found on the categorical toy: by default every true edge above all edges without effect."""
    _separates(technique, "categorical")


def check_works_under_every_ablation(technique: Technique) -> None:
    """Also where cut edges carry the mean or zero (`Problem.other` has one row then), or permuted positions."""
    for output, ablation in itertools.product(OUTPUTS, ("mean", "zero", "positions")):
        _works_too(technique, output, ablation=ablation)


def check_works_on_causal_models(technique: Technique) -> None:
    """Also where attention looks back only."""
    for output in OUTPUTS:
        _works_too(technique, output, attention_dir="causal")


def check_works_with_norms(technique: Technique) -> None:
    """Also where readers read a normalised stream, with weights of the norm (`LN`) and without (`LNPre`)."""
    for output, norm in zip(OUTPUTS, ("LN", "LNPre"), strict=True):
        # Nodes that write have an effect through norms, however small; a technique may compare within a layer.
        _works_too(technique, output, normalization_type=norm, silent=True)


def _separates(technique: Technique, output: Output) -> None:
    if found := _discover(technique, output, silent=_of_sizes(technique)):
        _passes(found, partial(wrong_order, technique))


def _of_sizes(technique: Technique) -> bool:
    """Whether only nodes that write nothing are sure to be ranked low."""
    return getattr(technique, "scores", "") == "sizes"


def _works_too(technique: Technique, output: Output, **kind: Any) -> None:
    """Raise AssertionError for what goes wrong on a toy of a kind, unless it does on the plain toy as well.

    What goes wrong there is for other checks to say.
    """
    differs = ", ".join(f"{name}={value}" for name, value in kind.items())
    for flaw, what in _flaws(technique, output, **kind).items():
        assert flaw in _flaws(technique, output), f"{output} toy with {differs}: {what}"


def _flaws(technique: Technique, output: Output, **kind: Any) -> dict[str, str]:
    """What goes wrong on a toy, by its kind."""
    try:
        found = _discover(technique, output, **{"silent": _of_sizes(technique), **kind})
    except Exception as error:
        return {"error": kind_and_line(error)}
    flaws = (misfit, infinity, foreign_circuit, partial(wrong_order, technique))
    said = {str(i): flaw(found) for i, flaw in enumerate(flaws)} if found else {}
    return {flaw: what for flaw, what in said.items() if what}


CHECKS: tuple[Callable[[Technique], None], ...] = (
    check_name,
    check_version,
    check_config_is_simple,
    check_config_round_trips,
    check_options_are_its_own,
    check_import_is_light,
    check_imports_public_modules,
    check_truth_is_out_of_reach,
    check_declares_what_it_scores,
    check_takes_a_problem,
    check_scores_fit_the_graph,
    check_scores_are_finite,
    check_circuit_fits_the_graph,
    check_notes_are_json,
    check_is_deterministic,
    check_leaves_problem_alone,
    check_leaves_global_state_alone,
    check_finds_numerical_truth,
    check_finds_categorical_truth,
    check_works_under_every_ablation,
    check_works_on_causal_models,
    check_works_with_norms,
)
