"""A training run: what it is about, its optimizer and state, and its steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from interpbench.cases.case import Case
from interpbench.cases.reference import Reference
from interpbench.certificate.measure import Masks, masks_of
from interpbench.errors import InterpbenchError, UsageError
from interpbench.graph.circuit import Circuit
from interpbench.trainers.checkpoint import Progress
from interpbench.trainers.hints import Hints
from interpbench.trainers.optimizer import FlatAdam
from interpbench.trainers.rows import Kind, Rows, Targets, draw_edges, draw_silent, targets_of
from interpbench.trainers.settings import Config
from interpbench.trainers.step import language_loss, loudness, plan, rate, row_loss, silent_share
from interpbench.transformer.config import Config as Shape
from interpbench.transformer.model import Transformer, initialize


def subject_shape(case: Case, reference: Reference, config: Config) -> Shape:
    """The case's own, but for the sizes that are set. Raises UsageError for `same_size` without a compiled model."""
    sizes = ("d_model", "d_head", "d_mlp")
    chosen = {}
    if config.same_size:
        if not case.compiled:
            raise UsageError(f"case {case.name} has no compiled reference whose size a subject could have")
        model: Any = reference
        chosen = {size: getattr(model.model.config, size) for size in sizes}
    chosen |= {size: getattr(config, size) for size in sizes if getattr(config, size)}
    return replace(reference.subject_config, attn_scale=0.0, **chosen)


def start(shape: Shape, circuit: Circuit, config: Config) -> Transformer:
    """Random weights, silent nodes writing less at first.

    While the circuit is learnt, every silent node carries another input: noise, as loud as the signal where all nodes
    write alike. They stay free to grow.
    """
    model = initialize(shape, config.seed)
    weights = dict(model.weights)
    for node in set(shape.graph.nodes) - circuit.nodes if config.strict else ():
        layer, _, head = node[1:].partition(".h")
        name = f"blocks.{layer}." + ("attn.W_O" if head else "mlp.W_out")
        scale = torch.ones(len(weights[name]))
        scale[int(head) if head else slice(None)] = config.silent_scale
        weights[name] = weights[name] * scale.view(-1, *[1] * (weights[name].ndim - 1))
    return Transformer(shape, weights)


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

    @cached_property
    def masks(self) -> Masks:
        """What a measurement replaces."""
        return masks_of(self.reference, self.circuit)

    def _fresh_optimizer(self) -> FlatAdam:
        config, silent = self.config, self.targets.silent.any(0)
        seed = config.seed + 7919 * self.state.starts
        weights = start(self.shape, self.circuit, replace(config, seed=seed))
        readout = self.hints.start(seed) if self.hints else None
        frozen = None if config.silent == "train" else silent
        return FlatAdam(weights.to(config.device), config.average, readout, frozen)

    def start_again(self) -> None:
        """Continue from other random weights at half the rate."""
        state = self.state
        state.starts, state.began, state.best, state.waited = state.starts + 1, state.step, 0.0, 0
        state.lr, state.restart = state.lr / 2, False
        self.optimizer = self._fresh_optimizer()

    def step(self, rows: Rows) -> float:
        """Run some of the rows, one pass for each kind, and update the weights; returns the loss.

        Nodes are replaced row by row. Replaced edges are the same for all rows of a kind, so that a pass has one mask
        and its products are over all rows at once. Raises InterpbenchError if the loss is not finite.
        """
        config = self.config
        kinds = plan(config, self.state.is_open)
        blocks = sum(kinds.values())
        picked = rows.take(torch.randint(len(rows.source), (blocks,), generator=self.generator)).to(config.device)
        model, *leaves = self.optimizer.leaves()
        source_outputs = model.writers(picked.source).split([*kinds.values()], -1)
        parts = picked.split([*kinds.values()])
        losses: list[Tensor] = []
        for kind, part, other in zip(kinds, parts, source_outputs, strict=True):
            if losses and not config.single_loss:
                model, *leaves = self.optimizer.leaves()
            loss, outputs = self._loss(model, kind, part, other.repeat_interleave(config.group, -1))
            loss = self._with_auxiliary(loss, leaves, outputs, part)
            losses.append(loss * (len(part.source) / blocks))
            if not config.single_loss:
                self._update(losses[-1], leaves)
        if config.single_loss:
            self._update(sum(losses[1:], losses[0]), leaves)
        total = sum(loss.item() for loss in losses)
        if not math.isfinite(total):
            where = f"case {self.case.name} diverged at step {self.state.step}"
            raise InterpbenchError(f"training of {where}: the loss is {total}")
        self.state.step += 1
        return total

    def _loss(self, model: Transformer, kind: Kind, rows: Rows, other: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Mean loss of rows of one kind, and the writers' outputs; `other` are those on each row's source."""
        config, targets = self.config, self.targets
        tokens, variable = rows.tokens.flatten(0, 1), rows.variable.flatten().cpu()
        replaced, mask = targets.variables[variable][..., None] & rows.where.flatten(0, 1)[:, None].cpu(), None
        if kind == "nodes":
            silent = draw_silent(targets, len(tokens), silent_share(config), config.sampling, self.generator)
            replaced = replaced | silent[..., None]
        else:
            every = {"circuit": targets.outside, "heads": targets.outside_heads}
            mask = (every[kind] if kind in every else draw_edges(targets, self.generator)).to(config.device)
        frozen = targets.silent.any(0) if config.silent == "stop_grad" else None
        here = replaced.movedim(0, -1).to(config.device)
        logits, outputs = model.run(tokens, mask, other, replaced=here, detached=frozen)
        loss = row_loss(self.case, logits, rows.answer.flatten(0, 1))
        plain = ~replaced.flatten(1).any(-1)
        if self.case.next_token and kind == "nodes" and plain.any():
            plain = plain.to(config.device)
            loss = loss + 0.1 * language_loss(logits[plain], tokens[plain]) * plain.float().mean()
        return loss, outputs

    def _with_auxiliary(self, loss: Tensor, leaves: Sequence[Tensor], outputs: Sequence[Tensor], rows: Rows) -> Tensor:
        if self.hints is not None:
            loss = loss + self.config.hint * self.hints.loss(leaves[1], outputs, rows)
        if self.config.calm:
            loss = loss + self.config.calm * loudness(outputs, self.targets)
        return loss

    def _update(self, loss: Tensor, leaves: Sequence[Tensor]) -> None:
        gradient, *of_readout = torch.autograd.grad(loss, leaves)
        self.optimizer.update(gradient, rate(self.config, self.state), self.config.clip)
        if of_readout:
            self.optimizer.update_readout(of_readout[0])
