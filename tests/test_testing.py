"""The conformance kit for techniques and cases: what is good passes, what is bad in one way fails just one check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

import interpbench as ib
from interpbench.cases.alignment import Alignment
from interpbench.cases.rasp.reference import RaspReference
from interpbench.graph import Circuit, EdgeScores
from interpbench.problem import Discovery
from interpbench.testing import CASE_CHECKS, CHECKS, toy_case, toy_problem
from interpbench.testing.flaws import Found, wrong_order

HEAD, ALGORITHM = "__init__.py", "algorithm.py"


def bad(check: str, file: str, old: str, new: str, slow: bool = False) -> Any:
    """A check, and what to write in a file of the template instead of something else, so that it fails."""
    return pytest.param(check, file, old, new, id=f"{check}: {new.strip()[-30:]}", marks=[pytest.mark.slow] * slow)


BAD_TECHNIQUES = [
    bad("check_name", HEAD, 'name = "', 'name = "no name: '),
    bad("check_config_is_simple", HEAD, "@dataclass(frozen=True)", "@dataclass"),
    bad("check_config_is_simple", HEAD, '{"help":', '{"text":', slow=True),
    bad("check_import_is_light", HEAD, "from interpbench import", "import torch\nfrom interpbench import"),
    bad("check_leaves_global_state_alone", ALGORITHM, "    return", "    torch.manual_seed(0)\n    return"),
    bad(
        "check_leaves_global_state_alone",
        ALGORITHM,
        "    return",
        "    torch.set_grad_enabled(False)\n    return",
        slow=True,
    ),
    bad("check_version", HEAD, 'version = "0.1.0"', 'version = ""'),
    bad(
        "check_config_round_trips",
        HEAD,
        "__post_init__(self) -> None:",
        '__post_init__(self) -> None:\n        object.__setattr__(self, "faithful", self.faithful / 2)',
    ),
    bad(
        "check_options_are_its_own",
        HEAD,
        "    faithful:",
        "    seed: int = field(default=0, metadata={'help': 'x'})\n    faithful:",
    ),
    bad("check_imports_public_modules", ALGORITHM, "import torch\n", "import torch\nimport interpbench.certificate\n"),
    bad("check_imports_public_modules", ALGORITHM, "import choose_top", "import choose_top, incremental", slow=True),
    bad(
        "check_imports_public_modules",
        ALGORITHM,
        "import torch\n",
        "import torch\nfrom interpbench import *\n",
        slow=True,
    ),
    bad(
        "check_imports_public_modules",
        ALGORITHM,
        "import torch\n",
        "import torch\nimport interpbench as ib\n\nlook = ib.problem.problem\n",
        slow=True,
    ),
    bad("check_truth_is_out_of_reach", ALGORITHM, "Discovery, Edge", "Discovery, load_subject, Edge"),
    bad(
        "check_truth_is_out_of_reach",
        ALGORITHM,
        "import torch\n",
        "import torch\nimport interpbench.cases\n",
        slow=True,
    ),
    bad("check_truth_is_out_of_reach", ALGORITHM, "import torch\n", "import torch\nfrom interpbench import trainers\n"),
    bad(
        "check_truth_is_out_of_reach",
        ALGORITHM,
        "import torch\n",
        "import torch\nimport interpbench as ib\n\nlook = ib.load_case\n",
        slow=True,
    ),
    bad(
        "check_truth_is_out_of_reach",
        HEAD,
        "config: Config) ->",
        "config: Config, circuit: object = None) ->",
        slow=True,
    ),
    bad(
        "check_scores_fit_the_graph",
        ALGORITHM,
        "    return Discovery(scores,",
        "    small = type(problem.graph)(1, 1)\n    return Discovery(EdgeScores(small, [0] * small.n_edges),",
    ),
    bad(
        "check_scores_are_finite",
        ALGORITHM,
        "    return",
        "    scores.values[scores.values.argmin()] = -torch.inf\n    return",
    ),
    bad(
        "check_scores_are_finite",
        ALGORITHM,
        "    return",
        "    scores.values[scores.values.argmax()] = torch.nan\n    return",
        slow=True,
    ),
    bad("check_circuit_fits_the_graph", ALGORITHM, "config.faithful)", "config.faithful).heads()"),
    bad("check_notes_are_json", ALGORITHM, '{"loss": ', '{"edges": {1, 2}, "loss": '),
    bad("check_notes_are_json", ALGORITHM, '{"loss": ', '{"nothing": torch.nan, "loss": ', slow=True),
    bad("check_is_deterministic", ALGORITHM, '{"loss": ', '{"draw": __import__("random").random(), "loss": '),
    bad(
        "check_is_deterministic",
        ALGORITHM,
        "    return",
        "    scores.values[:] += __import__('time').time_ns() * 1e-30\n    return",
        slow=True,
    ),
    bad(
        "check_leaves_problem_alone",
        ALGORITHM,
        "    return",
        "    problem.model.weights['unembed.W_U'].mul_(2)\n    return",
    ),
    bad(
        "check_leaves_problem_alone",
        ALGORITHM,
        "    return",
        "    problem.other.requires_grad_()\n    return",
        slow=True,
    ),
    bad(
        "check_finds_numerical_truth",
        ALGORITHM,
        "rises.cpu()",
        "rises.cpu().mul(1 if problem.full.shape[-1] > 1 else -1)",
    ),
    bad(
        "check_finds_categorical_truth",
        ALGORITHM,
        "rises.cpu()",
        "rises.cpu().mul(0 if problem.full.shape[-1] > 1 else 1)",
    ),
    bad("check_declares_what_it_scores", HEAD, '    version = "', '    scores = "node"\n    version = "'),
    bad("check_declares_what_it_scores", HEAD, '    version = "', '    scores = "nothing"\n    version = "', slow=True),
    bad(
        "check_takes_a_problem",
        ALGORITHM,
        "    return",
        "    raise __import__('interpbench').UsageError('no')\n    return",
    ),
    bad(
        "check_works_under_every_ablation",
        ALGORITHM,
        "    return",
        "    problem.other[..., torch.arange(len(problem.clean))]\n    return",
    ),
    bad(
        "check_works_under_every_ablation",
        ALGORITHM,
        "rises.cpu()",
        "rises.cpu().mul(1 if problem.other.abs().max() else -1)",
        slow=True,
    ),
    bad(
        "check_works_on_causal_models",
        ALGORITHM,
        "    return",
        "    scores.values[0] *= torch.nan if problem.model.config.attention_dir == 'causal' else 1\n    return",
    ),
    bad(
        "check_works_with_norms",
        ALGORITHM,
        "    return",
        "    assert problem.model.config.normalization_type is None, 'no norms'\n    return",
    ),
]


@pytest.mark.parametrize(("check", "file", "old", "new"), BAD_TECHNIQUES)
def test_a_technique_that_is_bad_in_one_way(
    template: Callable, failing: Callable, check: str, file: str, old: str, new: str
) -> None:
    assert failing(CHECKS, *template("technique", file, old, new)) == {check}


class Deaf(RaspReference):
    """Does not hear of interchanges."""

    def outputs(self, tokens: torch.Tensor, source: Any = None, variable: Any = None) -> torch.Tensor:
        return self.model(tokens)


def bad_case(how: str) -> ib.Case:
    """Case 3, which takes four of `a b c x`, with something wrong."""
    good = ib.load_case("3")
    reference: Any = good.reference()
    shape, moved = reference.subject_config, reference.alignment.moved

    def program(change: Callable[[list], list], module: str = __name__) -> Callable:
        def changed(tokens: Any) -> list[Any]:
            return change(good.program(tokens))

        changed.__module__ = module
        return changed

    def draw(rng: np.random.Generator, n: int, length: int = 4) -> list[tuple[str, ...]]:
        return [tuple("abcx"[i] for i in row) for row in rng.integers(4, size=(n, length))]

    def refers(to: Any) -> dict[str, Any]:
        return {"reference": lambda: to}

    light = "interpbench.cases.programs.numbers"
    changes: dict[str, dict[str, Any]] = {
        "no word for a name": {"name": "three/four"},
        "no description": {"description": " "},
        "heavy module": {"program": program(list, "interpbench.problem")},
        "short inputs": {"draw": lambda rng, n: draw(rng, n, 3)},
        "an answer missing": {"program": program(lambda told: [None, *told[1:]], light)},
        "own seed": {"draw": lambda rng, n: draw(np.random.default_rng(), n)},
        "global generator": {"draw": lambda rng, n: draw(rng, n + int(np.random.rand()))},
        "corrupted is clean": {"counterfactual": lambda rng, inputs: inputs},
        "another program": {"program": program(lambda told: [x + 0.5 for x in told], light)},
        "undefined unawares": {"partial": True, **refers(replace(reference, partial=True))},
        "subject of other tokens": refers(replace(reference, subject_config=replace(shape, d_vocab=50))),
        "aligned with nothing": refers(replace(reference, alignment=Alignment({"m0": "m7"}))),
        "two at one node": refers(replace(reference, alignment=Alignment({**moved, "m0": "a1.h2"}))),
        "deaf": refers(Deaf(**{field.name: getattr(reference, field.name) for field in fields(reference)})),
    }  # fmt: skip
    return replace(good, **changes[how])


@pytest.mark.parametrize(
    ("check", "how"),
    [
        ("check_is_described", "no word for a name"),
        ("check_is_described", "no description"),
        ("check_import_is_light", "heavy module"),
        ("check_inputs_are_inputs", "short inputs"),
        ("check_program_answers_everywhere", "an answer missing"),
        ("check_pairs_are_seeded", "own seed"),
        ("check_pairs_are_seeded", "global generator"),
        ("check_clean_differs_from_corrupted", "corrupted is clean"),
        ("check_reference_answers_as_the_program", "another program"),
        ("check_reference_knows_where_it_answers", "undefined unawares"),
        ("check_reference_fits_the_case", "subject of other tokens"),
        ("check_alignment_names_real_nodes", "aligned with nothing"),
        ("check_alignment_names_real_nodes", "two at one node"),
        ("check_interchange_replaces_variables", "deaf"),
    ],
)
def test_a_case_that_is_bad_in_one_way(failing: Callable, check: str, how: str) -> None:
    assert failing(CASE_CHECKS, bad_case(how)) == {check}


def test_a_case_that_imports_from_inside(template: Callable, failing: Callable) -> None:
    inside = ("from interpbench.cases import rasp_case", "from interpbench.cases.rasp.define import rasp_case")
    assert failing(CASE_CHECKS, *template("case", "program.py", *inside)) == {"check_imports_public_modules"}


def test_every_check_has_something_bad() -> None:
    """No check of the kit that nothing fails."""
    (cases,) = [mark.args[1] for mark in test_a_case_that_is_bad_in_one_way.pytestmark]
    assert {check.__name__ for check in CHECKS} == {each.values[0] for each in BAD_TECHNIQUES}
    assert {check.__name__ for check in CASE_CHECKS} == {check for check, _ in cases} | {"check_imports_public_modules"}


def test_the_template_is_good(template: Callable, failing: Callable) -> None:
    assert failing(CHECKS, *template("technique")) == set()


@pytest.mark.parametrize("output", ["numerical", "categorical"])
def test_a_technique_for_one_output_or_ablation_is_good(template: Callable, failing: Callable, output: str) -> None:
    refuse = f"""    if problem.output == "{output}" or problem.ablation == "zero":
        raise __import__("interpbench").UsageError("not for me")
    return"""
    assert failing(CHECKS, *template("technique", ALGORITHM, "    return", refuse)) == set()


@pytest.mark.parametrize(("output", "kept"), [("numerical", 3), ("categorical", 2)])
def test_frozen_attention_sees_no_route_through_a_key(output: Any, kept: int) -> None:
    problem, truth = toy_problem(output)
    values = truth.mask() - 1.0
    through_key = ("embed->m0", "m0->a1.h1<k>") if output == "categorical" else ()
    values[[problem.graph.edge_index[edge] for edge in through_key]] = -2
    found = Found(problem, truth, Discovery(EdgeScores(problem.graph, values)))
    assert (values == 0).sum() == kept
    assert wrong_order(Frozen(), found) == ""
    assert bool(wrong_order(Traced(), found)) == (output == "categorical")
    values[problem.graph.edge_index["a1.h1->logits"]] = -2
    assert "true edge a1.h1->logits scores -2.0, an edge without any effect -1.0" in wrong_order(
        Frozen(), Found(problem, truth, Discovery(EdgeScores(problem.graph, values)))
    )


class Traced:
    name, version, Config = "traced", "1", dict

    def discover(self, problem: Any, config: Any) -> Any: ...


class Frozen(Traced):
    attention = "frozen"


@pytest.mark.parametrize("norm", [None, "LN", "LNPre"])
@pytest.mark.parametrize("direction", ["causal", "bidirectional"])
@pytest.mark.parametrize("output", ["numerical", "categorical"])
def test_toys_have_the_circuit_that_they_say(output: Any, direction: str, norm: str | None) -> None:
    problem, truth = toy_problem(output, attention_dir=direction, normalization_type=norm)
    alone = problem.losses(torch.eye(problem.graph.n_edges), problem.faithfulness_loss).numpy()
    inside = truth.members("edges")
    assert alone[inside].min() > 0.01 and abs(alone[~inside]).max() < 1e-7


@pytest.mark.parametrize("output", ["numerical", "categorical"])
def test_the_toy_case_is_good(failing: Callable, output: Any) -> None:
    """But for its module, which imports torch: it is made for tests, not for lists."""
    assert failing(CASE_CHECKS, toy_case(output)) == {"check_import_is_light"}


def test_no_part_of_a_problem_is_a_circuit() -> None:
    problem, _ = toy_problem("numerical")
    assert not any(isinstance(getattr(problem, field.name), Circuit) for field in fields(problem))
