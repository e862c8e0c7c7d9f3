"""Names of nodes, readers and edges: the one place where they are put together and taken apart.

Nodes: `embed`, `pos`, heads `a0.h1`, MLPs `m0`, `logits`. A reader is an input of a node: `a0.h1<q>`, `a0.h1<k>` and
`a0.h1<v>` of a head, the node's own name otherwise. An edge is `writer->reader`.
"""

from __future__ import annotations

import re

INPUTS = ("embed", "pos")
_NODE = re.compile(r"(?:a(\d+)\.h|m)(\d+)", re.ASCII)


def head_name(layer: int | str, head: int | str) -> str:
    """The node of a head."""
    return f"a{layer}.h{head}"


def mlp_name(layer: int | str) -> str:
    """The node of a layer's MLP."""
    return f"m{layer}"


def readers_of(node: str) -> tuple[str, ...]:
    """The readers of a head (query, key and value), of an MLP or of the logits."""
    return tuple(f"{node}<{x}>" for x in "qkv") if is_head(node) else (node,)


def edge_name(writer: str, reader: str) -> str:
    """The edge from a writer to a reader."""
    return f"{writer}->{reader}"


def split_edge(edge: str) -> tuple[str, str]:
    """Writer and reader of an edge. Raises ValueError if this is not the name of an edge."""
    writer, reader = edge.split("->")
    return writer, reader


def split_reader(reader: str) -> tuple[str, str]:
    """Node and entrance of a reader: `q`, `k` or `v` of a head, empty otherwise."""
    node, _, entrance = reader.partition("<")
    return node, entrance.removesuffix(">")


def node_of(reader: str) -> str:
    """The node that a reader belongs to; a node belongs to itself."""
    return split_reader(reader)[0]


def moved_reader(reader: str, node: str) -> str:
    """The same entrance of another node: `a1.h0<q>` at `a1.h2` is `a1.h2<q>`."""
    return node + reader[len(node_of(reader)) :]


def merged_node(name: str) -> str:
    """The node that a writer or reader belongs to when `embed` and `pos` are merged into `input`."""
    return "input" if name in INPUTS else node_of(name)


def is_head(node: str) -> bool:
    """Whether a node is an attention head."""
    return node.startswith("a")


def is_mlp(node: str) -> bool:
    """Whether a node is an MLP."""
    return node.startswith("m")


def layer_and_head(node: str) -> tuple[int, int | None]:
    """Layer of a head or MLP, and the head's index in it (None: an MLP). Raises ValueError for any other node."""
    if (found := _NODE.fullmatch(node)) is None:
        raise ValueError(f"{node} is neither a head nor an MLP")
    layer, last = found.groups()
    return (int(last), None) if layer is None else (int(layer), int(last))
