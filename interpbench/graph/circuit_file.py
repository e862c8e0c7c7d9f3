"""Edge scores and circuits in files: the JSON and .pt of MIB and EAP-IG, and our own.

MIB and EAP-IG have one `input` node where we have `embed` and `pos`. The merged edge gets the larger score, and is in
the graph if either edge is; on reading, both edges get its values. Our JSON also stores our two edges, under a key that
their tools ignore, so that reading restores what was written. JSON has no infinity: the largest float stands for it.
Infinity itself is refused in every format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from interpbench.errors import UsageError, unknown
from interpbench.files import MEGABYTE, read_json, read_torch
from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.graph import Graph
from interpbench.graph.names import INPUTS, edge_name, node_of, split_edge

APART = "interpbench_inputs"
LARGEST_FILE = 64 * MEGABYTE
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class CircuitFile:
    """The content of a circuit file.

    `circuit` is the chosen one, None if no edge is singled out. `nodes` are scores of the heads and MLPs themselves, in
    the order of `Graph.nodes`, None if there are none or all are the same.
    """

    scores: EdgeScores
    circuit: Circuit | None
    nodes: Float[np.ndarray, " node"] | None


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


def read_circuit_file(path: Path, graph: Graph) -> CircuitFile:
    """What is in a file of ours, of MIB or of EAP-IG about the edges and nodes of `graph`.

    `.pt` and `.pth` are read as PyTorch's format without running code, anything else as JSON. A file without scores of
    edges, or with one score for all, is read as a circuit: its edges score 1, the others 0. If it singles out no edge,
    an edge has the smaller score of its two nodes. Raises UsageError for a circuit in another graph, ValueError for
    another form or for a file without scores or circuit, InterpbenchError if it cannot be read.
    """
    is_pt = path.suffix.lower() in (".pt", ".pth")
    found = from_circuit_file((read_torch if is_pt else read_json)(path, LARGEST_FILE), graph)
    if (found.scores.values != found.scores.values[0]).any():
        return found
    if found.circuit is not None:
        return replace(found, scores=EdgeScores(graph, found.circuit.mask()))
    if found.nodes is not None:
        inputs = np.full(len(graph.writers) - len(graph.nodes), np.inf)
        return replace(found, scores=EdgeScores.of_nodes(graph, np.concatenate([inputs, found.nodes])))
    raise ValueError("all edges have the same score and none is singled out: there is nothing to judge")


def from_circuit_file(data: Any, expected: Graph | None = None) -> CircuitFile:
    """What the content of a circuit file says.

    Accepts the content made by `to_circuit_file`, MIB's JSON, EAP-IG's .pt (loaded), and `Circuit.to_json`, whose edges
    score 1. Raises UsageError if the graph is not the expected one, before anything of its size is allocated, and
    ValueError for content of another form: missing or unknown edges or nodes, scores that are not finite numbers.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"not a circuit file: {type(data).__name__} instead of an object")
    graph = _graph(data.get("cfg", data), expected)
    if "granularity" in data:
        circuit = Circuit.from_json(data)
        return CircuitFile(EdgeScores(graph, circuit.mask()), circuit, None)
    nodes = _node_scores(data, graph)
    found, apart = _entries(data, graph)
    names = [f"edge {_their_name(name)}" for name in graph.edges]
    scores, inside = _column(found, names, "score", (int, float)), _column(found, names, "in_graph", (bool,))
    if scores is None and inside is None and nodes is None:
        raise ValueError("not a circuit file: its edges have neither 'score' nor 'in_graph'")
    values = EdgeScores(graph, np.zeros(graph.n_edges) if scores is None else _values(scores, names))
    # With scores, every edge in the graph means that none was chosen, and in files of others so does no edge at all.
    if inside is None or (scores is not None and (all(inside) or not (any(inside) or apart))):
        return CircuitFile(values, None, nodes)
    chosen = frozenset(name for name, held in zip(graph.edges, inside, strict=True) if held)
    return CircuitFile(values, Circuit(graph, chosen), nodes)


def _entries(data: Mapping[str, Any], graph: Graph) -> tuple[list[Any], bool]:
    """What the file has for every edge, None if nothing, and whether it has `embed` and `pos` apart as ours do."""
    edges, apart = data.get("edges"), data.get(APART, {})
    if edges is None and "edges_scores" in data:
        edges = _edges_of_matrix(data, graph)
    if not isinstance(edges, Mapping) or not isinstance(apart, Mapping):
        raise ValueError("not a circuit file: no object 'edges'")
    _check_apart(edges, apart)
    entries = {**edges, **apart}
    known = {theirs for name in graph.edges for theirs in (name, _their_name(name))}
    for name in sorted(map(str, entries.keys() - known)):
        raise ValueError(unknown("edge", name[:60], sorted(known)))
    return [entries.get(name, entries.get(_their_name(name))) for name in graph.edges], bool(apart)


def _check_apart(edges: Mapping[str, Any], apart: Mapping[str, Any]) -> None:
    """Raise ValueError where a merged edge does not have what its two edges have together: one was edited alone."""
    parts: dict[str, list[Any]] = {}
    for name, entry in apart.items():
        parts.setdefault(_their_name(name), []).append(entry)
    for name, entries in parts.items():
        for key in ("score", "in_graph"):
            values = [entry.get(key) for entry in (edges.get(name), *entries) if isinstance(entry, Mapping)]
            numbers = [value for value in values if isinstance(value, (int, float))]
            if len(numbers) > 1 and numbers[0] != max(numbers[1:]):
                raise ValueError(f"{key} of edge {name} is {numbers[0]}, but in '{APART}' {max(numbers[1:])}")


def _node_scores(data: Mapping[str, Any], graph: Graph) -> Float[np.ndarray, " node"] | None:
    """Scores of heads and MLPs, None if they say nothing. That of `input` is not read: it is no node to rank."""
    nodes = _nodes_of_vector(data, graph) if "nodes_scores" in data else data.get("nodes", {})
    if not isinstance(nodes, Mapping):
        raise ValueError("not a circuit file: 'nodes' is no object")
    known = ("input", *graph.nodes, "logits")
    for name in sorted(map(str, nodes.keys() - set(known))):
        raise ValueError(unknown("node", name[:60], known))
    entries = [each if isinstance(each := nodes.get(name), Mapping) else {} for name in graph.nodes]
    names = [f"node {name}" for name in graph.nodes]
    scores = _column(entries, names, "score", (int, float))
    values = None if scores is None else _values(scores, names)
    return None if values is None or (values == values[0]).all() else values


def _values(scores: Sequence[int | float], names: Sequence[str]) -> Float[np.ndarray, " score"]:
    try:
        values = np.array(scores, dtype=np.float64)
    except OverflowError:
        raise ValueError("not a circuit file: a score is larger than any float") from None
    for i in np.flatnonzero(~np.isfinite(values))[:1]:
        raise ValueError(f"score of {names[i]} is {values[i]}, expected a finite number")
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


def _column(entries: list[Any], names: Sequence[str], key: str, kinds: tuple[type, ...]) -> list[Any] | None:
    """The value of every entry, or None if none has one."""
    for name, entry in zip(names, entries, strict=True):
        if not isinstance(entry, Mapping):
            raise ValueError(f"{name} is {'missing' if entry is None else 'no object'}")
    values = [entry.get(key) for entry in entries]
    if all(value is None for value in values):
        return None
    for name, value in zip(names, values, strict=True):
        if type(value) not in kinds:
            raise ValueError(f"{key} of {name} is {str(value)[:40]!r}, expected {kinds[-1].__name__}")
    return values


def _edges_of_matrix(data: Mapping[str, Any], graph: Graph) -> dict[str, dict[str, Any]]:
    """The edges of a .pt file, whose matrices are `[src_nodes, dst_nodes]`, as they are in JSON."""
    writers = {split_edge(_their_name(edge))[0] for edge in graph.edges}
    names: list[Any] = [data.get("src_nodes"), data.get("dst_nodes")]
    for key, given, there in zip(("src_nodes", "dst_nodes"), names, (writers, graph.readers), strict=True):
        if not isinstance(given, (list, tuple)) or sorted(map(str, given)) != sorted(there):
            raise ValueError(f"not a circuit file: {key} are not those of {_size(graph.n_layers, graph.n_heads)}")
    shape = (len(names[0]), len(names[1]))
    columns = (_tensor(data, "edges_scores", shape, True), _tensor(data, "edges_in_graph", shape, False))
    rows = zip(names[0], *columns, strict=True)
    known = {_their_name(edge) for edge in graph.edges}
    return {
        edge: {"score": score, "in_graph": bool(held)}
        for writer, scores, inside in rows
        for reader, score, held in zip(names[1], scores, inside, strict=True)
        if (edge := edge_name(writer, reader)) in known
    }


def _nodes_of_vector(data: Mapping[str, Any], graph: Graph) -> dict[str, dict[str, Any]]:
    """The nodes of a .pt file, whose scores are in the order of `src_nodes`, as they are in JSON."""
    names = data.get("src_nodes")
    if not isinstance(names, (list, tuple)):
        raise ValueError(f"not a circuit file: src_nodes are not those of {_size(graph.n_layers, graph.n_heads)}")
    scores = _tensor(data, "nodes_scores", (len(names),), True)
    return {str(name): {"score": score} for name, score in zip(names, scores, strict=True)}


def _tensor(data: Mapping[str, Any], key: str, shape: tuple[int, ...], floating: bool) -> list[Any]:
    """The numbers of a tensor of a .pt file. Raises ValueError for one of another shape or type."""
    import torch

    tensor = data.get(key)
    if type(tensor) is not torch.Tensor or tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise ValueError(f"not a circuit file: {key} is no plain tensor")
    if tensor.shape != shape or tensor.is_floating_point() != floating:
        raise ValueError(f"not a circuit file: {key} is {tuple(tensor.shape)} of {tensor.dtype}")
    return tensor.tolist()
