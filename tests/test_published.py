"""Our techniques on weights and inputs on which the published code was run (tests/data/discovery).

Its graph merges embed and pos into one input, so an edge from it has the sum of the two gradients.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from interpbench.evaluation.protocols import configure
from interpbench.problem import Problem, make_problem
from interpbench.transformer import Transformer
from interpbench.transformer.config import Config as Shape
from interpbench_acdc import Acdc
from interpbench_eap import Eap
from interpbench_eap.algorithm import attribute, published_factor
from interpbench_sp import Sp

DATA = Path(__file__).parent / "data" / "discovery"
PUBLISHED: dict[str, Any] = json.loads((DATA / "published.json").read_text())
SUBJECTS = [(case, kind) for case in ("3", "11") for kind in ("siit", "tracr")]


@cache
def problem(case: str, kind: str) -> Problem:
    with safe_open(DATA / f"{case}_{kind}.safetensors", "pt") as file:
        shape = Shape(**json.loads(file.metadata()["config"]))
        model = Transformer(shape, {name: file.get_tensor(name) for name in file.keys()})
    told = load_file(DATA / f"inputs_{case}.safetensors")
    clean, target = told["clean"].long(), told["clean_target"]
    labels = target if target.ndim == 3 else torch.nn.functional.one_hot(target.long(), shape.d_vocab_out)
    scored = torch.ones_like(clean, dtype=torch.bool)
    scored[:, 0] = False
    kinds = "numerical" if shape.d_vocab_out == 1 else "categorical"
    return make_problem(model, clean, told["corrupted"].long(), kinds, scored, labels=labels.float())


def merged(problem: Problem, values: np.ndarray) -> dict[str, float]:
    total: dict[str, float] = {}
    for edge, value in zip(problem.graph.edges, values.tolist(), strict=True):
        writer, reader = edge.split("->")
        name = f"{'input' if writer in ('embed', 'pos') else writer}->{reader}"
        total[name] = total.get(name, 0) + value
    return total


@pytest.mark.parametrize(("case", "kind"), SUBJECTS)
@pytest.mark.parametrize("variant", ["eap", "eap_ig5"])
def test_eap_scores_are_the_published_ones(case: str, kind: str, variant: str) -> None:
    """Where a subject is sure of its answers, gradients in single precision are rounding in part: those of case 11's
    are 1.2e-4 from the same in double precision as published, and 2.0e-4 as ours.
    """
    here = problem(case, kind)
    asked = configure(Eap(), {"ig": "masks" if variant == "eap_ig5" else "none", "ig_steps": 5}, "paper")
    ours = merged(here, (attribute(here, asked, "label") * published_factor(here, asked)).numpy())
    theirs = PUBLISHED[f"{variant}_{case}_{kind}"]["scores"]
    assert theirs.keys() <= ours.keys()
    apart = max(abs(ours[edge] - score) for edge, score in theirs.items())
    largest = max(map(abs, theirs.values()))
    assert apart <= (3e-4 if (case, kind, variant) == ("11", "siit", "eap") else 1e-4) * largest + 1e-6


@pytest.mark.parametrize(("case", "kind"), SUBJECTS)
def test_acdc_finds_a_published_circuit(case: str, kind: str) -> None:
    """There are two, by its two published forms; they differ by the order of the edges where a circuit is not clear."""
    here = problem(case, kind)
    found = Acdc().discover(here, Acdc.Config(tau=(0.025,)))
    assert found.circuit is not None
    forms = [PUBLISHED[f"{form}_{case}_{kind}"]["circuit"] for form in ("acdc", "legacy_acdc")]
    assert sorted(found.circuit.heads().edges) in forms


@pytest.mark.parametrize("case", ["3", "11"])
def test_sp_finds_the_published_circuit_of_compiled_models(case: str) -> None:
    """The published result is one random draw, on trained subjects far from any circuit; on compiled ones it is not."""
    here = problem(case, "tracr")
    found = Sp().discover(here, Sp.Config(lambda_=(1.0,), loss="mse", relative=False))
    assert found.circuit is not None
    assert sorted(found.circuit.heads().edges) == PUBLISHED[f"sp_edge_{case}_tracr"]["circuit"]
