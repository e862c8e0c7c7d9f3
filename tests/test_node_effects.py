"""Node effects and circuit scores: exact on compiled references, and as in a plain loop."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import interpbench as ib
from interpbench.cases.pairs import draw, permuted_places
from interpbench.certificate.interventions import where_defined, with_nodes_replaced
from interpbench.errors import InterpbenchError, UsageError
from interpbench.evaluation.circuit_score import circuit_scores, cut_mask, evaluate_circuit
from interpbench.evaluation.faithfulness import faithfulness_curve
from interpbench.evaluation.node_effects import METRICS, node_effects, pairs
from interpbench.graph.circuit_file import to_circuit_file
from interpbench.graph.ranking import auroc
from interpbench.problem import ABLATIONS, make_problem
from interpbench.report import charts

plain = runpy.run_path(str(Path(__file__).parent / "benchmarks" / "plain.py"))


@pytest.mark.parametrize("case", ["4", "38"])
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_silent_nodes_of_a_compiled_reference_have_no_effect(case: str, ablation: str) -> None:
    found = node_effects(ib.load_subject(case, "tracr"), ablation=ablation, samples=100)
    silent = [found.effects[node] for node, inside in found.in_circuit.items() if not inside]
    circuit = [found.effects[node] for node, inside in found.in_circuit.items() if inside]
    assert silent and set(silent) == {0.0}
    assert max(circuit) > 0.5 and (ablation != "resample" or min(circuit) > 0)
    assert found.auroc == auroc(np.array(list(found.effects.values())), np.array(list(found.in_circuit.values())))


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize(("name", "metric"), [("3", "accuracy"), *(("7", metric) for metric in METRICS)])
def test_effects_are_those_of_a_plain_loop(name: str, metric: str, ablation: str) -> None:
    """One pair, one node and one position at a time."""
    subject = ib.load_subject(name)
    model, graph, reference = subject.model, subject.model.graph, subject.case.reference()
    found = node_effects(subject, metric, ablation, samples=6)
    data = draw(subject.case, 6, 0)
    places = permuted_places(*data.source.shape, 0) if ablation == "positions" else [None] * 6
    every = plain["forward"](model, data.source)[1]
    totals, whole, count = dict.fromkeys(graph.nodes, 0.0), 0.0, 0
    for x, y, at in zip(data.clean[:, None], data.source[:, None], places):
        clean, (label,), (other_label,) = model(x)[0], reference.outputs(x), reference.outputs(y)
        (corrupted,), values = plain["forward"](model, y, places=at if at is None else at[None])[:2]
        if ablation in ("mean", "zero"):
            mean = {writer: out.mean(0, keepdim=True) for writer, out in every.items()}
            values = mean if ablation == "mean" else {writer: 0 * out for writer, out in mean.items()}
        for position in range(1, x.shape[1]):
            if same(label[position], other_label[position]):
                continue
            count += 1
            whole += size(metric, corrupted[position], clean[position], label[position])
            for node in graph.nodes:
                cut = {edge for edge in graph.edges if edge.startswith(f"{node}->")}
                logits = plain["forward"](model, x, cut, values)[0][0]
                totals[node] += size(metric, logits[position], clean[position], label[position])
    assert (found.positions, found.exhaustive) == (count, False) and count > 3
    whole = count if metric == "accuracy" else whole
    for node, total in totals.items():
        assert found.effects[node] == pytest.approx(total / whole, abs=1e-4)


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one - other).abs() < 0.05) if len(one) == 1 else bool(one.argmax() == other.argmax())


def size(metric: str, logits: torch.Tensor, clean: torch.Tensor, label: torch.Tensor) -> float:
    if metric == "accuracy":
        return float(not same(logits, clean))
    p = clean.softmax(-1) if metric == "kl_div_self" else torch.eye(len(label))[label.argmax()]
    return float((torch.special.xlogy(p, p) - p * logits.log_softmax(-1)).sum())


def test_all_pairs_where_they_are_few() -> None:
    case = replace(ib.load_case("3"), max_length=2)
    found = pairs(case, 300, 0)
    both = torch.cat([found.clean, found.source], 1).tolist()
    assert found.exhaustive and len(both) == len({tuple(each) for each in both}) == (4**2) ** 2
    assert not pairs(case, 255, 0).exhaustive and len(pairs(case, 255, 0).clean) == 255


def test_what_has_no_effects_to_measure_is_refused() -> None:
    with pytest.raises(UsageError, match="answers with numbers, which have no kl_div; use accuracy"):
        node_effects(ib.load_subject("3"), "kl_div")
    subject = ib.load_subject("3")
    alike = replace(subject.case, counterfactual=lambda rng, inputs: inputs)
    with pytest.raises(InterpbenchError, match="no pair of 10 inputs has different answers"):
        node_effects(replace(subject, case=alike), samples=10)


@pytest.mark.parametrize("case", ["4", "38"])
def test_the_true_circuit_keeps_the_accuracy_and_its_complement_destroys_it(case: str) -> None:
    subject = ib.load_subject(case, "tracr")
    for by in ("edges", "nodes"):
        true = evaluate_circuit(subject, subject.circuit, by=by, samples=200)
        assert (true.score.before, true.score.after, true.score.relative) == (1, 1, 1)
        assert true.faithfulness == pytest.approx(1, abs=1e-4) and true.mib is None
        rest = evaluate_circuit(subject, subject.circuit, by=by, samples=200, complement=True)
        assert rest.score.relative < 0.7 and rest.faithfulness < 0.5
        assert (rest.score.kept, rest.score.cut) == (true.score.cut, true.score.kept)


def test_cut_nodes_are_replaced_nodes() -> None:
    """Masks and interventions on writers are two routes to the same run."""
    subject = ib.load_subject("4")
    graph, data = subject.model.graph, draw(subject.case, 60, 1)
    kept = np.random.default_rng(0).random((8, len(graph.nodes))) < 0.8
    told = circuit_scores(subject, data, kept, "nodes")
    target = subject.case.reference().outputs(data.clean)
    rejected = [[n for n, k in zip(graph.nodes, row) if not k] for row in kept]
    right = with_nodes_replaced(subject.model, data, [(nodes, target) for nodes in rejected])
    scored = where_defined(subject.case.reference(), data, target).scored
    assert [s.after for s in told] == pytest.approx([r[scored].float().mean().item() for r in right])
    assert len({s.after for s in told}) > 1


def test_masks_of_circuits() -> None:
    circuit = ib.load_subject("4").circuit
    graph = circuit.graph
    assert np.array_equal(cut_mask(graph, circuit.members("edges"), "edges"), 1 - circuit.mask())
    cut = cut_mask(graph, circuit.members("nodes"), "nodes")
    silent = {n for n in graph.nodes if n not in circuit.nodes}
    assert {e for e, c in zip(graph.edges, cut) if c} == {e for e in graph.edges if e.split("->")[0] in silent}


@pytest.mark.parametrize("form", ["scores.json", "circuit.json"])
def test_a_file_of_a_found_circuit(cli: Callable, tmp_path: Path, form: str) -> None:
    subject = ib.load_subject("3")
    result = ib.run("eap", subject, samples=100)
    path = tmp_path / form
    config = subject.model.config
    content = {
        "scores.json": to_circuit_file(result.scores, result.circuit, config.d_model),
        "circuit.json": result.circuit.to_json(),
    }
    path.write_text(json.dumps(content[form]))
    ended = cli("eval", "circuit", "--case", "3", "--file", path, "--samples", "100", "--json")
    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    assert told["score"]["kept"] == len(result.circuit.edges)
    if form == "circuit.json":
        assert told["mib"] is None and told["auroc"] is None
        return
    clean, corrupted = subject.case.pairs(100, 0)
    data = draw(subject.case, 100, 0)
    problem = make_problem(subject.model, clean, corrupted, "numerical", data.scored)
    found = faithfulness_curve(problem, result.scores)
    assert (told["mib"]["cpr"], told["mib"]["cmd"]) == (pytest.approx(found.cpr), pytest.approx(found.cmd))
    assert told["mib"]["faithfulness"][-1] == 1
    assert "CPR" in cli("eval", "circuit", "--case", "3", "--file", path, "--samples", "100").out


BAD = {
    "nothing asked": (["--case", "3"], 2, "expected --file FILE, --true or --complement"),
    "both": (["--case", "3", "--true", "--file", "x.json"], 2, "instead of the true one"),
    "two cases": (["--case", "3,4", "--file", "x.json"], 2, "of one case"),
    "no file": (["--case", "3", "--file", "x.json"], 2, "no file x.json"),
    "no circuit": (["--case", "3", "--file", "bad.json"], 1, "bad.json: not a circuit file"),
    "no JSON": (["--case", "3", "--file", "worse.json"], 1, "worse.json"),
    "another graph": (["--case", "2", "--file", "three.json"], 2, "expected 4 layers of 4 heads"),
    "no case": (["--true"], 2, "name cases"),
}


@pytest.mark.parametrize(("words", "status", "said"), BAD.values(), ids=BAD)
def test_mistakes_are_one_line(
    cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], status: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("[]")
    (tmp_path / "worse.json").write_text("{")
    (tmp_path / "three.json").write_text(json.dumps(ib.load_subject("3").circuit.to_json()))
    ended = cli("eval", "circuit", *words)
    assert ended.status == status and ended.err.count("\n") == 1
    assert said in ended.err


def test_the_command_prints_and_draws(cli: Callable, tmp_path: Path) -> None:
    chart = tmp_path / "effects.svg"
    words = ("eval", "node-effects", "--case", "7", "--samples", "50", "--plot", chart)
    ended = cli(*words)
    assert ended.status == 0, ended.err
    assert "circuit" in ended.out and "AUROC" in ended.out
    drawn = chart.read_text()
    assert drawn.startswith("<?xml") and list(tmp_path.iterdir()) == [chart]
    again = cli(*words)
    assert again.status == 2 and "--force replaces it" in again.err
    assert cli(*words, "--force").status == 0 and chart.read_text() == drawn
    told = json.loads(cli("eval", "node-effects", "--case", "7,26", "--samples", "50", "--json").out)
    assert [each["case"] for each in told] == ["7", "26"] and told[0]["effects"].keys() == told[0]["in_circuit"].keys()


def test_charts_that_cannot_be_drawn_are_refused_first(
    cli: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ("eval", "node-effects", "--case", "7", "--plot")
    assert "ends in .svg, .png, .pdf" in cli(*words, "effects.txt").err
    assert "one case" in cli("eval", "node-effects", "--case", "7,26", "--plot", "x.svg").err
    (tmp_path / "file").touch()
    assert cli(*words, tmp_path / "file" / "x.svg", "--samples", "20").status == 2
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'interpbench\[plot\]'"):
        charts.check(Path("x.svg"), force=False)
