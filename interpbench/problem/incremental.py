"""The loss of a model as edges are cut one by one, from the output back: the inner loop of greedy pruning.

Readers are visited from the output to the input, so everything upstream of the reader whose edge is cut still has its
clean value. The cut adds a known vector, `other_w - clean_w`, to that reader's input. The node is computed again, and
after it only the nodes that the change reaches along kept edges and that themselves reach the output. To this end the
input of each reader (for a head its projection, which is smaller) and the output of each writer are stored.

The last layer is computed at the scored positions only, if no other position of it is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interpbench.problem.losses import Loss
from interpbench.problem.problem import Problem
from interpbench.transformer.layers import attend, block_of, mlp, norm_of, project, projections, unembed
from interpbench.transformer.passes import count_forward


@dataclass(frozen=True, eq=False)
class Attempt:
    """The effect of a cut: the new loss, and the changed inputs and projections by reader and outputs by writer."""

    loss: float
    inputs: dict[int, Tensor]
    projections: dict[int, Tensor]
    outputs: dict[int, Tensor]


class Incremental:
    """A problem's model under a growing set of cut edges.

    `loss` is the current loss and `cut` the current set, bool `[edge]`. It may start with any set. After that, edges
    must be cut reader by reader from the output back; the order within a layer's heads is free. A reader or writer is
    *alive* if a path of kept edges leads from it to the logits. Memory: about twice the activations of all rows.
    """

    @torch.no_grad()
    def __init__(self, problem: Problem, kind: Loss, cut: Bool[np.ndarray, " edge"] | None = None) -> None:
        self.problem, self.model, self.graph = problem, problem.model, problem.graph
        self.kind: Loss = kind
        self.config = config = self.model.config
        self.cut = np.zeros(self.graph.n_edges, dtype=bool) if cut is None else cut.copy()
        self._kept = np.zeros((len(self.graph.readers), len(self.graph.writers)), dtype=np.float32)
        self._kept[self.graph.edge_reader, self.graph.edge_writer] = ~self.cut
        self._find_live()

        self._positions = _positions(problem)
        self._where = problem.scored[:, self._positions].flatten().nonzero().squeeze(-1)
        self._blocks = [block_of(self.model.weights, layer) for layer in range(config.n_layers)]
        self._projectors = [(*projections(config, block), norm_of(block, "ln1")) for block in self._blocks]
        outputs = self.model.writers(problem.clean).unbind(0)
        self._streams = self._clean_streams(outputs)
        last_layer = self.graph.writers_before_attention(config.n_layers - 1)
        self._outputs = [out if w < last_layer else self._narrow(out) for w, out in enumerate(outputs)]
        self._inputs: dict[int, Tensor] = {}
        self._projections: dict[int, Tensor] = {}
        self.loss = problem.loss(problem.full, kind).item()
        readers = [r for r in range(len(self.graph.readers)) if self._live_readers[r] and self._cut_into(r).size]
        if readers:
            self._accept(self._follow({r: self._input(r) + self._delta(r, self._cut_into(r)) for r in readers}))

    def alive(self, edge: int) -> bool:
        """Whether the edge's reader still reaches the output; if not, cutting the edge has no effect."""
        return bool(self._live_readers[self.graph.edge_reader[edge]])

    @torch.no_grad()
    def attempt(self, edge: int) -> Attempt:
        """The effect of cutting one more edge."""
        reader, writer = int(self.graph.edge_reader[edge]), int(self.graph.edge_writer[edge])
        if not self._live_readers[reader]:
            return Attempt(self.loss, {}, {}, {})
        return self._follow({reader: self._input(reader) + self._delta(reader, np.array([writer]))})

    def accept(self, edge: int, attempt: Attempt) -> None:
        """Cut the edge, given its effect."""
        self.cut[edge] = True
        self._kept[self.graph.edge_reader[edge], self.graph.edge_writer[edge]] = 0
        self._find_live()
        self._accept(attempt)

    def _accept(self, attempt: Attempt) -> None:
        self.loss = attempt.loss
        self._inputs.update(attempt.inputs)
        self._projections.update(attempt.projections)
        for writer, output in attempt.outputs.items():
            self._outputs[writer] = output
        for reader in [r for r in self._inputs if not self._live_readers[r]]:
            del self._inputs[reader]
            self._projections.pop(reader, None)

    def _find_live(self) -> None:
        """Update which readers have a path of kept edges to the logits."""
        writers = self.graph.live_writers(~self.cut)
        self._live_readers = np.append(writers, True)[self.graph.reader_writer]  # the last: the logits

    def _cut_into(self, reader: int) -> np.ndarray:
        """Writers whose edges into a reader are cut."""
        return np.flatnonzero(self.cut[self.graph.starts[reader] : self.graph.starts[reader + 1]])

    def _clean_streams(self, outputs: tuple[Tensor, ...]) -> list[Tensor]:
        """The residual stream of the clean run at each place where it is read: attention, MLP, ..., logits."""
        streams, heads = [], self.config.n_heads
        stream = outputs[0] + outputs[1]
        for layer in range(self.config.n_layers):
            first = self.graph.writers_before_attention(layer)
            streams.append(stream)
            stream = stream + sum(outputs[first : first + heads])
            stream = stream + self._blocks[layer]["attn.b_O"][:, None, None]
            streams.append(stream)
            stream = stream + outputs[first + heads]
        return [*streams, stream]

    def _is_narrow(self, reader: int) -> bool:
        """Whether this reader is needed at scored positions only: q of the last layer, its MLP, the logits."""
        per_layer = self.graph.readers_per_layer
        place = reader - (self.config.n_layers - 1) * per_layer
        return place >= per_layer - 1 or (place >= 0 and place % 3 == 0)

    def _narrow(self, x: Tensor) -> Tensor:
        """`[feature, position, row]` at the last layer's positions."""
        return x if x.shape[-2] == len(self._positions) else x.index_select(-2, self._positions)

    def _fit(self, reader: int, x: Tensor) -> Tensor:
        return self._narrow(x) if self._is_narrow(reader) else x

    def _input(self, reader: int) -> Tensor:
        """Current input `[feature, position, row]`."""
        if reader in self._inputs:
            return self._inputs[reader]
        layer, place = divmod(reader, self.graph.readers_per_layer)
        return self._fit(reader, self._streams[2 * layer + (place == self.graph.readers_per_layer - 1)])

    def _delta(self, reader: int, writers: np.ndarray) -> Tensor:
        """The change of the reader's input when the edges from these (still clean) writers are cut."""
        deltas = [
            self._fit(reader, self.problem.other[w]) - self._fit(reader, self._outputs[w]) for w in writers.tolist()
        ]
        return sum(deltas[1:], deltas[0])

    def _follow(self, inputs: dict[int, Tensor]) -> Attempt:
        """Propagate changed inputs to the loss.

        Counts as a whole forward pass (`transformer/passes.py`): what an implementation that stores nothing would pay.
        """
        count_forward(len(self.problem.clean))
        per_layer = self.graph.readers_per_layer
        done = Attempt(self.loss, dict(inputs), {}, {})
        differences: dict[int, Tensor] = {}
        for layer in range(min(inputs) // per_layer, self.config.n_layers):
            first, reader = layer * per_layer, (layer + 1) * per_layer - 1
            head, writer = self.graph.writers_before_attention(layer), self.graph.writers_before_mlp(layer)
            changed = self._receive(range(first, reader), done.inputs, differences)
            if changed:
                self._project(layer, changed, done)
                outs = self._attend(layer, sorted({(r - first) // 3 for r in changed}), done)
                done.outputs.update({head + h: out for h, out in outs.items()})
                differences.update({head + h: out - self._outputs[head + h] for h, out in outs.items()})
            if self._receive(range(reader, reader + 1), done.inputs, differences):
                out = mlp(self.config, self._blocks[layer], done.inputs[reader])
                done.outputs[writer] = out
                differences[writer] = out - self._outputs[writer]
        logits = len(self.graph.readers) - 1
        if not self._receive(range(logits, logits + 1), done.inputs, differences):
            return done
        out = unembed(self.config, self.model.weights, done.inputs[logits])
        loss = self.problem.loss_at_scored(out.flatten(0, 1).index_select(0, self._where), self.kind)
        return Attempt(loss.item(), done.inputs, done.projections, done.outputs)

    def _receive(self, readers: range, inputs: dict[int, Tensor], differences: dict[int, Tensor]) -> list[int]:
        """Add the changes of writers to the inputs of live readers that keep them; return the readers that changed."""
        writers = list(differences)
        changed = [r for r in readers if r in inputs]
        if writers:
            reached = [r for r in readers if self._live_readers[r] and self._kept[r, writers].any()]
            for narrow in (False, True):
                some = [r for r in reached if self._is_narrow(r) == narrow]
                if some:
                    near = [w for w in writers if self._kept[some, w].any()]
                    parts = [self._narrow(differences[w]) if narrow else differences[w] for w in near]
                    if len(some) == 1:  # a sum needs no stacked copy of all parts
                        added = [sum(parts[1:], parts[0])]
                    else:
                        kept = torch.from_numpy(self._kept[np.ix_(some, near)]).to(parts[0])
                        added = (kept @ torch.stack(parts).flatten(1)).unflatten(1, parts[0].shape)
                    for reader, more in zip(some, added, strict=True):
                        inputs[reader] = inputs.get(reader, self._input(reader)) + more
            changed = sorted({*changed, *reached})
        return changed

    def _project(self, layer: int, readers: list[int], done: Attempt) -> None:
        """Compute queries, keys or values of readers from their inputs."""
        weight, bias, norm = self._projectors[layer]
        for narrow in (False, True):
            some = [r for r in readers if self._is_narrow(r) == narrow]
            if some:
                x = torch.stack([done.inputs.get(r, self._input(r)) for r in some])
                place = [r % self.graph.readers_per_layer for r in some]
                out = project(self.config, norm, weight[place], bias[place], x.flatten(-2)).unflatten(-1, x.shape[-2:])
                done.projections.update(zip(some, out, strict=True))

    def _attend(self, layer: int, heads: list[int], done: Attempt) -> dict[int, Tensor]:
        """Outputs of some heads of a layer from their queries, keys and values."""
        first = layer * self.graph.readers_per_layer
        needed = [first + 3 * head + i for head in heads for i in range(3)]
        missing = [r for r in needed if r not in done.projections and r not in self._projections]
        self._project(layer, missing, done)
        q, k, v = (
            torch.stack([done.projections.get(r, self._projections.get(r)) for r in needed[i::3]])  # type: ignore
            for i in range(3)
        )
        causal = self.config.attention_dir == "causal" and q.shape[-2] == k.shape[-2]
        z = attend(q, k, v, causal)
        out = self._blocks[layer]["attn.W_O"][heads].mT @ z.flatten(-2)
        return dict(zip(heads, out.unflatten(-1, z.shape[-2:]), strict=True))


def _positions(problem: Problem) -> Int[Tensor, " position"]:
    """Positions at which the last layer must be computed."""
    scored = problem.scored.any(0).nonzero().squeeze(-1)
    last = problem.clean.shape[1] - 1
    # Selected queries attend without a causal mask. That is right only at the last position, which sees every key.
    if problem.model.config.attention_dir == "bidirectional" or scored.tolist() == [last]:
        return scored
    return torch.arange(last + 1, device=scored.device)
