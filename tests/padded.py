"""For tests of certificates: a subject that is right by construction."""

from __future__ import annotations

from dataclasses import replace

import torch

import interpbench
from interpbench.cases import Case
from interpbench.graph import Circuit
from interpbench.transformer import Transformer, initialize


def padded(name: str, n_layers: int = 2, n_heads: int = 3, noise: float = 0.3) -> tuple[Case, Transformer, Circuit]:
    """The compiled reference inside a larger transformer.

    The further nodes read everything and write, lively, into eight dimensions that nobody else reads.
    """
    case = interpbench.load_case(name)
    unaligned = case.reference().unaligned
    case, reference = replace(case, reference=lambda: unaligned), unaligned.model
    small = reference.config
    big = replace(
        small, n_layers=n_layers, n_heads=n_heads, d_model=small.d_model + 8, d_mlp=small.d_mlp + 5, n_ctx=small.n_ctx
    )
    drawn = initialize(big, 0).weights
    weights = {}
    for key, shape in big.weight_shapes().items():
        new = torch.zeros(shape)
        if key in reference.weights:
            old = reference.weights[key]
            new[tuple(slice(0, n) for n in old.shape)] = old
        weights[key] = new
    used = unaligned.components
    for node in big.graph.nodes:
        if node not in used:
            layer, _, head = node.removeprefix("a").removeprefix("m").partition(".h")
            keys = [f"attn.W_{x}" for x in "QKVO"] if head else ["mlp.W_in", "mlp.W_out"]
            for key in (f"blocks.{layer}.{k}" for k in keys):
                at = int(head) if head else slice(None)
                new = drawn[key][at] * noise / drawn[key].std()
                if key.endswith(("W_O", "W_out")):
                    new[..., : small.d_model] = 0
                weights[key][at] = new
    return case, Transformer(big, weights), Circuit(big.graph, unaligned.edges)
