"""Edge scores in the JSON of MIB and EAP-IG, which their tools read.

They have one `input` node where we keep `embed` and `pos` apart: the merged edge has the larger score and is in the
graph if either is. Our own two edges stand beside, under a key that their tools ignore, so that reading gives back
what was written. JSON has no infinity: it becomes the largest float, and the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from interpbench.graph import Circuit, EdgeScores, Graph

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
        writer, reader = name.split("->")
        entry = {"score": score, "in_graph": in_graph}
        if writer not in ("embed", "pos"):
            edges[name] = entry
            continue
        apart[name] = entry
        merged = edges.setdefault(f"input->{reader}", dict(entry))
        merged["score"], merged["in_graph"] = max(merged["score"], score), merged["in_graph"] or in_graph
    kept = {end.split("<")[0] for name, entry in edges.items() if entry["in_graph"] for end in name.split("->")}
    return {
        "cfg": {"n_layers": graph.n_layers, "n_heads": graph.n_heads, "parallel_attn_mlp": False, "d_model": d_model},
        "nodes": {node: {"in_graph": node in kept} for node in ("input", *graph.nodes, "logits")},
        "edges": edges,
        APART: apart,
    }


def from_circuit_file(data: Any) -> EdgeScores:
    """Scores from the content of a circuit file, ours or theirs (`embed` and `pos` then both have `input`'s score).

    Raises ValueError for anything of another form.
    """
    try:
        graph = Graph(int(data["cfg"]["n_layers"]), int(data["cfg"]["n_heads"]))
        entries = {**data["edges"], **data.get(APART, {})}
        values = [_entry(entries, name)["score"] for name in graph.edges]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a circuit file: {error!r}") from None
    numbers = np.array(values, dtype=np.float64)
    return EdgeScores(graph, np.where(np.abs(numbers) == _LARGEST, np.copysign(np.inf, numbers), numbers))


def circuit_of(data: Any) -> tuple[Circuit, EdgeScores | None]:
    """The circuit in the content of a circuit file (the edges in its graph) or of a `Circuit`'s own, and its scores.

    A file without scores has None. Raises ValueError for anything of another form.
    """
    if not isinstance(data, Mapping) or "cfg" not in data:
        return Circuit.from_json(data), None
    try:
        graph = Graph(int(data["cfg"]["n_layers"]), int(data["cfg"]["n_heads"]))
        entries = {**data["edges"], **data.get(APART, {})}
        found = {name: _entry(entries, name) for name in graph.edges}
        circuit = Circuit(graph, frozenset(name for name, entry in found.items() if entry["in_graph"]))
        scored = all(entry.get("score") is not None for entry in found.values())
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a circuit file: {error!r}") from None
    return circuit, from_circuit_file(data) if scored else None


def _entry(entries: Mapping[str, Any], name: str) -> Any:
    """The entry of an edge, or of the edge from `input` that it merges into."""
    return entries[name] if name in entries else entries["input->" + name.split("->")[1]]
