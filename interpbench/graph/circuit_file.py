"""Edge scores and circuits in files: the JSON and .pt of MIB and EAP-IG, and our own.

MIB and EAP-IG have one `input` node where we have `embed` and `pos`. The merged edge gets the larger score, and is in
the graph if either edge is; on reading, both edges get its values. Our JSON also stores our two edges, under a key that
their tools ignore, so that reading restores what was written. JSON has no infinity: the largest float stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interpbench.errors import UsageError, unknown
from interpbench.files import parse_json
from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.graph import Graph
from interpbench.graph.names import INPUTS, edge_name, node_of, split_edge

APART = "interpbench_inputs"
_LARGEST = float(np.finfo(np.float64).max)


def to_circuit_file(scores: EdgeScores, circuit: Circuit | None, d_model: int) -> dict[str, Any]:
    """The content of a circuit file; without a chosen circuit every edge is in the graph."""
    graph = scores.graph
    values = np.clip(scores.values, -_LARGEST, _LARGEST).tolist()
    inside = (np.ones(graph.n_edges) if circuit is None else circuit.mask()).astype(bool).tolist()
    edges: dict[str, dict[str, Any]] = {}
    apart: dict[str, dict[str, Any]] = {}
    for name, score, in_graph in zip(graph.edges, values, inside, strict=True):
        entry = {"score": score, "in_graph": in_graph}
        if (theirs := _their_name(name)) == name:
            edges[name] = entry
            continue
        apart[name] = entry
        merged = edges.setdefault(theirs, dict(entry))
        merged["score"], merged["in_graph"] = max(merged["score"], score), merged["in_graph"] or in_graph
    kept = {node_of(end) for name, entry in edges.items() if entry["in_graph"] for end in split_edge(name)}
    nodes = {node: {"in_graph": node in kept} for node in ("input", *graph.nodes)}
    return {
        "cfg": {"n_layers": graph.n_layers, "n_heads": graph.n_heads, "parallel_attn_mlp": False, "d_model": d_model},
        "nodes": nodes | {"logits": {"in_graph": True}},
        "edges": edges,
        APART: apart,
    }


def read_circuit_file(path: Path, graph: Graph) -> tuple[EdgeScores, Circuit | None]:
    """Scores over `graph` and the chosen circuit, if there is one, from a file of ours, of MIB or of EAP-IG.

    `.pt` and `.pth` are read as PyTorch's format without running code, anything else as JSON. A file without scores,
    or with one score for all edges, is read as a circuit: its edges score 1, the others 0. Raises UsageError for a
    circuit in another graph, ValueError for another form or neither scores nor a circuit, OSError if unreadable.
    """
    data = _load_pt(path) if path.suffix.lower() in (".pt", ".pth") else _load_json(path)
    scores, circuit = from_circuit_file(data, graph)
    if (scores.values == scores.values[0]).all():
        if circuit is None:
            raise ValueError("all edges have the same score and none is singled out: there is nothing to judge")
        scores = EdgeScores(graph, circuit.mask())
    return scores, circuit


def _load_json(path: Path) -> Any:
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None


def _load_pt(path: Path) -> Any:
    import warnings

    import torch

    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a damaged pickle can fail in any way
        raise ValueError("not a file of plain data and tensors that PyTorch can read") from None


def from_circuit_file(data: Any, expected: Graph | None = None) -> tuple[EdgeScores, Circuit | None]:
    """Scores and the chosen circuit, None if no edge is singled out, from the content of a circuit file.

    Accepts the content made by `to_circuit_file`, MIB's JSON, EAP-IG's .pt (loaded), and `Circuit.to_json`, whose edges
    score 1. Raises UsageError if the graph is not the expected one, before anything of its size is allocated, and
    ValueError for content of another form: missing or unknown edges, scores that are not numbers.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"not a circuit file: {type(data).__name__} instead of an object")
    graph = _graph(data.get("cfg", data), expected)
    if "granularity" in data:
        circuit = Circuit.from_json(data)
        return EdgeScores(graph, circuit.mask()), circuit
    found, apart = _entries(data, graph)
    scores = _column(graph, found, "score", (int, float))
    inside = _column(graph, found, "in_graph", (bool,))
    if (column := inside if scores is None else scores) is None:
        raise ValueError("not a circuit file: its edges have neither 'score' nor 'in_graph'")
    values = _values(column)
    # With scores, every edge in the graph means that none was chosen, and in files of others so does no edge at all.
    if inside is None or (scores is not None and (all(inside) or not (any(inside) or apart))):
        return EdgeScores(graph, values), None
    chosen = frozenset(name for name, held in zip(graph.edges, inside, strict=True) if held)
    return EdgeScores(graph, values), Circuit(graph, chosen)


def _entries(data: Mapping[str, Any], graph: Graph) -> tuple[list[Any], bool]:
    """What the file has for every edge, None if nothing, and whether it has `embed` and `pos` apart as ours do."""
    edges, apart = data.get("edges"), data.get(APART, {})
    if edges is None and "edges_scores" in data:
        edges = _edges_of_matrix(data, graph)
    if not isinstance(edges, Mapping) or not isinstance(apart, Mapping):
        raise ValueError("not a circuit file: no object 'edges'")
    entries = {**edges, **apart}
    known = {theirs for name in graph.edges for theirs in (name, _their_name(name))}
    for name in sorted(map(str, entries.keys() - known)):
        raise ValueError(unknown("edge", name[:60], sorted(known)))
    return [entries.get(name, entries.get(_their_name(name))) for name in graph.edges], bool(apart)


def _values(scores: list[Any]) -> np.ndarray:
    try:
        values = np.array(scores, dtype=np.float64)
    except OverflowError:
        raise ValueError("not a circuit file: a score is larger than any float") from None
    return np.where(np.abs(values) == _LARGEST, np.copysign(np.inf, values), values)


def _their_name(edge: str) -> str:
    """The edge of their graph that an edge of ours merges into."""
    writer, reader = split_edge(edge)
    return edge_name("input", reader) if writer in INPUTS else edge


def _graph(config: Any, expected: Graph | None) -> Graph:
    if not isinstance(config, Mapping):
        raise ValueError("not a circuit file: 'cfg' is no object")
    sizes: list[Any] = [config.get(name) for name in ("n_layers", "n_heads")]
    if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
        raise ValueError(f"not a circuit file: n_layers and n_heads are {str(sizes)[:60]}, expected two numbers")
    if config.get("parallel_attn_mlp"):
        raise ValueError("the circuit is of a model with attention and MLP in parallel, which has other edges")
    if expected is not None and sizes != [expected.n_layers, expected.n_heads]:
        raise UsageError(
            f"the circuit is of a model of {_size(*sizes)}; expected {_size(expected.n_layers, expected.n_heads)}"
        )
    return Graph(*sizes)


def _size(layers: int, heads: int) -> str:
    return f"{layers:.6g} layers of {heads:.6g} heads"


def _column(graph: Graph, entries: list[Any], key: str, kinds: tuple[type, ...]) -> list[Any] | None:
    """The value of every edge, or None if no edge has one."""
    for name, entry in zip(graph.edges, entries, strict=True):
        if not isinstance(entry, Mapping):
            raise ValueError(f"edge {_their_name(name)} is {'missing' if entry is None else 'no object'}")
    values = [entry.get(key) for entry in entries]
    if all(value is None for value in values):
        return None
    for name, value in zip(graph.edges, values, strict=True):
        if type(value) not in kinds:
            raise ValueError(f"{key} of edge {_their_name(name)} is {str(value)[:40]!r}, expected {kinds[-1].__name__}")
    return values


def _edges_of_matrix(data: Mapping[str, Any], graph: Graph) -> dict[str, dict[str, Any]]:
    """The edges of a .pt file, whose matrices are `[src_nodes, dst_nodes]`, as they are in JSON."""
    import torch

    writers = {split_edge(_their_name(edge))[0] for edge in graph.edges}
    names: list[Any] = [data.get("src_nodes"), data.get("dst_nodes")]
    for key, given, there in zip(("src_nodes", "dst_nodes"), names, (writers, graph.readers), strict=True):
        if not isinstance(given, (list, tuple)) or sorted(map(str, given)) != sorted(there):
            raise ValueError(f"not a circuit file: {key} are not those of {_size(graph.n_layers, graph.n_heads)}")
    columns = {}
    for key, kind in (("edges_scores", torch.float), ("edges_in_graph", torch.bool)):
        matrix = data.get(key)
        if type(matrix) is not torch.Tensor or matrix.layout != torch.strided or matrix.device.type != "cpu":
            raise ValueError(f"not a circuit file: {key} is no plain tensor")
        if matrix.shape != (len(names[0]), len(names[1])) or matrix.is_floating_point() != kind.is_floating_point:
            raise ValueError(f"not a circuit file: {key} is {tuple(matrix.shape)} of {matrix.dtype}")
        columns[key] = matrix.tolist()
    rows = zip(names[0], columns["edges_scores"], columns["edges_in_graph"], strict=True)
    known = {_their_name(edge) for edge in graph.edges}
    return {
        edge: {"score": score, "in_graph": bool(held)}
        for writer, scores, inside in rows
        for reader, score, held in zip(names[1], scores, inside, strict=True)
        if (edge := edge_name(writer, reader)) in known
    }
