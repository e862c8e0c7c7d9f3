"""Graph, circuits and scores: structure, merging, names, errors."""

import json

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interpbench.graph import Circuit, EdgeScores, Graph

graphs = st.builds(Graph, st.integers(1, 4), st.integers(1, 4))


@given(graphs)
def test_edges_are_those_from_an_earlier_writer(graph: Graph) -> None:
    depth = {"embed": -1.0, "pos": -1.0, "logits": graph.n_layers + 0.0}
    depth |= {f"a{a}.h{h}": a + 0.0 for a in range(graph.n_layers) for h in range(graph.n_heads)}
    depth |= {f"m{a}": a + 0.5 for a in range(graph.n_layers)}
    expected = {f"{w}->{r}" for w in graph.writers for r in graph.readers if depth[w] < depth[r.split("<")[0]]}
    assert set(graph.edges) == expected
    assert len(graph.edges) == len(expected) == graph.n_edges
    names = [f"{graph.writers[w]}->{graph.readers[r]}" for w, r in zip(graph.edge_writer, graph.edge_reader)]
    assert names == list(graph.edges)


def test_counts_of_the_published_graphs() -> None:
    for graph, count in ((Graph(2, 4), 53), (Graph(6, 4), 459)):
        names = graph.universe("heads")
        assert len(names) == len(set(names)) == count
        assert "input->logits" not in names


@given(graphs, st.data())
def test_a_circuit_survives_json(graph: Graph, data: st.DataObject) -> None:
    edges = data.draw(st.frozensets(st.sampled_from(graph.edges)))
    for circuit in (Circuit(graph, edges), Circuit(graph, edges).heads()):
        assert Circuit.from_json(json.loads(json.dumps(circuit.to_json()))) == circuit
    assert Circuit(graph, edges).mask().sum() == len(edges)


@given(graphs, st.data())
def test_merging_takes_the_largest(graph: Graph, data: st.DataObject) -> None:
    values = np.array(data.draw(st.lists(st.integers(0, 9), min_size=graph.n_edges, max_size=graph.n_edges)), float)
    merged = graph.merge(values, "heads")
    for name, value in zip(graph.universe("heads"), merged, strict=True):
        writer, reader = name.split("->")
        of = [
            v
            for edge, v in zip(graph.edges, values)
            if ("input" if edge.split("->")[0] in ("embed", "pos") else edge.split("->")[0]) == writer
            and edge.split("->")[1].split("<")[0] == reader
        ]
        assert value == max(of)


def test_heads_merges_names() -> None:
    circuit = Circuit(Graph(2, 4), frozenset(["pos->a1.h2<q>", "embed->m0", "m0->a1.h2<v>", "a1.h2->logits"]))
    assert circuit.heads().edges == {"input->a1.h2", "input->m0", "m0->a1.h2", "a1.h2->logits"}
    assert circuit.nodes == circuit.heads().nodes == {"m0", "a1.h2"}
    assert circuit.heads().mask().sum() == 3 + 1 + 2 + 1 + 5  # q, k, v of input and m0; embed and pos


def test_unknown_names_are_refused_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match="no edge 'm0->a1.h7<q>'; did you mean 'm0->a1.h"):
        Circuit(Graph(2, 4), frozenset(["m0->a1.h7<q>"]))
    with pytest.raises(ValueError, match="no edge 'm1->m0'"):
        Graph(2, 4).mask(["m1->m0"])
    with pytest.raises(ValueError, match="no writer 'logits'"):
        Graph(2, 4).edges_from("logits")
    with pytest.raises(ValueError, match="not a circuit"):
        Circuit.from_json({"n_layers": 2})


def test_scores_refuse_nan_and_wrong_lengths() -> None:
    graph = Graph(1, 1)
    with pytest.raises(ValueError, match="is NaN"):
        EdgeScores(graph, np.full(graph.n_edges, np.nan))
    with pytest.raises(ValueError, match="one per edge"):
        EdgeScores(graph, np.zeros(3))


def test_top_and_above() -> None:
    graph = Graph(1, 1)
    scores = EdgeScores(graph, np.arange(graph.n_edges))
    assert scores.top(2).edges == set(graph.edges[-2:])
    assert scores.above(graph.n_edges - 2).edges == {graph.edges[-1]}


@given(graphs, st.data())
def test_scores_of_nodes_give_an_edge_the_smaller_of_its_ends(graph: Graph, data: st.DataObject) -> None:
    numbers = st.floats(-5, 5)
    drawn = data.draw(st.lists(numbers, min_size=len(graph.writers), max_size=len(graph.writers)))
    of = dict(zip(graph.writers, drawn))
    scores = EdgeScores.of_nodes(graph, of)
    for edge, value in zip(graph.edges, scores.values):
        writer, reader = edge.split("->")
        assert value == min(of[writer], of.get(reader.split("<")[0], np.inf))
    assert np.array_equal(scores.values, EdgeScores.of_nodes(graph, np.array(drawn)).values)


def test_scores_of_nodes_need_every_writer() -> None:
    graph = Graph(1, 1)
    of = dict.fromkeys(graph.writers, 1.0)
    with pytest.raises(ValueError, match="no writer 'a0.h7'; did you mean 'a0.h0'"):
        EdgeScores.of_nodes(graph, {**of, "a0.h7": 1.0})
    with pytest.raises(ValueError, match="no writer 'logits'"):
        EdgeScores.of_nodes(graph, {**of, "logits": 1.0})
    del of["pos"], of["m0"]
    with pytest.raises(ValueError, match="no score for pos, m0"):
        EdgeScores.of_nodes(graph, of)
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(4,\): one per writer"):
        EdgeScores.of_nodes(graph, np.zeros(3))


@given(graphs, st.data())
def test_live_writers_are_those_with_a_path_to_the_logits(graph: Graph, data: st.DataObject) -> None:
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=graph.n_edges, max_size=graph.n_edges)))
    paths = nx.DiGraph()
    paths.add_nodes_from([*graph.writers, "logits"])
    paths.add_edges_from((w, r.split("<")[0]) for (w, r), k in zip((e.split("->") for e in graph.edges), kept) if k)
    reach = nx.ancestors(paths, "logits")
    assert graph.live_writers(kept).tolist() == [w in reach for w in graph.writers]


def test_export_to_networkx() -> None:
    exported = Graph(2, 2).to_networkx()
    assert {f"{a}->{b}" for a, b in exported.edges} == set(Graph(2, 2).universe("heads"))


def test_no_torch_needed() -> None:
    import subprocess
    import sys

    code = "import sys, interpbench.graph; sys.exit('torch' in sys.modules or 'networkx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
