"""A transformer in which every edge can be ablated.

The residual stream is the sum of what the writers add. Their outputs are kept apart, and the input of reader `r` is

    x_r = sum_w [ out_w + mask[w->r] * (other_w - out_w) ]

where `other_w` is the same writer's output in another run (or its mean, or zero). Mask 0 is the plain run, mask 1 the
other run. The mask is differentiable, and its leading dimensions batch over circuits. An interchange intervention on a
node is 1 on every edge that leaves it. There are no hooks and no modes, and nothing is changed in place.

The same code runs Tracr's compiled references (ReLU, no norm) and trained subjects. Weights have TransformerLens's
names and shapes. The bias `b_O` of an attention layer belongs to no head, so a mask never removes it, as in
TransformerLens's `hook_result`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interpbench.errors import UsageError
from interpbench.graph.graph import Graph
from interpbench.transformer.config import Config
from interpbench.transformer.layers import attention, block_of, heads_of, mlp, project_heads, pull_back, unembed
from interpbench.transformer.passes import count_run
from interpbench.transformer.rules import EXACT, Rules
from interpbench.transformer.stream import Activations, ResidualStream, Tap


@dataclass(frozen=True, eq=False)
class Transformer:
    """A configuration with its weights. Raises ValueError for weights that are missing, surplus or of a wrong shape.

    `rules` say what a gradient is; the forward pass does not depend on them.
    """

    config: Config
    weights: Mapping[str, Tensor]
    rules: Rules = EXACT

    def __post_init__(self) -> None:
        self.config.check_shapes({name: weight.shape for name, weight in self.weights.items()})

    def __repr__(self) -> str:
        return f"Transformer({self.config})"

    @cached_property
    def graph(self) -> Graph:
        """The residual stream's writers, readers and edges."""
        return self.config.graph

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.weights["embed.W_E"].device

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Transformer:
        """The same transformer on another device or in another precision.

        Half precision is for storing and for other tools: a problem needs float32 or float64, a subject float32.
        """
        return replace(self, weights={k: v.to(device=device, dtype=dtype) for k, v in self.weights.items()})

    def check_precision(self, *known: str) -> None:
        """Raise UsageError unless all weights are of one of the known types, such as `float32`."""
        kinds = sorted({str(weight.dtype).removeprefix("torch.") for weight in self.weights.values()})
        if len(kinds) > 1 or kinds[0] not in known:
            raise UsageError(
                f"the model's weights are {' and '.join(kinds)}, expected {' or '.join(known)}: "
                f"model.to(dtype=torch.{known[0]})"
            )

    def __call__(
        self,
        tokens: Int[Tensor, "*#circuit row position"],
        mask: Float[Tensor, "*#circuit edge"] | None = None,
        other: Activations | None = None,
        taps: list[Tap] | None = None,
        replaced: Bool[Tensor, "writer row"] | None = None,
    ) -> Float[Tensor, "... row position vocab_out"]:
        """Logits; see `run`."""
        return self.run(tokens, mask, other, taps, replaced)[0]

    @torch.no_grad()
    def writers(
        self, tokens: Int[Tensor, "*#circuit row position"], places: Int[Tensor, "*#row position"] | None = None
    ) -> Activations:
        """What every writer adds in the plain run, without gradients; serves as `other` of a later run.

        `places`: see `run`.
        """
        return torch.stack(self.run(tokens, places=places)[1], -4)

    @torch.no_grad()
    def logits(
        self, tokens: Int[Tensor, "row position"], places: Int[Tensor, "row position"] | None = None
    ) -> Float[Tensor, "row position vocab_out"]:
        """Logits of the plain run, in chunks of rows, without gradients. `places`: see `run`."""
        rows = torch.arange(len(tokens), device=tokens.device).split(1024)
        return torch.cat([self.run(tokens[some], places=None if places is None else places[some])[0] for some in rows])

    def run(
        self,
        tokens: Int[Tensor, "*#circuit row position"],
        mask: Float[Tensor, "*#circuit edge"] | None = None,
        other: Activations | None = None,
        taps: list[Tap] | None = None,
        replaced: Bool[Tensor, "writer row"] | None = None,
        places: Int[Tensor, "*#row position"] | None = None,
        known: Sequence[Tensor] = (),
    ) -> tuple[Float[Tensor, "... row position vocab_out"], list[Tensor]]:
        """Logits, and every writer's output `[*circuit, feature, position, row]`, under a mask.

        Leading (circuit) dimensions of all arguments broadcast. For a mask per row, make each row a circuit of one row.
        To `taps`, if given, one is added for each attention layer, MLP and the logits.
        `replaced` marks, by row, the writers whose outputs are the other run's for every reader: an intervention on
        nodes, at the cost of a plain run. `places` are the rows of `W_pos` that `pos` writes, for all rows or for each
        (default: 0, 1, 2, ...). `known` are the outputs of the first writers, where an earlier run has them already:
        they are not computed again. They end before a layer's heads or before its MLP.
        Raises ValueError if the mask does not have one entry per edge or comes without `other`, or if there are more
        positions than `n_ctx`.
        """
        self._check(tokens, mask, other)
        config, weights = self.config, self.weights
        embed = weights["embed.W_E"][tokens].movedim((-1, -2), (-3, -2)).contiguous()
        pos = self._positions(tokens.shape[-1], places).expand(embed.shape)

        stream = ResidualStream(embed.shape, self.graph, mask, other, replaced, taps)
        stream.write([embed, pos])
        for layer in range(config.n_layers):
            block = block_of(weights, layer)
            heads, mlp_at = self.graph.writers_before_attention(layer), self.graph.writers_before_mlp(layer)
            stream.write(stream.copy(known[heads:mlp_at]) or self._attend(block, stream), bias=block["attn.b_O"])
            stream.write(stream.copy(known[mlp_at : mlp_at + 1]) or self._mlp(block, stream))
        logits = unembed(config, weights, stream.tap(stream.read()).squeeze(-4), self.rules)
        logits = logits.expand(*stream.lead, *logits.shape[-3:])
        count_run(logits)
        return logits, stream.outputs

    def _positions(self, count: int, places: Tensor | None) -> Float[Tensor, "feature position #row"]:
        """What `pos` writes."""
        rows = self.weights["pos_embed.W_pos"]
        written = rows[:count] if places is None else rows[places]
        return written.T[..., None] if written.ndim == 2 else written.permute(2, 1, 0)

    def _check(self, tokens: Tensor, mask: Tensor | None, other: Tensor | None) -> None:
        edges, positions = self.graph.n_edges, tokens.shape[-1]
        if mask is not None and (other is None or mask.shape[-1] != edges):
            wrong = "without `other`" if other is None else f"of {mask.shape[-1]} edges"
            raise ValueError(f"a mask {wrong}; expected one entry for each of the {edges} edges, and `other`")
        if positions > self.config.n_ctx:
            raise ValueError(f"{positions} positions; this model has {self.config.n_ctx}")

    def _mlp(self, block: Mapping[str, Tensor], stream: ResidualStream) -> list[Tensor | None]:
        """Output of a layer's MLP, None if it is not needed."""
        if not stream.needed(1):
            return [None]
        return [mlp(self.config, block, stream.tap(stream.read()).squeeze(-4), self.rules)]

    def _attend(self, block: Mapping[str, Tensor], stream: ResidualStream) -> list[Tensor | None]:
        """Outputs of a layer's heads, None for a head that is not needed."""
        config, rules, heads = self.config, self.rules, stream.needed(self.config.n_heads)
        if not heads:
            return [None] * config.n_heads
        block = heads_of(config, block, heads)
        x = stream.read([3 * h + i for h in heads for i in range(3)])
        if x.shape[-4] == 1:
            qkv = stream.tap(project_heads(config, block, x, rules), partial(pull_back, config, rules, block, x))
        else:
            qkv = project_heads(config, block, stream.tap(x), rules)
        outs = dict(zip(heads, attention(config, block, qkv, rules).unbind(-4), strict=True))
        return [outs.get(h) for h in range(config.n_heads)]


def initialize(config: Config, seed: int) -> Transformer:
    """Random weights of standard deviation 0.8 / sqrt(d_model), as in GPT-2; biases 0, norms 1; the seed decides."""
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
