"""A transformer every edge of which can be cut.

The residual stream is a sum. Keep what the writers add apart and let reader `r` see

    x_r = sum_w [ out_w + mask[w->r] * (other_w - out_w) ]

where `other_w` is the same writer's output in another run (or its mean, or zero). Mask 0 is the plain run, mask 1 the
other run; the mask is differentiable and may carry leading dimensions, one circuit each. An interchange intervention
on a node is 1 on every edge that leaves it. There are no hooks, no modes and nothing is changed in place.

The same code runs Tracr's compiled references (ReLU, no norm) and trained subjects. Weights carry TransformerLens's
names and shapes. The bias `b_O` of an attention layer belongs to no head: every later reader sees it uncut, as in
TransformerLens's `hook_result`.

Layout: activations are `[*circuit, feature, position, row]`, rows innermost, because models are small and rows are
many: every product is then one large matrix product, and element-wise work runs along memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interpbench.graph.graph import Graph
from interpbench.transformer.config import Config
from interpbench.transformer.layers import BLOCK, attention, heads_of, mlp, project_heads, pull_back, unembed

Activations = Float[Tensor, "*#circuit writer feature #position #row"]
"""What every writer adds to the residual stream; one row where all rows share it (a mean)."""


@dataclass(frozen=True, eq=False)
class Tap:
    """Where gradients by the inputs of a layer's heads, of an MLP or of the logits can be taken.

    Where the heads share one input, `value` is what comes after it, where they part, and `back` leads to the inputs.
    """

    value: Tensor
    back: Callable[[Tensor], Tensor] | None = None

    @torch.no_grad()
    def by_inputs(self, gradient: Tensor) -> Float[Tensor, "*circuit reader feature position row"]:
        """Gradient by every reader's input, from that by `value`."""
        return gradient if self.back is None else self.back(gradient)


@dataclass(frozen=True, eq=False)
class Transformer:
    """A configuration with its weights. Raises ValueError for missing, surplus or misshapen weights."""

    config: Config
    weights: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        self.config.check_shapes({name: weight.shape for name, weight in self.weights.items()})

    @cached_property
    def graph(self) -> Graph:
        """The residual stream's writers, readers and edges."""
        return self.config.graph

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.weights["embed.W_E"].device

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Transformer:
        """The same transformer elsewhere or in another precision."""
        return Transformer(self.config, {k: v.to(device=device, dtype=dtype) for k, v in self.weights.items()})

    def __call__(
        self,
        tokens: Int[Tensor, "*#circuit row position"],
        mask: Float[Tensor, "*#circuit edge"] | None = None,
        other: Activations | None = None,
        taps: list[Tap] | None = None,
        replaced: Bool[Tensor, "writer *position row"] | None = None,
    ) -> Float[Tensor, "... row position vocab_out"]:
        """Logits; see `run`."""
        return self.run(tokens, mask, other, taps, replaced)[0]

    @torch.no_grad()
    def writers(self, tokens: Int[Tensor, "*#circuit row position"]) -> Activations:
        """What every writer adds in the plain run; the `other` of a later run. No gradient flows through it."""
        return torch.stack(self.run(tokens)[1], -4)

    def run(
        self,
        tokens: Int[Tensor, "*#circuit row position"],
        mask: Float[Tensor, "*#circuit edge"] | None = None,
        other: Activations | None = None,
        taps: list[Tap] | None = None,
        replaced: Bool[Tensor, "writer *position row"] | None = None,
        detached: Bool[Tensor, " writer"] | None = None,
    ) -> tuple[Float[Tensor, "... row position vocab_out"], list[Tensor]]:
        """Logits, and every writer's output `[*circuit, feature, position, row]`, under a mask.

        Leading (circuit) dimensions of all arguments broadcast; a mask of its own for each row is a circuit
        dimension with one row each. To `taps`, if given, one is added for each attention layer, MLP and the logits.
        `replaced` says, row by row (and position by position), which writers' outputs are the other run's for every
        reader: an intervention on nodes, at the cost of a plain run. Through `detached` writers no gradient passes.
        Raises ValueError if the mask does not have one entry per edge, or comes without `other`.
        """
        config, graph, w = self.config, self.graph, self.weights
        if mask is not None and (other is None or mask.shape[-1] != graph.n_edges):
            wrong = "without `other`" if other is None else f"of {mask.shape[-1]} edges"
            raise ValueError(f"a mask {wrong}; expected one entry for each of the {graph.n_edges} edges, and `other`")
        if tokens.shape[-1] > config.n_ctx:
            raise ValueError(f"{tokens.shape[-1]} positions; this model has {config.n_ctx}")

        embed = w["embed.W_E"][tokens].movedim((-1, -2), (-3, -2)).contiguous()
        pos = w["pos_embed.W_pos"][: tokens.shape[-1]].T[..., None].expand(embed.shape)
        lead = embed.shape[:-3] if mask is None else np.broadcast_shapes(embed.shape[:-3], mask.shape[:-1])
        shape = embed.shape[-3:]
        live, is_cut, uniform = self._structure(mask)
        live = live | (taps is not None)
        outputs: list[Tensor] = []
        moved: list[int] = []
        deltas: list[Tensor] = []
        stream = other_stream = torch.zeros((), dtype=embed.dtype, device=embed.device)

        def write(outs: Iterable[Tensor | None], bias: Tensor | None = None) -> None:
            """Add the next writers' outputs; None for one that nobody reads, which may as well be the other run's."""
            nonlocal stream, other_stream
            for out in outs:
                i = len(outputs)
                if other is not None and out is None:
                    out = other[..., i, :, :, :]
                elif other is not None and replaced is not None:
                    out = torch.where(replaced[i], other[..., i, :, :, :], cast(Tensor, out))
                out = cast(Tensor, out)
                if detached is not None and detached[i]:
                    out = out.detach()
                outputs.append(out)
                stream = stream + out
                if uniform and other is not None:
                    other_stream = other_stream + other[..., i, :, :, :]
            if bias is not None:
                stream = stream + bias[:, None, None]
                other_stream = other_stream + bias[:, None, None] if uniform else other_stream

        def read(first: int, count: int, wanted: Sequence[int]) -> Tensor:
            """Inputs `[*circuit, wanted or 1, feature, position, row]` of some of the `count` readers from `first`."""
            x = stream.unsqueeze(-4)
            if uniform and mask is not None:
                x = torch.lerp(x, other_stream.unsqueeze(-4), mask[..., :1, None, None, None])
            elif mask is not None and other is not None:
                cut = mask[..., graph.starts[first] : graph.starts[first + count]].unflatten(-1, (count, len(outputs)))
                # Readers that nothing is cut from share one input, and until the first cut all circuits do.
                if is_cut[graph.starts[first] : graph.starts[first + count]].any():
                    new = [i for i in range(moved[-1] + 1 if moved else 0, len(outputs)) if i < 2 or live[i]]
                    if new:
                        outs = torch.stack(torch.broadcast_tensors(*(outputs[i] for i in new)), -4)
                        deltas.append((other[..., new, :, :, :] - outs).flatten(-3))
                        moved.extend(new)
                    cut = cut if len(wanted) == count else cut[..., wanted, :]
                    cut = cut if len(moved) == len(outputs) else cut[..., moved]
                    x = _add_product(x.flatten(-3), cut, deltas, lead).unflatten(-1, shape)
            return x if taps is None else x.expand(*lead, *x.shape[-4:])

        def tapped(value: Tensor, back: Callable[[Tensor, Tensor], Tensor] | None = None) -> Tensor:
            """The same value with a tap, if taps are asked for; `back` leads from it to the inputs of readers."""
            if taps is None:
                return value
            value = value if value.requires_grad else value.detach().requires_grad_()
            taps.append(Tap(value, back and partial(back, value)))
            return value

        write([embed, pos])
        reader, n_heads = 0, config.n_heads
        for layer in range(config.n_layers):
            block = {k: w[f"blocks.{layer}.{k}"] for k in BLOCK if f"blocks.{layer}.{k}" in w}
            heads = [h for h in range(n_heads) if live[len(outputs) + h]]
            outs: dict[int, Tensor] = {}
            if heads:
                block = heads_of(config, block, heads)
                x = read(reader, 3 * n_heads, [3 * h + i for h in heads for i in range(3)])
                if x.shape[-4] == 1:
                    qkv = tapped(project_heads(config, block, x), partial(pull_back, config, block, x))
                else:
                    qkv = project_heads(config, block, tapped(x))
                outs = dict(zip(heads, attention(config, block, qkv).unbind(-4), strict=True))
            write([outs.get(h) for h in range(n_heads)], block["attn.b_O"])
            reader += 3 * n_heads
            alive = bool(live[len(outputs)])
            write([mlp(config, block, tapped(read(reader, 1, [0])).squeeze(-4)) if alive else None])
            reader += 1
        logits = unembed(config, w, tapped(read(reader, 1, [0])).squeeze(-4))
        return logits.expand(*lead, *logits.shape[-3:]), outputs

    def _structure(self, mask: Tensor | None) -> tuple[np.ndarray, np.ndarray, bool]:
        """Which writers can reach the logits in any of the circuits, which edges are cut in any, and whether in every
        circuit all edges are cut by the same share.

        What cannot be read need not be computed. Where a gradient with respect to the mask is asked, all is needed.
        """
        writers, edges = len(self.graph.writers), self.graph.n_edges
        if mask is None or mask.requires_grad:
            return np.ones(writers, dtype=bool), np.full(edges, mask is not None), False
        masks = mask.reshape(-1, edges)
        kept, is_cut = torch.stack([(masks != 1).any(0), (masks != 0).any(0)]).cpu().numpy()
        uniform = bool(is_cut.any() and (masks == masks[:, :1]).all())
        return self.graph.live_writers(kept), is_cut, uniform


def _add_product(x: Tensor, cut: Tensor, deltas: list[Tensor], lead: tuple[int, ...]) -> Tensor:
    """`x + cut @ deltas`: what cut edges add to the stream, for `[*circuit, reader, n]`.

    The deltas come in pieces, joined once a layer: joining them again for the one reader of an MLP costs more than
    the product.
    """
    if cut.shape[-2] > 1 and len(deltas) > 1:
        shared = np.broadcast_shapes(*(delta.shape[:-2] for delta in deltas))
        deltas[:] = [torch.cat([delta.expand(*shared, *delta.shape[-2:]) for delta in deltas], -2)]
    cut = cut.expand(*lead, *cut.shape[-2:])
    x = x.expand(*lead, cut.shape[-2], x.shape[-1])
    start = 0
    for delta in deltas:
        here = cut[..., start : start + delta.shape[-2]]
        start += delta.shape[-2]
        if delta.ndim == 2 or not lead:
            x = x + here @ delta
        else:
            delta = delta.expand(*lead, *delta.shape[-2:])
            x = torch.baddbmm(*(t.reshape(-1, *t.shape[-2:]) for t in (x, here, delta))).view(x.shape)
    return x


def initialize(config: Config, seed: int) -> Transformer:
    """Random weights of deviation 0.8 / sqrt(d_model), as in GPT-2; biases 0, norms 1. Same seed, same weights."""
    generator = torch.Generator().manual_seed(seed)
    scale = 0.8 / math.sqrt(config.d_model)
    weights = {}
    for name, shape in config.weight_shapes().items():
        leaf = name.rsplit(".", 1)[1]
        if leaf.startswith("W_"):
            weights[name] = torch.randn(shape, generator=generator) * scale
        else:
            weights[name] = torch.ones(shape) if leaf == "w" else torch.zeros(shape)
    return Transformer(config, weights)
