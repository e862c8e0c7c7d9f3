"""Edge scores and circuits in files: the JSON and .pt of MIB and EAP-IG, and our own.

They have one `input` node where we keep `embed` and `pos` apart: the merged edge has the larger score and is in the
graph if either is; read again, both get what it has. In our JSON our own two edges stand beside, under a key that
their tools ignore, so that reading gives back what was written. JSON has no infinity: it becomes the largest float,
and the other way round.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interpbench.errors import unknown
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
        entry = {"score": score, "in_graph": in_graph}
        if (theirs := _their_name(name)) == name:
            edges[name] = entry
            continue
        apart[name] = entry
        merged = edges.setdefault(theirs, dict(entry))
        merged["score"], merged["in_graph"] = max(merged["score"], score), merged["in_graph"] or in_graph
    kept = {end.split("<")[0] for name, entry in edges.items() if entry["in_graph"] for end in name.split("->")}
    return {
        "cfg": {"n_layers": graph.n_layers, "n_heads": graph.n_heads, "parallel_attn_mlp": False, "d_model": d_model},
        "nodes": {node: {"in_graph": node in kept} for node in ("input", *graph.nodes, "logits")},
        "edges": edges,
        APART: apart,
    }


def read_circuit_file(path: Path, graph: Graph) -> tuple[EdgeScores, Circuit | None]:
    """Scores and chosen circuit, if there is one, from a file over the edges of `graph`: see `from_circuit_file`.

    `.pt` and `.pth` are PyTorch's format, read without running code; anything else is JSON. Raises ValueError for a
    file of another form or graph, OSError for one that cannot be read.
    """
    return from_circuit_file(_load_pt(path) if path.suffix in (".pt", ".pth") else _load_json(path), graph)


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None


def _load_pt(path: Path) -> Any:
    """The content of a .pt file as that of the JSON: every edge with its entry."""
    import pickle

    import torch

    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"not a file that PyTorch can read safely: {str(error).splitlines()[0]}") from None
    try:
        readers = {name: i for i, name in enumerate(data["dst_nodes"])}
        writers = {name: i for i, name in enumerate(data["src_nodes"])}
        columns = {key: data[name] for key, name in (("score", "edges_scores"), ("in_graph", "edges_in_graph"))}
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a circuit file: {error!r}") from None
    ...
