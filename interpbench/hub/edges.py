"""The published circuits' edges, pairs of TransformerLens hook names, as a circuit of ours.

Hooks are finer than our graph: an edge inside a head (`hook_q_input` to `hook_q` to `hook_result`) or an MLP joins
what is one node here and falls away, and so does what the published files let leave a query or a key for another
node: neither writes into the residual stream. The merged `hook_resid_pre` stands for `embed` and `pos`, a pair that
enters a head as a whole (at its `hook_result`) is an edge into its query, key and value, and `hook_resid_post` is the
end, of whichever layer: the reference, whose edges these are, may have fewer than the subject.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interpbench.graph import Circuit, Graph

_HOOK = re.compile(r"(?:blocks\.(\d{1,6})\.)?((?:attn\.)?hook_\w{1,20})(?:\[(\d{1,6})\])?", re.ASCII)


@dataclass(frozen=True)
class _Place:
    """Where a hook is: its node, and the names it has as the beginning and as the end of an edge.

    `inner`: between a head's inputs and its output.
    """

    node: str
    writers: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    inner: bool = False


def parse_edges(pairs: Any, graph: Graph, alignment: Mapping[str, str]) -> Circuit:
    """The circuit of `(hook, hook)` pairs, at `edges` granularity.

    The published file of a subject names its *reference's* components; `alignment` says where one sits in the subject
    if not in the same place. Raises ValueError for anything but pairs of known hooks, and for edges that are not the
    graph's.
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
        edges |= {f"{writer}->{reader}" for writer in begin.writers for reader in end.readers}
    return Circuit(graph, frozenset(edges))


def _place(hook: str, graph: Graph, alignment: Mapping[str, str]) -> _Place:
    match = _HOOK.fullmatch(hook)
    block, name, index = match.groups() if match else (None, "", None)
    head = alignment.get(f"a{block}.h{index}", f"a{block}.h{index}")
    mlp = alignment.get(f"m{block}", f"m{block}")
    form = (name, block is not None, index is not None)
    if form == ("hook_embed", False, False):
        return _Place("embed", ("embed",))
    if form == ("hook_pos_embed", False, False):
        return _Place("pos", ("pos",))
    if form == ("hook_resid_pre", True, False) and block == "0":
        return _Place("input", ("embed", "pos"))
    if form == ("hook_resid_post", True, False) and int(block) < graph.n_layers:
        return _Place("logits", readers=("logits",))
    if form == ("attn.hook_result", True, True):
        return _Place(head, (head,), tuple(f"{head}<{x}>" for x in "qkv"))
    if form in [(f"attn.hook_{x}", True, True) for x in "qkv"]:
        return _Place(head, inner=True)
    if form in [(f"hook_{x}_input", True, True) for x in "qkv"]:
        return _Place(head, readers=(f"{head}<{name[5]}>",))
    if form == ("hook_mlp_in", True, False):
        return _Place(mlp, readers=(mlp,))
    if form == ("hook_mlp_out", True, False):
        return _Place(mlp, (mlp,), (mlp,))
    raise ValueError(f"no hook {' '.join(hook.split())[:60]!r} in a graph of {graph.n_layers} layers")
