"""Sizes and options of a transformer, by TransformerLens's names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from interpbench.errors import brief, shown
from interpbench.graph.graph import Graph

KINDS: Mapping[str, tuple[str | None, ...]] = {
    "act_fn": ("relu", "gelu", "gelu_new"),
    "attention_dir": ("causal", "bidirectional"),
    "normalization_type": (None, "LN", "LNPre"),
}
"""Options that `layers.py` implements."""

LARGEST = 1_000_000
"""Largest size accepted in one dimension; a larger one is a mistake in a file."""


@dataclass(frozen=True)
class Config:
    """Sizes and options of a transformer, by TransformerLens's names. Raises ValueError for an option not in `KINDS`.

    `attn_scale` divides the attention scores (0: the root of `d_head`). It is stored because published subjects keep
    the scale of their reference.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    n_ctx: int
    d_vocab: int
    d_vocab_out: int
    act_fn: str = "gelu"
    attention_dir: str = "bidirectional"
    normalization_type: str | None = None
    attn_scale: float = 0.0
    eps: float = 1e-5

    def __post_init__(self) -> None:
        if not self.attn_scale:
            object.__setattr__(self, "attn_scale", math.sqrt(self.d_head))
        for name, known in KINDS.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {shown(getattr(self, name))}, expected one of {known}")

    @classmethod
    def from_json(cls, data: Any) -> Config:
        """The configuration from its `asdict`. Names, types and sizes are checked. Raises ValueError."""
        if not isinstance(data, dict):
            raise ValueError(f"expected a configuration, not {shown(data)}")
        known = {field.name: field for field in fields(cls)}
        for name in data.keys() - known.keys():
            raise ValueError(f"a configuration has no {brief(str(name))}")
        for name, field in known.items():
            if name not in data and field.default is MISSING:
                raise ValueError(f"the configuration lacks {name!r}")
            value = data.get(name, field.default)
            if field.type == "int" and (type(value) is not int or not 1 <= value <= LARGEST):
                raise ValueError(f"{name} is {shown(value)}, expected a whole number from 1 to {LARGEST}")
            if field.type == "float" and not (type(value) in (int, float) and 0 <= value < math.inf):
                raise ValueError(f"{name} is {shown(value)}, expected a number of at least 0")
            if field.type.startswith("str") and value is not None and not isinstance(value, str):
                raise ValueError(f"{name} is {shown(value)}, expected a string")
        typed: dict[str, Any] = {k: float(v) if known[k].type == "float" else v for k, v in data.items()}
        config = cls(**typed)
        _ = config.graph  # refuses more edges than fit into memory
        return config

    @property
    def graph(self) -> Graph:
        """The graph of writers, readers and edges."""
        return Graph(self.n_layers, self.n_heads)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, as TransformerLens stores them."""
        h, d, e, m = self.n_heads, self.d_model, self.d_head, self.d_mlp
        norm = {"w": (d,), "b": (d,)} if self.normalization_type == "LN" else {}
        shapes: dict[str, tuple[int, ...]] = {"embed.W_E": (self.d_vocab, d), "pos_embed.W_pos": (self.n_ctx, d)}
        for layer in range(self.n_layers):
            block = {f"attn.W_{x}": (h, d, e) for x in "QKV"} | {f"attn.b_{x}": (h, e) for x in "QKV"}
            block |= {"attn.W_O": (h, e, d), "attn.b_O": (d,)}
            block |= {"mlp.W_in": (d, m), "mlp.b_in": (m,), "mlp.W_out": (m, d), "mlp.b_out": (d,)}
            block |= {f"{ln}.{k}": v for ln in ("ln1", "ln2") for k, v in norm.items()}
            shapes |= {f"blocks.{layer}.{k}": v for k, v in block.items()}
        shapes |= {f"ln_final.{k}": v for k, v in norm.items()}
        return shapes | {"unembed.W_U": (d, self.d_vocab_out), "unembed.b_U": (self.d_vocab_out,)}

    def check_shapes(self, found: Mapping[str, Sequence[int]]) -> None:
        """Raise ValueError for a weight that is missing, surplus or of another shape; `found` maps names to shapes."""
        shapes = self.weight_shapes()
        for name in sorted(shapes.keys() ^ found.keys()):
            wrong = "missing" if name in shapes else "not one of a model of this configuration"
            raise ValueError(f"weight {brief(name)} is {wrong}")
        for name, shape in shapes.items():
            if tuple(found[name]) != shape:
                raise ValueError(f"weight {name} has shape {tuple(found[name])}, expected {shape}")
