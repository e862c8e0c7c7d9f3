"""Circuits and edge scores of other tools, judged: the same numbers as a run's, and what is no such file is refused."""

from __future__ import annotations

import copy
import json
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import interpbench as ib
from interpbench.certificate.certificate import THRESHOLD, Headline
from interpbench.graph import Circuit, EdgeScores, Graph
from interpbench.graph.circuit_file import APART, from_circuit_file, to_circuit_file
from interpbench.graph.graph import GRANULARITIES
from interpbench.problem.ablation import ABLATIONS, ablated
from interpbench.runs.record import FileJudgement

DATA = Path(__file__).parent / "data"
RECORDED = DATA / "eap_ig_case_3.json"
"""Written by EAP-IG's `to_json` (version 2.0.0) after it had read scores of ours and chosen edges by `apply_topn`."""


@pytest.fixture(scope="module")
def subject() -> ib.Subject:
    return ib.load_subject("3")


def recorded() -> dict[str, Any]:
    return json.loads(RECORDED.read_text())


def written(tmp_path: Path, data: Any, name: str = "file.json") -> Path:
    path = tmp_path / name
    if path.suffix == ".pt":
        torch.save(data, path)
    else:
        path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def matrix_of(data: dict[str, Any]) -> dict[str, Any]:
    """EAP-IG's .pt for a JSON of theirs: readers by layer, then q, k, v, then head; edges that do not exist score 0."""
    n_layers, n_heads = (data["cfg"][key] for key in ("n_layers", "n_heads"))
    rows = [name for name in data["nodes"] if name != "logits"]
    heads = [(h, x) for x in "qkv" for h in range(n_heads)]
    layers = [[*(f"a{a}.h{h}<{x}>" for h, x in heads), f"m{a}"] for a in range(n_layers)]
    columns = [*(name for layer in layers for name in layer), "logits"]
    scores = torch.zeros(len(rows), len(columns))
    inside = torch.zeros(len(rows), len(columns), dtype=torch.bool)
    for name, entry in data["edges"].items():
        at = tuple(names.index(end) for names, end in zip((rows, columns), name.split("->")))
        scores[at], inside[at] = entry["score"], entry["in_graph"]
    nodes = torch.tensor([data["nodes"][name]["in_graph"] for name in rows])
    named = {"src_nodes": rows, "dst_nodes": columns, "edges_scores": scores, "edges_in_graph": inside}
    return {"cfg": data["cfg"], **named, "nodes_in_graph": nodes}


# What comes out


def test_a_file_of_eap_ig(cli: Callable, subject: ib.Subject) -> None:
    ended = cli("score", RECORDED, "--case", "3", "--json")
    record, data = json.loads(ended.out), recorded()
    assert ended.status == 0 and ended.err == ""
    inside = [name for name, entry in data["edges"].items() if entry["in_graph"]]
    true = subject.circuit.heads().edges
    merged = {name.split("<")[0] for name in inside}
    chosen = record["metrics"]["heads"]["chosen"]
    assert chosen["size"] == len(merged) and chosen["recall"] == len(merged & true) / len(true)
    best: dict[str, float] = {}
    for name, entry in data["edges"].items():
        best[name.split("<")[0]] = max(entry["score"], best.get(name.split("<")[0], -np.inf))
    best.pop("input->logits")
    pairs = [(best[a] > best[b]) + 0.5 * (best[a] == best[b]) for a in true for b in best.keys() - true]
    assert record["metrics"]["heads"]["auroc"] == pytest.approx(np.mean(pairs))
    about = {"case": "3", "model": "siit", "subject": "siit", "absolute": False, "ablation": "resample"}
    about |= {"weights_hash": subject.weights_hash, "truth_hash": subject.truth_hash}
    headline = Headline.of_card(subject.card)
    about |= {"certified": headline.certified, "certificate_version": headline.version}
    assert record.keys() == FileJudgement.__required_keys__
    assert {key: record[key] for key in about} == about and record["file"] == str(RECORDED)
    table = cli("score", RECORDED, "--case", "3")
    assert (
        table.status == 0 and RECORDED.name in table.out and f"{record['metrics']['heads']['auroc']:.3f}" in table.out
    )


def test_their_two_formats_say_the_same(subject: ib.Subject, tmp_path: Path) -> None:
    """Their own .pt, and that our idea of it is theirs."""
    json_, pt = ib.score(RECORDED, subject), ib.score(RECORDED.with_suffix(".pt"), subject)
    assert np.array_equal(json_.scores.values, pt.scores.values) and json_.circuit == pt.circuit
    theirs, ours = torch.load(RECORDED.with_suffix(".pt"), weights_only=True), matrix_of(recorded())
    assert theirs.keys() == ours.keys()
    for key, value in theirs.items():
        assert torch.equal(value, ours[key]) if isinstance(value, torch.Tensor) else value == ours[key], key


def test_theirs_to_ours_to_theirs(subject: ib.Subject) -> None:
    """What their writer made of scores of ours is, but for our own key, what our writer makes of what we read."""
    result, data = ib.score(RECORDED, subject), recorded()
    again = to_circuit_file(result.scores, result.circuit, data["cfg"]["d_model"])
    assert again.pop(APART) and again == data


def test_absolute_ranks_by_size(cli: Callable, subject: ib.Subject) -> None:
    signed, absolute = (ib.score(RECORDED, subject, absolute=each) for each in (False, True))
    assert (signed.scores.values < 0).any()
    assert np.array_equal(absolute.scores.values, np.abs(signed.scores.values))
    record = json.loads(cli("score", RECORDED, "--case", "3", "--absolute", "--json").out)
    assert record["absolute"] and record["metrics"] == absolute.metrics != signed.metrics


def test_a_run_is_judged_as_it_was(subject: ib.Subject, tmp_path: Path) -> None:
    for ablation in ("resample", "zero"):
        result = ib.run("eap", subject, ablation=ablation, out=tmp_path)
        assert result.folder is not None
        again = ib.score(result.folder / "scores.json", subject, ablation=ablation)
        assert again.metrics == result.metrics and again.circuit == result.circuit
        assert np.array_equal(again.scores.values, result.scores.values)
        shared = again.record.keys() & result.record.keys()
        assert shared == FileJudgement.__required_keys__ - {"file", "absolute", "node_scores"}
        assert {key: again.record[key] for key in shared} == {key: result.record[key] for key in shared}


def test_the_true_circuit_is_perfect(subject: ib.Subject, tmp_path: Path) -> None:
    """As our circuit.json, merged to heads, and as their JSON with no scores or with the same for all edges."""
    graph = subject.circuit.graph
    flat = to_circuit_file(EdgeScores(graph, np.zeros(graph.n_edges)), subject.circuit, 12)
    bare = copy.deepcopy(flat)
    for entry in (*bare["edges"].values(), *bare[APART].values()):
        del entry["score"]
    for data in (subject.circuit.to_json(), flat, bare):
        result = ib.score(written(tmp_path, data), subject)
        assert result.circuit == subject.circuit
        for granularity in GRANULARITIES:
            numbers = result.metrics[granularity]
            assert numbers["auroc"] == numbers["average_precision"] == numbers["chosen"]["f1"] == 1
            assert numbers["identifiable"]["auroc"] == numbers["identifiable"]["average_precision"] == 1
        assert_exact(result.metrics["chosen"], len(subject.circuit.edges))
    result = ib.score(written(tmp_path, subject.circuit.heads().to_json()), subject)
    assert_exact(result.metrics["chosen"], len(subject.circuit.heads().edges))
    assert result.metrics["heads"]["chosen"]["f1"] == result.metrics["heads"]["auroc"] == 1
    assert result.metrics["edges"]["chosen"]["recall"] == 1 > result.metrics["edges"]["chosen"]["precision"]


def assert_exact(chosen: dict[str, Any], edges: int) -> None:
    assert (chosen["edges"], chosen["false_edges"], chosen["core_found"]) == (edges, 0, 1)
    assert chosen["accuracy"] >= THRESHOLD and chosen["sufficient"] is chosen["exact"] is True


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_what_a_circuit_keeps_is_measured_under_the_ablation(
    subject: ib.Subject, tmp_path: Path, ablation: Any
) -> None:
    """By a plain run of the model on the data of a run with default settings."""
    found = Circuit(subject.circuit.graph, subject.circuit.edges - {"pos->a1.h2<q>", "m0->a1.h2<v>"})
    metrics = ib.score(written(tmp_path, found.to_json()), subject, ablation=ablation).metrics
    clean, corrupted = map(torch.from_numpy, subject.case.pairs(1000, 0))
    cut = torch.from_numpy(1 - found.mask()).float()
    with torch.no_grad():
        kept = subject.model(clean, cut, ablated(subject.model, corrupted, ablation))
        stays = (kept - subject.model(clean)).abs()[:, 1:] < 0.05
    assert metrics["chosen"]["accuracy"] == pytest.approx(stays.float().mean().item(), abs=1e-3)
    assert metrics["chosen"]["accuracy"] < THRESHOLD and not metrics["chosen"]["sufficient"]
    assert (metrics["heads"]["identifiable"] is None) == (metrics["chosen"]["core_found"] is None)


def test_a_circuit_that_lacks_or_has_too_much_is_not_exact(subject: ib.Subject, tmp_path: Path) -> None:
    graph, true = subject.circuit.graph, subject.circuit.edges
    more = Circuit(graph, true | {"pos->m0"})
    less = Circuit(graph, true - {"m0->a1.h2<v>"})
    more, less = (ib.score(written(tmp_path, each.to_json()), subject).metrics["chosen"] for each in (more, less))
    assert (more["false_edges"], more["sufficient"], more["exact"], more["core_found"]) == (1, True, False, 1)
    assert (less["false_edges"], less["sufficient"], less["exact"]) == (0, False, False) and less["core_found"] < 1


def test_where_no_edge_is_singled_out_there_is_no_circuit(subject: ib.Subject, tmp_path: Path) -> None:
    """In the graph are all edges, none (as EAP-IG writes before it has chosen), or it is not said."""
    for inside in (True, False, None):
        data = recorded()
        for entry in data["edges"].values():
            entry.pop("in_graph")
            entry |= {} if inside is None else {"in_graph": inside}
        result = ib.score(written(tmp_path, data), subject)
        assert result.circuit is None and result.metrics["heads"]["chosen"] is result.metrics["chosen"] is None
        assert result.metrics["heads"]["auroc"] == ib.score(RECORDED, subject).metrics["heads"]["auroc"]


def test_an_empty_circuit_of_ours_is_a_choice(subject: ib.Subject, tmp_path: Path) -> None:
    graph = subject.circuit.graph
    scores = EdgeScores(graph, np.arange(graph.n_edges))
    data = to_circuit_file(scores, Circuit(graph, frozenset()), 12)
    assert ib.score(written(tmp_path, data), subject).metrics["heads"]["chosen"]["size"] == 0


def both_of(content: Any, graph: Graph) -> tuple[EdgeScores, Circuit | None]:
    read = from_circuit_file(content, graph)
    return read.scores, read.circuit


@given(st.builds(Graph, st.integers(1, 3), st.integers(1, 3)), st.data())
@settings(deadline=None, max_examples=30)
def test_there_and_back(graph: Graph, data: st.DataObject) -> None:
    """Ours through JSON is what it was; through theirs (without our key), embed and pos have what their merger has."""
    numbers = st.sampled_from([-np.inf, -2.5, 0.0, 1 / 3, 1e300, np.inf])
    scores = EdgeScores(graph, data.draw(st.lists(numbers, min_size=graph.n_edges, max_size=graph.n_edges)))
    circuit = Circuit(graph, data.draw(st.frozensets(st.sampled_from(graph.edges), min_size=1)))
    content = json.loads(json.dumps(to_circuit_file(scores, circuit, 4), allow_nan=False))
    read, chosen = both_of(content, graph)
    assert np.array_equal(read.values, scores.values)
    assert chosen == (None if len(circuit.edges) == graph.n_edges else circuit)
    del content[APART]
    read, chosen = both_of(content, graph)
    for name, value in zip(graph.edges, read.values):
        writer, reader = name.split("->")
        both = [f"{each}->{reader}" for each in (("embed", "pos") if writer in ("embed", "pos") else (writer,))]
        assert value == max(scores.values[graph.edge_index[each]] for each in both)
        assert chosen is None or (name in chosen.edges) == any(each in circuit.edges for each in both)


@pytest.mark.parametrize("suffix", ["json", "pt"])
def test_scores_of_nodes_rank_the_nodes(subject: ib.Subject, tmp_path: Path, suffix: str) -> None:
    """Not what edges say of them; and where the file says nothing of edges, an edge has its lower node's score."""
    graph, truth = subject.circuit.graph, subject.circuit
    own = {name: -float(name in truth.nodes) - i / 100 for i, name in enumerate(graph.nodes)}
    data = recorded()
    for name, score in own.items():
        data["nodes"][name]["score"] = score
    if suffix == "pt":
        vector = torch.tensor([torch.nan, *own.values()])  # the input has no score
        data = matrix_of(data) | {"nodes_scores": vector}
    result, plain = ib.score(written(tmp_path, data, f"own.{suffix}"), subject), ib.score(RECORDED, subject)
    assert result.record["node_scores"] and not plain.record["node_scores"]
    assert result.metrics["nodes"]["auroc"] == result.metrics["nodes"]["identifiable"]["auroc"] == 0
    assert result.metrics["nodes"]["auroc"] < plain.metrics["nodes"]["auroc"]
    assert result.metrics["heads"] == plain.metrics["heads"] and result.metrics["edges"] == plain.metrics["edges"]
    turned = ib.score(tmp_path / f"own.{suffix}", subject, absolute=True)
    assert turned.metrics["nodes"]["auroc"] == 1
    if suffix == "json":
        for entry in data["edges"].values():
            entry.update(score=0.0, in_graph=False)
        alone = ib.score(written(tmp_path, data, "alone.json"), subject).scores
        ends = {**own, "embed": np.inf, "pos": np.inf}
        assert alone.values.tolist() == EdgeScores.of_nodes(graph, ends).values.tolist()


# What is refused


def edge(**change: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["edges"]["a0.h1->m0"].update(change)


def node(name: str, score: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["nodes"].update({name: {"in_graph": True, "score": score}})


def config(**change: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["cfg"].update(change)


DAMAGED: dict[str, tuple[Any, str]] = {
    "a list": ([], "list instead of an object"),
    "a number": (3, "int instead of an object"),
    "nothing": ("", "unreadable: "),
    "truncated": (RECORDED.read_text()[:900], "unreadable: "),
    "no text": ("\x00\x01", "unreadable: "),
    "nested": ("[" * 100_000, "nested too deeply"),
    "huge number": ('{"cfg": ' + "9" * 5000 + "}", "is larger than any float"),
    "a key twice": ('{"cfg": 1, "nodes": {"m0": {"score": 1, "score": 2}}}', "the key 'score' is there twice"),
    "infinity as a number": ('{"score": -1e999}', "'-1e999' is larger than any float"),
    "empty": ({}, "n_layers and n_heads are [None, None]"),
    "no edges": (lambda data: data.pop("edges"), "no object 'edges'"),
    "edges are a list": (lambda data: data.update(edges=["a0.h1->m0"]), "no object 'edges'"),
    "cfg is a number": (lambda data: data.update(cfg=1), "'cfg' is no object"),
    "layers as text": (config(n_layers="2"), "n_layers and n_heads are ['2', 4]"),
    "layers as a fraction": (config(n_layers=2.5), "n_layers and n_heads are [2.5, 4]"),
    "no heads": (config(n_heads=0), "n_layers and n_heads are [2, 0]"),
    "layers as a truth": (config(n_heads=True), "n_layers and n_heads are [2, True]"),
    "parallel": (config(parallel_attn_mlp=True), "attention and MLP in parallel"),
    "an edge missing": (lambda data: data["edges"].pop("a0.h1->m0"), "edge a0.h1->m0 is missing"),
    "an input missing": (lambda data: data["edges"].pop("input->m0"), "edge input->m0 is missing"),
    "an edge too many": (
        lambda data: data["edges"].update({"m0->a0.h1<q>": {"score": 1}}),
        "no edge 'm0->a0.h1<q>'; did",
    ),
    "a strange name": (lambda data: data["edges"].update({"../" * 9999: {"score": 1}}), "no edge '../"),
    "an edge is a number": (lambda data: data["edges"].update({"a0.h1->m0": 3}), "edge a0.h1->m0 is no object"),
    "score as text": (edge(score="0.5"), "score of edge a0.h1->m0 is '0.5', expected float"),
    "score as a truth": (edge(score=True), "score of edge a0.h1->m0 is 'True', expected float"),
    "no score": (edge(score=None), "score of edge a0.h1->m0 is 'None', expected float"),
    "score is nan": (edge(score=float("nan")), "NaN is not JSON"),
    "score too large": (edge(score=10**400), "is larger than any float"),
    "a node score as text": (node("a0.h0", "1"), "score of node a0.h0 is '1', expected float"),
    "a node without a score": (node("m0", 1.0), "score of node a0.h0 is 'None', expected float"),
    "a score of another node": (node("m7", 1.0), "no node 'm7'"),
    "nodes are a list": (lambda data: data.update(nodes=["m0"]), "'nodes' is no object"),
    "another score apart": (
        lambda data: data.update(
            {APART: {f"{each}->m0": {"score": 9.0, "in_graph": True} for each in ("embed", "pos")}}
        ),
        "of edge input->m0 is",
    ),
    "in_graph as a number": (edge(in_graph=1), "in_graph of edge a0.h1->m0 is '1', expected bool"),
    "apart is a list": (lambda data: data.update({APART: [1]}), "no object 'edges'"),
    "a circuit of nothing": ({"n_layers": 2, "n_heads": 4, "granularity": "edges"}, "not a circuit: KeyError('edges')"),
    "a circuit of nodes": (
        {"n_layers": 2, "n_heads": 4, "granularity": "nodes", "edges": []},
        "granularity 'nodes', expected 'edges' or 'heads'",
    ),
    "a circuit of other edges": (
        {"n_layers": 2, "n_heads": 4, "granularity": "edges", "edges": ["m0->m0"]},
        "no edge 'm0->m0'",
    ),
    "all the same": (
        lambda data: [entry.update(score=0.5, in_graph=True) for entry in data["edges"].values()],
        "all edges have the same score and none is singled out",
    ),
    "neither": (
        lambda data: [entry.clear() for entry in data["edges"].values()],
        "edges have neither 'score' nor 'in_graph'",
    ),
}


def refused(cli: Callable, path: Path, why: str, status: int = 1) -> None:
    before = sorted(path.parent.iterdir()), time.process_time()
    ended = cli("score", path, "--case", "3")
    assert ended.status == status, ended
    assert ended.err.startswith(f"error: {path}: ") and ended.err.count("\n") == 1 and why in ended.err
    assert ended.out == "" and sorted(path.parent.iterdir()) == before[0]
    assert len(ended.err) < 500 + len(str(path)) and time.process_time() - before[1] < 5


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_json_is_one_line(cli: Callable, tmp_path: Path, name: str) -> None:
    change, why = DAMAGED[name]
    data = change
    if callable(change):
        data = recorded()
        change(data)
    refused(cli, written(tmp_path, data), why)


@pytest.mark.parametrize("layers", [3, 10**9, 10**300])
def test_another_graph_is_a_mistake_and_nothing_of_its_size_is_made(cli: Callable, tmp_path: Path, layers: int) -> None:
    for data in (recorded(), {"n_layers": 2, "n_heads": 4, "granularity": "edges", "edges": []}):
        data.get("cfg", data)["n_layers"] = layers
        why = f"the circuit is of a model of {layers:.6g} layers of 4 heads; expected 2 layers of 4 heads"
        refused(cli, written(tmp_path, data), why, status=2)


def scores(change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.update(edges_scores=change(data["edges_scores"]))


def node_scores(values: torch.Tensor) -> Callable[[dict[str, Any]], Any]:
    return lambda data: data.update(nodes_scores=values)


MATRICES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no writers": (lambda data: data.pop("src_nodes"), "src_nodes are not those of 2 layers of 4 heads"),
    "fewer readers": (lambda data: data["dst_nodes"].pop(), "dst_nodes are not those"),
    "a reader twice": (lambda data: data["dst_nodes"].__setitem__(0, "m0"), "dst_nodes are not those"),
    "no scores": (lambda data: data.pop("edges_scores"), "no object 'edges'"),
    "no in_graph": (lambda data: data.pop("edges_in_graph"), "edges_in_graph is no plain tensor"),
    "another shape": (scores(lambda old: torch.zeros(3, 4)), "edges_scores is (3, 4) of torch.float32"),
    "spread": (scores(lambda old: torch.zeros(1).expand(10**9, 27)), "edges_scores is (1000000000, 27)"),
    "sparse": (scores(torch.Tensor.to_sparse), "edges_scores is no plain tensor"),
    "whole numbers": (scores(torch.Tensor.long), "of torch.int64"),
    "nan": (scores(lambda old: old.fill_(torch.nan)), "is nan, expected a finite number"),
    "infinity": (scores(lambda old: old.fill_(torch.inf)), "is inf, expected a finite number"),
    "a node's infinity": (node_scores(torch.full((11,), torch.inf)), "score of node a0.h0 is inf, expected a finite"),
    "scores of other nodes": (node_scores(torch.ones(3)), "nodes_scores is (3,) of torch.float32"),
    "lists": (scores(torch.Tensor.tolist), "edges_scores is no plain tensor"),
    "nothing in graph": (lambda data: data["edges_in_graph"].resize_(0), "edges_in_graph is (0,) of torch.bool"),
}


@pytest.mark.parametrize("name", MATRICES)
def test_damaged_matrices_are_one_line(cli: Callable, tmp_path: Path, name: str) -> None:
    change, why = MATRICES[name]
    data = matrix_of(recorded())
    change(data)
    refused(cli, written(tmp_path, data, "file.pt"), why)


def test_no_code_is_run(cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Code:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "made"),)

    for name, save in (("new.pt", torch.save), ("old.pt", lambda data, path: path.write_bytes(pickle.dumps(data)))):
        save(matrix_of(recorded()) | {"cfg": Code()}, tmp_path / name)
        refused(cli, tmp_path / name, "the pickle names posix.mkdir" if name == "new.pt" else "not a zip file")
    (tmp_path / "text.pt").write_text("{}")
    refused(cli, tmp_path / "text.pt", "not a zip file")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("nowhere.json --case 3", "no file nowhere.json"),
        (". --case 3", "no file ."),
        (f"{RECORDED} --case 33x", "did you mean '33'"),
        (f"{RECORDED}", "--case"),
        (f"{RECORDED} --case 3 --model nowhere", "no model or folder 'nowhere'"),
        (f"{RECORDED} --case ioi", "2 layers of 4 heads; expected 6 layers of 4 heads"),
    ],
)
def test_mistakes_are_one_line(cli: Callable, words: str, why: str) -> None:
    ended = cli("score", *words.split())
    assert ended.status == 2 and why in ended.err and ended.err.count("\n") == 1 and ended.out == ""
