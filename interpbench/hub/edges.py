"""Convert the published circuits, pairs of TransformerLens hook names, into our circuits.

Published edges join TransformerLens hooks, which are finer than our graph. Edges within one head or MLP are dropped,
as are edges that start at a query or key. `hook_resid_pre` maps to `embed` and `pos`; `hook_result` as a target maps
to q, k and v of the head; `hook_resid_post` of any layer maps to `logits`, because the reference may have fewer layers
than the subject.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from interpbench.cases.alignment import Alignment
from interpbench.errors import shown
from interpbench.graph.circuit import Circuit
from interpbench.graph.graph import Graph
from interpbench.graph.names import INPUTS, edge_name, head_name, mlp_name, readers_of

_HOOK = re.compile(r"(?:blocks\.(\d{1,6})\.)?((?:attn\.)?hook_\w{1,20})(?:\[(\d{1,6})\])?", re.ASCII)


@dataclass(frozen=True)
class _Place:
    """A hook's node, and the writers and readers it stands for at the start and at the end of an edge.

    `inner`: the hook lies between a head's inputs and its output.
    """

    node: str
    writers: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    inner: bool = False


def parse_edges(pairs: Any, graph: Graph, alignment: Alignment) -> Circuit:
    """The circuit of `(hook, hook)` pairs, at `edges` granularity.

    The published file of a subject names the components of its *reference*; `alignment` maps them to the subject.
    Raises ValueError for anything but pairs of known hooks, and for edges that are not in the graph.
    """
    if not isinstance(pairs, (list, tuple)) or not pairs:
        raise ValueError("expected a list of edges")
    edges = set()
    for pair in pairs:
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(end, str) for end in pair)):
            raise ValueError(f"not a pair of hook names: {type(pair).__name__}")
        begin, end = (_place(hook, graph, alignment) for hook in pair)
        if begin.node == end.node or begin.inner:
            continue
        if not begin.writers or not end.readers:
            raise ValueError(f"no edge from {pair[0]} to {pair[1]}")
        edges |= {edge_name(writer, reader) for writer in begin.writers for reader in end.readers}
    return Circuit(graph, frozenset(edges))


def _place(hook: str, graph: Graph, alignment: Alignment) -> _Place:
    found = _HOOK.fullmatch(hook)
    block, name, index = found.groups() if found else (None, None, None)
    head, mlp = alignment.node(head_name(str(block), str(index))), alignment.node(mlp_name(str(block)))
    match (name, block, index):
        case ("hook_embed", None, None):
            return _Place("embed", ("embed",))
        case ("hook_pos_embed", None, None):
            return _Place("pos", ("pos",))
        case ("hook_resid_pre", "0", None):
            return _Place("input", INPUTS)
        case ("hook_resid_post", str(layer), None) if int(layer) < graph.n_layers:
            return _Place("logits", readers=("logits",))
        case ("attn.hook_result", str(), str()):
            return _Place(head, (head,), readers_of(head))
        case ("attn.hook_q" | "attn.hook_k" | "attn.hook_v", str(), str()):
            return _Place(head, inner=True)
        case ("hook_q_input" | "hook_k_input" | "hook_v_input" as name, str(), str()):
            return _Place(head, readers=(readers_of(head)["qkv".index(name[len("hook_")])],))
        case ("hook_mlp_in", str(), None):
            return _Place(mlp, readers=(mlp,))
        case ("hook_mlp_out", str(), None):
            return _Place(mlp, (mlp,), (mlp,))
    raise ValueError(f"no hook {shown(hook)} in a graph of {graph.n_layers} layers")
