"""A training run: what it is about, its optimizer and state, and its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from interpbench.cases.case import Case
from interpbench.cases.reference import Reference
from interpbench.errors import InterpbenchError, UsageError
from interpbench.graph.circuit import Circuit
from interpbench.trainers.checkpoint import Progress
from interpbench.trainers.hints import Hints
from interpbench.trainers.optimizer import FlatAdam
from interpbench.trainers.rows import ABLATIONS, Kind, Rows, Targets, draw_edges, draw_silent, targets_of
from interpbench.trainers.settings import Config
from interpbench.trainers.step import language_loss, plan, power, rate, row_loss, silent_share
from interpbench.transformer.config import Config as Shape
from interpbench.transformer.model import Transformer, initialize

NARROW, WIDE = 8, 12
"""Least width of a head by default, in a circuit of MLPs only and in others. What is narrower has no room for the
circuit beside loud silent nodes (cases 8 and 103).
"""

ROOM = 1.4
"""Least width of the residual stream, in dimensions a token. In one of as many dimensions as tokens, silent nodes
stay quiet or disturb the circuit for thousands of steps (case 40).
"""

LOUDER, QUIET = 2.0, 1e-6
"""Largest factor by which silent nodes are turned up at once, and the least loudness that is told apart from none."""


LATER = 0.2
"""Factor on the penalty on what the circuit writes, once all rows are added. Without one the circuit grows as silent
nodes are turned up, and with all of it it becomes quieter than they are (cases 10 and 8).
"""


def subject_shape(case: Case, reference: Reference, config: Config) -> Shape:
    """The case's own, heads at least `WIDE` or `NARROW` wide, with `ROOM` for tokens, but for the sizes that are set.

    Raises UsageError for `same_size` without a compiled model.
    """
    sizes = ("d_model", "d_head", "d_mlp")
    own = reference.subject_config
    chosen = {}
    has_heads = any(".h" in node for node in reference.circuit(own.graph).nodes)
    least = max(WIDE if has_heads else NARROW, math.ceil(ROOM * own.d_vocab / own.n_heads))
    if own.d_head < least:
        width = max(own.d_model, own.n_heads * least)
        chosen = {"d_head": least, "d_model": width, "d_mlp": 4 * width}
    if config.same_size:
        if not case.compiled:
            raise UsageError(f"case {case.name} has no compiled reference whose size a subject could have")
        model: Any = reference
        chosen = {size: getattr(model.model.config, size) for size in sizes}
    chosen |= {size: getattr(config, size) for size in sizes if getattr(config, size)}
    return replace(own, attn_scale=0.0, **chosen)


def weights_of(weights: Mapping[str, Tensor], node: str) -> dict[str, Tensor]:
    """The weights that a head or MLP has to itself, by their names in its layer, such as `W_Q` or `W_in`: views."""
    layer, _, head = node[1:].partition(".h")
    prefix = f"blocks.{layer}." + ("attn." if head else "mlp.")
    own = {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
    return {name: weight[int(head)] for name, weight in own.items() if name != "b_O"} if head else own


READING, WRITING = ("W_Q", "W_K", "W_V", "W_in"), ("W_O", "W_out")
"""Of these weights, those that read the stream, `[d_model, *]`, and those that write into it, `[*, d_model]`."""


def start(shape: Shape, circuit: Circuit, config: Config) -> Transformer:
    """Random weights, of which silent nodes write, loudly, into a random part of the residual stream that the circuit
    does not read. `config` is fitted to `shape`.

    While the circuit is learnt, every silent node carries another input: noise. What fills the whole stream cannot be
    ignored, but readers learn to ignore a few directions. The circuit stays free to read and write anywhere.
    """
    model = initialize(shape, config.seed)
    if not config.strict:
        return model
    generator = torch.Generator().manual_seed(config.seed)
    size = max(1, round(config.silent_part * shape.d_model))
    is_part = size < shape.d_model
    basis = torch.linalg.qr(torch.randn(shape.d_model, size, generator=generator)).Q
    into = config.silent_scale * math.sqrt(shape.d_model / size) * basis @ basis.T
    out_of = torch.eye(shape.d_model) - is_part * basis @ basis.T
    for node in shape.graph.nodes:
        is_silent = node not in circuit.nodes
        for name, weight in weights_of(model.weights, node).items():
            if is_silent and name in WRITING:
                weight.copy_(weight @ into)
            elif not is_silent and name in READING:
                weight.copy_(out_of @ weight)
    unembed = model.weights["unembed.W_U"]
    unembed.copy_(out_of @ unembed)
    return model


@dataclass(eq=False)
class Training:
    """A training run of a subject of `case`; `config` is fitted to `shape`. `step` changes optimizer and state."""

    case: Case
    config: Config
    reference: Reference
    shape: Shape
    circuit: Circuit
    targets: Targets
    hints: Hints | None
    state: Progress
    generator: torch.Generator
    optimizer: FlatAdam = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = self._fresh_optimizer()

    @classmethod
    def begin(cls, case: Case, config: Config) -> Training:
        """A run before its first step. Raises UsageError as `subject_shape` does."""
        reference = case.reference()
        shape = subject_shape(case, reference, config)
        config = config.fitted(shape)
        circuit = reference.circuit(shape.graph)
        hints = Hints(reference, shape.graph, shape.d_model) if config.hint else None
        is_open = not (config.circuit_first and config.strict)
        state = Progress(variable_weights=[1.0] * len(reference.variables), is_open=is_open, lr=config.lr)
        generator = torch.Generator().manual_seed(config.seed)
        targets = targets_of(reference, circuit)
        return cls(case, config, reference, shape, circuit, targets, hints, state, generator)

    def _fresh_optimizer(self) -> FlatAdam:
        config = self.config
        seed = config.seed + 7919 * self.state.starts
        weights = start(self.shape, self.circuit, replace(config, seed=seed))
        readout = self.hints.start(seed) if self.hints else None
        return FlatAdam(weights.to(config.device), config.average, readout, self._learns(weights))

    def _learns(self, model: Transformer) -> Tensor | None:
        """1 for every weight that is learnt, in the order of the optimizer's vector, 0 for others; None if all are.

        Silent nodes that learn help the answer, where nothing is replaced, and then their replacement disturbs it: case
        14 was at .983 with all outside edges replaced after 1,300 steps, and rose from .989 to .995 where they stay.
        """
        if not self.config.strict or not self.config.silent_fixed:
            return None
        learns = {name: torch.ones_like(weight) for name, weight in model.weights.items()}
        for node in self.shape.graph.nodes:
            if node not in self.circuit.nodes:
                for weight in weights_of(learns, node).values():
                    weight.zero_()
        return torch.cat([learns[name].flatten() for name in self.shape.weight_shapes()]).to(self.config.device)

    def start_again(self) -> None:
        """Continue from other random weights at half the rate."""
        state = self.state
        state.starts, state.began, state.best, state.waited = state.starts + 1, state.step, 0.0, 0
        state.lr, state.restart = state.lr / 2, False
        self.optimizer = self._fresh_optimizer()

    def turn(self, loudness: Mapping[str, float], up: bool) -> None:
        """Scale what silent nodes write, by at most `LOUDER` or its inverse, so that they are neither quiet nor loud.

        Quiet ones are only turned up if `up`: that is noise which a circuit must stand.
        """
        enough = self.config.loudness
        for kind in ("weights", "average"):
            model = self.optimizer.transformer(kind)
            for node, now in loudness.items():
                wanted = min(max(now, 1.25 * enough) if up else now, 2 * enough)
                factor = min(max(wanted / max(now, QUIET), 1 / LOUDER), LOUDER)
                for name, weight in weights_of(model.weights, node).items():
                    if name in WRITING:
                        weight.mul_(factor)

    def step(self, rows: Rows) -> float:
        """Run some of the rows, in a pass for each entry of `plan`, and update the weights; returns the loss.

        Nodes are replaced row by row. Replaced edges are the same for all rows of a pass, so that its products are over
        all rows at once. Raises InterpbenchError if the loss is not finite.
        """
        config = self.config
        kinds, counts = zip(*plan(config, self.state.is_open, self.state.step), strict=True)
        blocks = sum(counts)
        picked = rows.take(torch.randint(len(rows.source), (blocks,), generator=self.generator)).to(config.device)
        model, *leaves = self.optimizer.leaves()
        source_outputs = self._source_outputs(model, picked)
        parts = picked.split(counts)
        losses: list[Tensor] = []
        for kind, part, other in zip(kinds, parts, source_outputs.split(counts, -1), strict=True):
            loss, outputs = self._loss(model, kind, part, other.repeat_interleave(config.group, -1))
            loss = self._with_auxiliary(loss, leaves, outputs, part)
            losses.append(loss * (len(part.source) / blocks))
        loss = sum(losses[1:], losses[0])
        self._update(loss, leaves)
        total = loss.item()
        if not math.isfinite(total):
            where = f"case {self.case.name} diverged at step {self.state.step}"
            raise InterpbenchError(f"training of {where}: the loss is {total}")
        self.state.step += 1
        return total

    @torch.no_grad()
    def _source_outputs(self, model: Transformer, rows: Rows) -> Tensor:
        """What every writer writes on the sources, or the mean over blocks or zero, by each block's ablation."""
        outputs = model.writers(rows.source, rows.places)
        outputs = torch.where(rows.ablation == ABLATIONS.index("mean"), outputs.mean(-1, keepdim=True), outputs)
        return outputs.masked_fill(rows.ablation == ABLATIONS.index("zero"), 0)

    def _loss(self, model: Transformer, kind: Kind, rows: Rows, other: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Mean loss of rows of one kind, and the writers' outputs; `other` are those on each row's source."""
        config, targets = self.config, self.targets
        tokens, variable = rows.tokens.flatten(0, 1), rows.variable.flatten().cpu()
        replaced, mask = targets.variables[variable], None
        if kind == "nodes":
            replaced = replaced | draw_silent(targets, len(tokens), silent_share(config), self.generator)
        else:
            every = {"circuit": targets.outside, "heads": targets.outside_heads}
            mask = every[kind] if kind in every else self._some_edges()
            mask = mask.to(config.device)
        logits, outputs = model.run(tokens, mask, other, replaced=replaced.T.to(config.device))
        loss = row_loss(self.case, logits, rows.answer.flatten(0, 1))
        plain = ~replaced.any(-1)
        if self.case.next_token and kind == "nodes" and plain.any():
            plain = plain.to(config.device)
            loss = loss + 0.1 * language_loss(logits[plain], tokens[plain]) * plain.float().mean()
        return loss, outputs

    def _some_edges(self) -> Tensor:
        short = self.state.short_edges
        return draw_edges(self.targets, self.generator, torch.tensor(short) if short else None)

    def _with_auxiliary(self, loss: Tensor, leaves: Sequence[Tensor], outputs: Sequence[Tensor], rows: Rows) -> Tensor:
        if self.hints is not None:
            loss = loss + self.config.hint * self.hints.loss(leaves[1], outputs, rows)
        if self.config.calm:
            weight = self.config.calm * (LATER if self.state.is_open else 1)
            loss = loss + weight * power(outputs, self.targets)
        return loss

    def _update(self, loss: Tensor, leaves: Sequence[Tensor]) -> None:
        gradient, *of_readout = torch.autograd.grad(loss, leaves)
        self.optimizer.update(gradient, rate(self.config, self.state), self.config.clip)
        if of_readout:
            self.optimizer.update_readout(of_readout[0])
