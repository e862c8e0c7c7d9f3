"""What protocols add to the ranking, and the settings they ask of techniques."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import interpbench as ib
from interpbench.evaluation.protocols import PAPER_GRID, configure, paper_metrics, pessimistic_area
from interpbench.graph import Circuit, EdgeScores, Graph
from interpbench.problem import Discovery

SHARE = st.floats(0, 1)


@pytest.mark.parametrize(
    ("x", "y", "area"),
    [
        ([0, 1], [0, 1], 0),
        ([0, 0.5, 1], [0, 0.5, 1], 0.25),
        ([0, 0.25, 1], [0, 0.25, 1], 0.1875),
        ([0, 0.25, 0.5, 1], [0, 0.25, 0.5, 1], 0.3125),
        ([0, 0.25, 0.75, 1], [0, 0.25, 0.5, 1], 0.25),
    ],
)
def test_the_published_check_values(x: list[float], y: list[float], area: float) -> None:
    assert pessimistic_area(zip(x, y, strict=True)) == pytest.approx(area)


@given(st.lists(st.tuples(SHARE, SHARE), max_size=12))
def test_the_area_is_a_share_and_never_above_the_curve_through_the_points(points: list[tuple[float, float]]) -> None:
    area = pessimistic_area(points)
    assert 0 <= area <= 1
    assert area == pytest.approx(pessimistic_area(reversed(points)))
    best = sorted([(0.0, 0.0), *points, (1.0, 1.0)])
    highest = np.maximum.accumulate([y for _, y in best])
    assert area <= np.trapezoid(highest, [x for x, _ in best]) + 1e-9


def test_a_perfect_ranking_has_the_area_one_only_if_the_grid_meets_it() -> None:
    graph = Graph(2, 2)
    truth = Circuit(graph, frozenset({"embed->m0", "m0->logits"}))
    right = truth.mask().astype(float)
    assert paper_metrics(Discovery(EdgeScores(graph, right)), truth)["area"] == 1
    told = paper_metrics(Discovery(EdgeScores(graph, right * 1e-7)), truth)
    assert told["area"] == 1 and [point["tpr"] for point in told["points"]] == [1.0] + [0.0] * (len(PAPER_GRID) - 1)
    assert paper_metrics(Discovery(EdgeScores(graph, right - 2)), truth)["area"] == 0, "same ranking, below the grid"


def test_circuits_of_a_technique_s_own_thresholds_are_its_points() -> None:
    graph = Graph(1, 1)
    truth = Circuit(graph, frozenset({"embed->m0", "m0->logits"}))
    scores = EdgeScores(graph, np.zeros(graph.n_edges))
    circuits = {0.1: Circuit(graph, frozenset(graph.edges)), 0.2: truth}
    told = paper_metrics(Discovery(scores, circuits=circuits), truth)
    assert told["points"] == [
        {"threshold": 0.1, "fpr": 1.0, "tpr": 1.0},
        {"threshold": 0.2, "fpr": 0.0, "tpr": 1.0},
    ]
    assert told["area"] == 1
    assert paper_metrics(Discovery(scores), Circuit(graph, frozenset()))["area"] is None


def test_a_preset_yields_to_what_was_set() -> None:
    @dataclass(frozen=True)
    class Config:
        a: int = 1
        b: int = 2

    technique = SimpleNamespace(name="mine", Config=Config, presets={"paper": {"a": 10, "b": 20}})
    assert configure(technique, {"b": 3}, "paper") == Config(10, 3)
    assert configure(technique, {"b": 2}, "paper") == Config(10, 2), "set, though to its default"
    assert configure(technique, {"b": 3}, "default") == Config(1, 3)
    assert configure(SimpleNamespace(name="mine", Config=Config), {}, "paper") == Config()


def test_an_option_that_is_typed_holds_under_any_protocol(cli: Callable, tmp_path: Path) -> None:
    words = ("run", "eap", "--case", "3", "--samples", "20", "--protocol", "paper", "--ig", "masks", "--json")
    typed, left = (json.loads(cli(*words, *more, "--out", tmp_path).out) for more in (("--ig-steps", "5"), ()))
    assert typed["config"]["ig_steps"] == 5 and left["config"]["ig_steps"] == 10


@pytest.mark.parametrize("technique", ["acdc", "eap", "norm", "patching", "random", "sp"])
def test_runs_tell_the_protocol_s_numbers(cli: Callable, tmp_path: Path, technique: str) -> None:
    words = ("run", technique, "--case", "3", "--samples", "40", "--out", tmp_path, "--json")
    few = ("--steps", "5") if technique == "sp" else ()
    record = json.loads(cli(*words, *few, "--protocol", "paper").out)
    assert record["protocol"] == "paper" and len(record["metrics"]["paper"]["points"]) == len(PAPER_GRID)
    assert 0 <= record["metrics"]["paper"]["area"] <= 1
    other = json.loads(cli(*words, *few, "--protocol", "mib").out)
    assert len(other["metrics"]["mib"]["faithfulness"]) == 10 and other["digest"] != record["digest"]
    assert other["metrics"]["mib"]["cpr"] is not None


def test_the_program_s_answers_are_there_under_the_paper_protocol_only(cli: Callable, tmp_path: Path) -> None:
    ended = cli("run", "eap", "--case", "3", "--loss", "label", "--out", tmp_path)
    assert (ended.status, ended.err) == (
        2,
        "error: loss 'label' compares with the program's answers; only --protocol paper provides them\n",
    )
    result = ib.run("eap", "3", samples=50, protocol="paper")
    assert result.record["config"]["loss"] == "label" and result.record["notes"]["loss"] == "label"


def test_an_unknown_protocol() -> None:
    with pytest.raises(ib.UsageError, match="no protocol 'papers'; did you mean 'paper'"):
        ib.run("eap", "3", protocol="papers")
