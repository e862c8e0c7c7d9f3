"""The residual stream of one forward pass: what writers add to it, and what each reader sees of it under a mask.

Layout: activations are `[*circuit, feature, position, row]`, rows innermost, because models are small and rows are
many: every product is then one large matrix product, and element-wise work runs along memory.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interpbench.graph.graph import Graph

Activations = Float[Tensor, "*#circuit writer feature #position #row"]
"""What every writer adds to the residual stream; one row where all rows share it (a mean)."""


@dataclass(frozen=True, eq=False)
class Tap:
    """A point at which to take gradients by the inputs of readers: of a layer's heads, of an MLP or of the logits.

    `value` is the tensor to differentiate by. It holds the inputs themselves, except where the heads of a layer share
    one input: there it holds their q, k and v, and `back` turns a gradient by these into one by each reader's input.
    """

    value: Tensor
    back: Callable[[Tensor], Tensor] | None = None

    @torch.no_grad()
    def by_inputs(self, gradient: Tensor) -> Float[Tensor, "*circuit reader feature position row"]:
        """Gradient by every reader's input, from the gradient by `value`."""
        return gradient if self.back is None else self.back(gradient)


@dataclass(eq=False)
class ResidualStream:
    """The sum of all outputs written so far, and for each reader that sum with its cut edges' writers replaced.

    `shape` is that of the embedded tokens, `[*circuit, feature, position, row]`; the other fields are the arguments of
    `Transformer.run`. Writers write in the order of `graph.writers`, and readers read between them, in the order of
    `graph.readers`. `outputs` holds what was written, `lead` the circuit dimensions of the logits.
    """

    shape: tuple[int, ...]
    graph: Graph
    mask: Float[Tensor, "*#circuit edge"] | None = None
    other: Activations | None = None
    replaced: Bool[Tensor, "writer row"] | None = None
    taps: list[Tap] | None = None
    outputs: list[Tensor] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        lead = self.shape[:-3]
        self.lead = lead if self.mask is None else np.broadcast_shapes(lead, self.mask.shape[:-1])
        live, self._is_cut, self._uniform = _structure(self.graph, self.mask)
        self._live = live | (self.taps is not None)
        self._sum = self._other_sum = torch.zeros(())
        # Writers whose `other - output` is known, and these differences `[*circuit, writer, n]`, in pieces.
        self._moved: list[int] = []
        self._deltas: list[Tensor] = []

    def needed(self, count: int) -> list[int]:
        """Which of the next `count` writers must be computed: those that reach the logits along kept edges."""
        return [i for i in range(count) if self._live[len(self.outputs) + i]]

    def copy(self, known: Sequence[Tensor]) -> list[Tensor | None]:
        """The next writers' outputs as they are known, None for one that is not needed."""
        needed = set(self.needed(len(known)))
        return [out if i in needed else None for i, out in enumerate(known)]

    def write(self, outs: Iterable[Tensor | None], bias: Tensor | None = None) -> None:
        """Add the next writers' outputs, and a bias `[feature]` that belongs to no writer.

        None means that no kept edge reads this writer; it is not computed, and the other run's value stands in.
        """
        for out in outs:
            i = len(self.outputs)
            if self.other is not None and out is None:
                out = self.other[..., i, :, :, :]
            elif self.other is not None and self.replaced is not None:
                out = torch.where(self.replaced[i], self.other[..., i, :, :, :], cast(Tensor, out))
            out = cast(Tensor, out)
            self.outputs.append(out)
            self._sum = self._sum + out
            if self._uniform and self.other is not None:
                self._other_sum = self._other_sum + self.other[..., i, :, :, :]
        if bias is not None:
            self._sum = self._sum + bias[:, None, None]
            self._other_sum = self._other_sum + bias[:, None, None] if self._uniform else self._other_sum

    def read(self, wanted: Sequence[int] | None = None) -> Tensor:
        """Inputs `[*circuit, wanted or 1, feature, position, row]` of the readers that see the outputs so far.

        These are q, k, v of every head of a layer, an MLP or the logits; `wanted` selects some of them. One input
        stands for all where nothing is cut, or the same share of every edge.
        """
        x = self._sum.unsqueeze(-4)
        if self.mask is not None and self._uniform:
            x = torch.lerp(x, self._other_sum.unsqueeze(-4), self.mask[..., :1, None, None, None])
        elif self.mask is not None:
            x = self._cut(x, self.mask, wanted)
        return x if self.taps is None else x.expand(*self.lead, *x.shape[-4:])

    def tap(self, value: Tensor, back: Callable[[Tensor, Tensor], Tensor] | None = None) -> Tensor:
        """The same value, recorded as a tap where a list of taps was given.

        `back` turns the value and a gradient by it into the gradient by the readers' inputs.
        """
        if self.taps is None:
            return value
        value = value if value.requires_grad else value.detach().requires_grad_()
        self.taps.append(Tap(value, back and partial(back, value)))
        return value

    def _cut(self, x: Tensor, mask: Tensor, wanted: Sequence[int] | None) -> Tensor:
        """Inputs of readers under a mask that differs by edge, from the stream `x`, `[*circuit, 1, ...]`."""
        written = len(self.outputs)
        first, stop = bisect_left(self.graph.fan_in, written), bisect_right(self.graph.fan_in, written)
        edges = slice(self.graph.starts[first], self.graph.starts[stop])
        # Readers that nothing is cut from share one input, and until the first cut all circuits do.
        if not self._is_cut[edges].any():
            return x
        self._find_deltas()
        cut = mask[..., edges].unflatten(-1, (stop - first, written))
        cut = cut if wanted is None or len(wanted) == stop - first else cut[..., wanted, :]
        cut = cut if len(self._moved) == written else cut[..., self._moved]
        return _add_product(x.flatten(-3), cut, self._deltas, self.lead).unflatten(-1, self.shape[-3:])

    def _find_deltas(self) -> None:
        """Differences between the two runs for the writers that came since the last cut; dead ones have none."""
        start = self._moved[-1] + 1 if self._moved else 0
        new = [i for i in range(start, len(self.outputs)) if i < 2 or self._live[i]]
        if new:
            outs = torch.stack(torch.broadcast_tensors(*(self.outputs[i] for i in new)), -4)
            self._deltas.append((cast(Tensor, self.other)[..., new, :, :, :] - outs).flatten(-3))
            self._moved.extend(new)


def _structure(graph: Graph, mask: Tensor | None) -> tuple[np.ndarray, np.ndarray, bool]:
    """Writers that reach the logits in any circuit, edges cut in any, and whether each circuit cuts all edges alike.

    A writer that does not reach the logits need not be computed; all are needed for a gradient by the mask.
    """
    if mask is None or mask.requires_grad:
        return np.ones(len(graph.writers), dtype=bool), np.full(graph.n_edges, mask is not None), False
    masks = mask.reshape(-1, graph.n_edges)
    kept, is_cut = torch.stack([(masks != 1).any(0), (masks != 0).any(0)]).cpu().numpy()
    uniform = bool(is_cut.any() and (masks == masks[:, :1]).all())
    return graph.live_writers(kept), is_cut, uniform


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
