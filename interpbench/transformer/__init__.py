"""A transformer in which every edge can be ablated. Part of the contract with plugins.

`Activations` is what every writer adds to the residual stream: a tensor `[*circuit, writer, feature, position, row]`
in the order of `graph.writers`. `Transformer.writers` computes it; a forward pass takes it as `other`, the values that
ablated edges carry. A mask has one entry for each edge (0: kept, 1: ablated), `[*circuit, edge]`.

    >>> import torch
    >>> config = Config(n_layers=1, n_heads=2, d_model=8, d_head=4, d_mlp=16, n_ctx=5, d_vocab=6, d_vocab_out=3)
    >>> model = initialize(config, seed=0)
    >>> clean, corrupted = torch.randint(6, (2, 10, 5))
    >>> other = model.writers(corrupted)
    >>> other.shape  # embed, pos, a0.h0, a0.h1 and m0
    torch.Size([5, 8, 5, 10])

A `Tap` gives the gradient by the inputs of readers. One is added to `taps` for each attention layer, MLP and the
logits; `by_inputs` has one gradient for each reader, in the order of `graph.readers`:

    >>> taps = []
    >>> logits = model(clean, torch.zeros(model.graph.n_edges), other, taps)
    >>> gradients = torch.autograd.grad(logits.sum(), [tap.value for tap in taps])
    >>> by_inputs = [tap.by_inputs(gradient) for tap, gradient in zip(taps, gradients)]
    >>> [tuple(each.shape) for each in by_inputs]  # q, k, v of both heads; the MLP; the logits
    [(6, 8, 5, 10), (1, 8, 5, 10), (1, 8, 5, 10)]
"""

from __future__ import annotations

from interpbench.transformer.config import Config
from interpbench.transformer.deviation import output_deviation
from interpbench.transformer.model import Transformer, initialize
from interpbench.transformer.rules import EXACT, GIM, RELP, Rules
from interpbench.transformer.stream import Activations, Tap

__all__ = [
    "EXACT",
    "GIM",
    "RELP",
    "Activations",
    "Config",
    "Rules",
    "Tap",
    "Transformer",
    "initialize",
    "output_deviation",
]
