"""Realism: curves over growing circuits, and how they go with the natural model's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import interpbench as ib
from interpbench.errors import UsageError
from interpbench.evaluation.circuit_score import CircuitScore, evaluate_circuit
from interpbench.runs.realism import SHARES, correlation, realism


def scores(*relative: float | None) -> tuple[CircuitScore, ...]:
    return tuple(CircuitScore(0, 0, 1.0, each or 0.0, each) for each in relative)


@pytest.fixture(scope="module")
def natural(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model on disk whose card says that it was trained naturally; the compiled reference is good enough for that."""
    subject = ib.load_subject("7", "tracr")
    folder = tmp_path_factory.mktemp("models") / "natural"
    return ib.save_subject(replace(subject, card=subject.card | {"kind": "natural"}), folder)


def test_curves_of_what_is_there(natural: Path, tmp_path: Path) -> None:
    case = ib.load_case("7")
    found = realism(case, "eap", ["siit", natural, "iit", "tracr"], samples=60, out=tmp_path)
    assert list(found.curves) == ["siit", "natural", "tracr"] and list(found.missing) == ["iit"]
    assert "train iit --case 7" in found.missing["iit"]
    assert found.at == SHARES and found.curves["natural"].correlation == pytest.approx(1)
    siit, base = (np.array([s.relative for s in found.curves[m].scores]) for m in ("siit", "natural"))
    assert found.curves["siit"].correlation == pytest.approx(np.corrcoef(siit, base)[0, 1])
    for name in ("siit", "tracr"):
        first, *_, last = found.curves[name].scores
        assert last.relative == 1 and last.cut == 0 and first.kept == 0 and first.relative < 0.5
    alone = ib.run("eap", case, samples=60, out=tmp_path)
    assert len(list(tmp_path.glob("7/siit/eap/*"))) == 1, "the run was kept"
    top = SHARES.index(0.5)
    by_edges = realism(case, "eap", ["siit"], by="edges", ablation="resample", samples=60, out=tmp_path)
    half = evaluate_circuit(
        ib.load_subject("7"), alone.scores.top(by_edges.curves["siit"].scores[top].kept), samples=60
    )
    assert by_edges.curves["siit"].scores[top] == half.score


def test_thresholds_instead_of_shares() -> None:
    case = ib.load_case("7")
    found = realism(case, "eap", ["siit"], by="edges", thresholds=[0.0, 1e9], samples=40)
    ranked = ib.run("eap", case, samples=40).scores
    assert found.at == (0.0, 1e9)
    assert [s.kept for s in found.curves["siit"].scores] == [len(ranked.above(0.0).edges), 0]


def test_the_true_circuit_instead_of_a_found_one() -> None:
    found = realism(ib.load_case("4"), None, ["siit", "tracr"], by="edges", ablation="resample", samples=60)
    assert found.at == (None,) and found.technique is None
    for curve in found.curves.values():
        assert curve.scores[0].relative >= 0.98 and curve.correlation is None


def test_correlation_is_none_where_it_is_undefined() -> None:
    assert correlation(scores(0.1, 0.5, 1.0), scores(0.2, 0.6, 1.1)) == pytest.approx(1)
    assert correlation(scores(0.1, 0.5, 1.0), scores(1.0, 0.6, 0.1)) == pytest.approx(-1)
    assert correlation(scores(0.1, 0.5), scores(1.0, 1.0)) is None
    assert correlation(scores(None, None), scores(0.1, 1.0)) is None


def test_models_that_cannot_be_are_mistakes(natural: Path) -> None:
    case = ib.load_case("7")
    with pytest.raises(UsageError, match="did you mean 'tracr'"):
        realism(case, None, ["siit", "tracrr"])
    with pytest.raises(UsageError, match="has none of the models natural, iit"):
        realism(case, None, ["natural", "iit"])
    with pytest.raises(UsageError, match="kind 'natural' already"):
        realism(case, None, [natural, natural])


def test_the_command(cli: Callable, natural: Path, tmp_path: Path) -> None:
    chart = tmp_path / "curves.png"
    words = ("eval", "realism", "--case", "7", "--samples", "40", "--models", f"siit,iit,{natural}")
    found = ("--technique", "eap", "--out", tmp_path / "runs", "--plot", chart)
    ended = cli(*words, *found)
    assert ended.status == 0, ended.err
    assert (
        "correlation of siit with natural" in ended.out
        and "not there: case 7 has no bundled subject 'iit'" in ended.out
    )
    assert chart.read_bytes().startswith(b"\x89PNG")
    told = json.loads(cli(*words, "--true", "--by", "edges", "--json").out)
    assert told["at"] == [None] and told["curves"].keys() == {"siit", "natural"} and told["missing"].keys() == {"iit"}
    assert cli(*words, *found).status == 2, "the chart is there"


BAD = {
    "neither": ([], "name a --technique, or --true"),
    "both": (["--technique", "eap", "--true"], "not both"),
    "technique": (["--technique", "epa"], "did you mean 'eap'"),
    "thresholds": (["--technique", "eap", "--thresholds", "1,x"], "expected numbers with commas between"),
    "true thresholds": (["--true", "--thresholds", "1"], "the true circuit has none"),
}


@pytest.mark.parametrize(("words", "said"), BAD.values(), ids=BAD)
def test_mistakes_are_one_line(cli: Callable, words: list[str], said: str) -> None:
    ended = cli("eval", "realism", "--case", "7", *words)
    assert ended.status == 2 and said in ended.err and ended.err.count("\n") == 1


def test_bundled_natural_models_are_compared() -> None:
    """Natural and IIT models of the published cases have the shape of the certified subject."""
    found = realism(ib.load_case("11"), "eap", samples=60)
    assert not found.missing and list(found.curves) == ["siit", "natural", "iit", "tracr"]
    shapes = {ib.load_subject("11", kind).model.config for kind in ("siit", "natural", "iit")}
    assert len(shapes) == 1
