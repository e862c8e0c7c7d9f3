"""For those who write techniques: toy problems whose true circuit is known by construction, and a conformance kit.

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_conformance(check):
        check(MyTechnique())

or all of them at once: `check_technique(MyTechnique())`. A check that fails raises AssertionError and says what was
expected.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from interpbench.graph import Circuit
from interpbench.problem import Ablation, Discovery, Output, Problem, Technique, make_problem
from interpbench.transformer import Config, Transformer

LETTERS, POSITIONS = 4, 5
PUBLIC_MODULES = ("interpbench", "interpbench.graph", "interpbench.problem", "interpbench.testing")
NEAR_THE_TRUTH = ("Case", "Subject", "judge", "load_case", "load_subject", "run")
"""Names of `interpbench` through which a technique could get at what it is judged by."""

TOY_CIRCUITS: dict[Output, tuple[str, ...]] = {
    "numerical": ("embed->m0", "m0->a1.h1<v>", "a1.h1->logits"),
    "categorical": ("embed->m0", "m0->a1.h1<k>", "embed->a1.h1<v>", "a1.h1->logits"),
}


def toy_model(output: Output) -> Transformer:
    """A transformer of two layers and two heads with weights made by hand.

    Tokens are letters, each plain or marked (token `letter + LETTERS`). `m0` says whether a token is marked.
    numerical: `a1.h1` averages that over all positions: the share of marked tokens. categorical: `a1.h1` looks where
    the marked token is and takes its letter. All other nodes are alive: they read everything and write noise, into
    dimensions that only they read.
    """
    tokens, noise = 2 * LETTERS, 4
    flag, answer, junk = tokens, slice(tokens + 1, tokens + 1 + LETTERS), slice(tokens + 1 + LETTERS, None)
    outputs = LETTERS if output == "categorical" else 1
    config = Config(
        n_layers=2,
        n_heads=2,
        d_model=tokens + 1 + LETTERS + noise,
        d_head=LETTERS,
        d_mlp=8,
        n_ctx=POSITIONS,
        d_vocab=tokens,
        d_vocab_out=outputs,
        act_fn="relu",
    )
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in config.weight_shapes().items():
        weights[name] = torch.randn(shape, generator=generator) * (".W_" in name)
        if name.endswith(("W_O", "W_out", "W_pos")):
            weights[name][..., : junk.start] = 0
    weights["embed.W_E"][:, :tokens] = torch.eye(tokens)
    weights["embed.W_E"][:, tokens : junk.start] = 0

    mark, write = weights["blocks.0.mlp.W_in"], weights["blocks.0.mlp.W_out"]
    mark[:, 0], write[0], write[1:, flag] = 0, 0, 0
    mark[LETTERS:tokens, 0], write[0, flag] = 1, 1
    mark[junk] = 0

    head = {x: weights[f"blocks.1.attn.W_{x}"][1].zero_() for x in "QKVO"}
    unembed = weights["unembed.W_U"].zero_()
    if output == "numerical":
        head["V"][flag, 0], head["O"][0, answer.start], unembed[answer.start, 0] = 1, 1, 1
    else:
        weights["blocks.1.attn.b_Q"][1, 0] = 8 * config.attn_scale
        head["K"][flag, 0] = 1
        head["V"][:tokens] = torch.eye(LETTERS).repeat(2, 1)
        head["O"][:, answer] = torch.eye(LETTERS)
        unembed[answer] = 12 * torch.eye(LETTERS)
    return Transformer(config, weights)


def toy_inputs(output: Output, rows: int, seed: int) -> Int[Tensor, "row position"]:
    """Random letters; each is marked with probability 1/2 (numerical), or exactly one in a row is (categorical)."""
    generator = torch.Generator().manual_seed(seed)
    letters = torch.randint(LETTERS, (rows, POSITIONS), generator=generator)
    if output == "numerical":
        return letters + LETTERS * torch.randint(2, letters.shape, generator=generator)
    where = torch.randint(POSITIONS, (rows, 1), generator=generator)
    return letters + LETTERS * (torch.arange(POSITIONS) == where)


def toy_problem(
    output: Output, rows: int = 64, seed: int = 0, ablation: Ablation = "resample"
) -> tuple[Problem, Circuit]:
    """A problem on the toy model, and its true circuit. Edges outside have exactly no effect on the output."""
    model = toy_model(output)
    clean, corrupted = toy_inputs(output, rows, 2 * seed), toy_inputs(output, rows, 2 * seed + 1)
    problem = make_problem(model, clean, corrupted, output, None, ablation, seed)
    return problem, Circuit(model.graph, frozenset(TOY_CIRCUITS[output]))


def random_problem(output: Output, seed: int, ablation: Ablation = "resample", rows: int = 24, **shape: Any) -> Problem:
    """A small random model in float64 on random inputs: no truth, but two implementations must agree on it.

    `shape` overrides fields of the model's `Config`. Positions are scored at random, labels are random too.
    """
    sizes: dict[str, Any] = {
        "n_layers": 2,
        "n_heads": 2,
        "d_model": 8,
        "d_head": 3,
        "d_mlp": 12,
        "n_ctx": 5,
        "d_vocab": 6,
    }
    config = Config(**{**sizes, "d_vocab_out": 4 if output == "categorical" else 1, **shape})
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, size in config.weight_shapes().items():
        leaf = name.rsplit(".", 1)[1]
        scale = size[-2] ** -0.5 if leaf.startswith("W") else 0.3
        weights[name] = scale * torch.randn(size, generator=generator, dtype=torch.float64) + (leaf == "w")
    tokens = torch.randint(config.d_vocab, (2, rows, config.n_ctx), generator=generator)
    scored = torch.rand(rows, config.n_ctx, generator=generator) < 0.7
    labels = torch.randn(rows, config.n_ctx, config.d_vocab_out, generator=generator, dtype=torch.float64)
    return make_problem(Transformer(config, weights), tokens[0], tokens[1], output, scored, ablation, seed, labels)


def check_technique(technique: Technique) -> None:
    """Run every check of `CHECKS`. Raises AssertionError at the first that fails."""
    for check in CHECKS:
        check(technique)


def check_names(technique: Technique) -> None:
    """Name and version are short texts."""
    assert isinstance(technique.name, str) and technique.name.replace("-", "").replace("_", "").isalnum()
    assert isinstance(technique.version, str) and technique.version


def check_config_is_simple(technique: Technique) -> None:
    """The configuration is a frozen dataclass of simple fields with defaults and help texts."""
    config = technique.Config
    assert dataclasses.is_dataclass(config), f"{config} is no dataclass"
    assert config.__dataclass_params__.frozen, f"{config} is not frozen"  # type: ignore[attr-defined]
    hints = get_type_hints(config)
    for field in dataclasses.fields(config):
        assert _is_simple(hints[field.name]), f"type of {field.name} is {hints[field.name]}, no option can hold it"
        assert field.metadata.get("help"), f"{field.name} has no help text: field(metadata={{'help': ...}})"
    assert config() == config(), "two configurations with defaults differ"


def _is_simple(hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return True
    if get_origin(hint) is tuple:
        return all(_is_simple(part) for part in get_args(hint) if part is not ...)
    parts = get_args(hint)
    return all(_is_simple(part) for part in parts) if parts else hint in (int, float, bool, str, type(None))


def check_config_round_trips(technique: Technique) -> None:
    """The configuration survives JSON."""
    config = technique.Config()
    data = json.loads(json.dumps(dataclasses.asdict(config), allow_nan=False))
    again = technique.Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})
    assert again == config, f"{config} came back from JSON as {again}"


def _package(technique: Technique) -> str:
    return type(technique).__module__.partition(".")[0]


def check_import_is_light(technique: Technique) -> None:
    """Importing the plugin imports no torch: every command imports every plugin."""
    code = f"import sys, {type(technique).__module__}; print([m for m in ('torch', 'jax') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]", f"importing {type(technique).__module__} imports {done.stdout.strip()}"


def check_imports_public_names(technique: Technique) -> None:
    """The plugin uses only the public modules of interpbench, and none of the names that lead to the truth."""
    file = importlib.import_module(_package(technique)).__file__
    assert file is not None, f"{_package(technique)} has no source file"
    source = Path(file)
    for path in sorted(source.parent.rglob("*.py")) if source.name == "__init__.py" else [source]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            modules = names if isinstance(node, ast.Import) else [getattr(node, "module", None) or ""]
            for module in modules if names else []:
                if module.partition(".")[0] == "interpbench":
                    assert module in PUBLIC_MODULES, f"{path.name} imports {module}, not one of {PUBLIC_MODULES}"
                    near = sorted(set(names) & set(NEAR_THE_TRUTH))
                    assert not near, f"{path.name} imports {', '.join(near)}: a technique sees its problem only"


def _discover(technique: Technique, output: Output, seed: int = 0) -> tuple[Problem, Circuit, Discovery]:
    problem, truth = toy_problem(output, seed=seed)
    return problem, truth, technique.discover(problem, technique.Config())


def check_result_is_well_formed(technique: Technique) -> None:
    """A score for every edge of the problem's graph, no NaN; a circuit in the same graph or none; notes in JSON."""
    for output in TOY_CIRCUITS:
        problem, _, found = _discover(technique, output)
        assert found.scores.graph == problem.graph and found.scores.values.shape == (problem.graph.n_edges,)
        assert not np.isnan(found.scores.values).any()
        assert found.circuit is None or (found.circuit.graph, found.circuit.granularity) == (problem.graph, "edges")
        json.dumps(dict(found.notes), allow_nan=False)


def check_is_deterministic(technique: Technique) -> None:
    """The same problem and configuration give the same result, and the global random state plays no part in it."""
    with torch.random.fork_rng(devices=[]):
        before = np.random.get_state()
        results = []
        for state in (1, 2):
            torch.manual_seed(state)
            np.random.seed(state)
            drawn = torch.get_rng_state()
            results.append(_discover(technique, "categorical", seed=3)[2])
            assert torch.equal(drawn, torch.get_rng_state()), "the global generator was used; take a local one"
        np.random.set_state(before)
    first, second = results
    assert np.array_equal(first.scores.values, second.scores.values), "two runs gave different scores"
    assert first.circuit == second.circuit and first.notes == second.notes


def check_leaves_problem_alone(technique: Technique) -> None:
    """Weights and data are as they were, and gradients are as enabled or disabled as they were."""
    problem, _ = toy_problem("categorical")
    tensors = {**problem.model.weights, "clean": problem.clean, "corrupted": problem.corrupted, "other": problem.other}
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    technique.discover(problem, technique.Config())
    for name, tensor in tensors.items():
        assert torch.equal(tensor, before[name]), f"{name} was changed"
        assert tensor.grad is None and not tensor.requires_grad, f"{name} was given a gradient"
    assert torch.is_grad_enabled()


def check_truth_is_out_of_reach(technique: Technique) -> None:
    """`discover` takes a problem and a configuration, and no part of a problem is a circuit."""
    names = list(inspect.signature(technique.discover).parameters)
    assert len(names) == 2, f"discover takes {names}, expected a problem and a configuration"
    problem, _ = toy_problem("numerical")
    parts = [getattr(problem, field.name) for field in dataclasses.fields(problem)]
    assert not any(isinstance(part, Circuit) for part in parts)


def _separates(technique: Technique, output: Output) -> None:
    _, truth, found = _discover(technique, output)
    inside = truth.members("edges")
    worst, best = found.scores.values[inside].min(), found.scores.values[~inside].max()
    below = [e for e, s in zip(truth.graph.edges, found.scores.values, strict=True) if e in truth.edges and s == worst]
    assert worst > best, f"true edge {below[0]} scores {worst}, an edge without any effect {best}"


def check_finds_numerical_truth(technique: Technique) -> None:
    """Every edge of the numerical toy's circuit is ranked above all edges that have no effect."""
    _separates(technique, "numerical")


def check_finds_categorical_truth(technique: Technique) -> None:
    """Every edge of the categorical toy's circuit is ranked above all edges that have no effect."""
    _separates(technique, "categorical")


CHECKS: tuple[Callable[[Technique], None], ...] = (
    check_names,
    check_config_is_simple,
    check_config_round_trips,
    check_import_is_light,
    check_imports_public_names,
    check_result_is_well_formed,
    check_is_deterministic,
    check_leaves_problem_alone,
    check_truth_is_out_of_reach,
    check_finds_numerical_truth,
    check_finds_categorical_truth,
)
