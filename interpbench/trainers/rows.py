"""Training rows: inputs and sources, and what is replaced on each.

Rows come in blocks that share a source, so that the runs on sources cost a fraction of a pass. The reference runs once
a round, on all rows that are used until the next measurement.

On some blocks what lies outside the circuit carries values that no clean run writes: those of a source whose positions
are permuted, zeros or means. No variable is interchanged there, since the reference's values belong to real inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from interpbench.cases.case import Case
from interpbench.cases.pairs import permuted_places
from interpbench.cases.reference import Reference, defined
from interpbench.graph.circuit import Circuit
from interpbench.trainers.checkpoint import Progress
from interpbench.trainers.settings import Config

POOL = 1 << 16
UNDEFINED = -100
Kind = Literal["circuit", "heads", "nodes", "edges"]
ABLATIONS = ("source", "positions", "mean", "zero")
"""What replaced values are: those of the source, with its positions permuted, means over sources, or zeros."""


@dataclass(frozen=True)
class Pool:
    """Inputs to draw from: clean ones and their counterfactuals, int64 `[input, position]`."""

    clean: Tensor
    corrupted: Tensor


def make_pool(case: Case, seed: int) -> Pool:
    """Every input if there are few, else random ones."""
    rng = np.random.default_rng([seed, 1])
    every = case.all_inputs(POOL)
    clean = case.inputs(POOL, rng) if every is None else every
    return Pool(torch.tensor(clean), torch.tensor(case.corrupt(clean, rng)))


@dataclass(frozen=True)
class Rows:
    """Blocks of rows with one source each; what the subject must answer under each row's interchange.

    `places`: positions that the source's tokens stand at. `ablation`: which of `ABLATIONS` replaces values, by index.
    `variable`: index into the reference's variables, -1 for none; it comes from the source. `answer`: class ids
    (`UNDEFINED` where the reference is) or numbers, at every position. `readings`: values of the reference's variables,
    with hints only.
    """

    source: Int[Tensor, "block position"]
    places: Int[Tensor, "block position"]
    ablation: Int[Tensor, " block"]
    tokens: Int[Tensor, "block row position"]
    variable: Int[Tensor, "block row"]
    answer: Tensor
    readings: tuple[Tensor, ...] = ()

    def take(self, blocks: Tensor | slice) -> Rows:
        """Some of the blocks."""
        return self._each(lambda tensor: tensor[blocks])

    def split(self, counts: Sequence[int]) -> list[Rows]:
        """Consecutive parts with these numbers of blocks."""
        ends = np.cumsum(counts).tolist()
        return [self.take(slice(end - count, end)) for end, count in zip(ends, counts, strict=True)]

    def to(self, device: torch.device | str) -> Rows:
        """The same rows elsewhere."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Rows:
        source, places, ablation = change(self.source), change(self.places), change(self.ablation)
        tokens, variable, answer = change(self.tokens), change(self.variable), change(self.answer)
        return Rows(source, places, ablation, tokens, variable, answer, tuple(map(change, self.readings)))


def draw_round(reference: Reference, pool: Pool, config: Config, state: Progress, generator: torch.Generator) -> Rows:
    """All rows until the next measurement; each is drawn about `config.reuse` times.

    A source is the counterfactual of its block's first input, or independent of the block. What the last measurement
    found wanting, in `state`, is drawn more often.
    """
    blocks = max(1, config.eval_every * config.rows // config.reuse // config.group)
    inputs = torch.randint(len(pool.clean), (blocks, config.group + 1), generator=generator)
    own = torch.rand(blocks, 1, generator=generator) < config.own_source
    tokens = pool.clean[inputs[:, 1:]]
    source = torch.where(own, pool.corrupted[inputs[:, 1]], pool.clean[inputs[:, 0]])
    ablation = _draw_ablations(blocks, config, state.short_under, generator)
    seed = int(torch.randint(1 << 31, (), generator=generator))
    permuted, own_places = permuted_places(blocks, tokens.shape[-1], seed), torch.arange(tokens.shape[-1])
    places = torch.where((ablation == ABLATIONS.index("positions"))[:, None], permuted, own_places)
    weights = torch.tensor(state.variable_weights)
    picked = torch.multinomial(weights, tokens.shape[:2].numel(), True, generator=generator)
    share = config.interchange / (ablation == 0).float().mean()  # so that the share of all rows is as configured
    wanted = (torch.rand(tokens.shape[:2], generator=generator) < share) & (ablation == 0)[:, None]
    variable = torch.where(wanted, picked.view(tokens.shape[:2]), -1)
    rows = (tokens.flatten(0, 1), source.repeat_interleave(config.group, 0), variable.flatten())
    logits, readings = reference.outputs_and_readings(*rows) if config.hint else (reference.outputs(*rows), {})
    shape = (blocks, config.group)
    values = tuple(value.unflatten(0, shape) for values in readings.values() for value in values)
    return Rows(source, places, ablation, tokens, variable, answer_of(reference, logits).unflatten(0, shape), values)


def _draw_ablations(
    blocks: int, config: Config, short: Sequence[float], generator: torch.Generator
) -> Int[Tensor, " block"]:
    """Which of `ABLATIONS` each block is for. Variables are interchanged under the first of them only.

    Of the other rows, half are shared out as configured, half by what the accuracy under each ablation lacks.
    """
    alone = (1 - config.interchange) * (config.strict > 0)  # the share of rows on which no variable is interchanged
    zeros = config.zeros / 2
    plain = max(0, 1 - config.positions - config.zeros)
    shares = torch.tensor([plain, config.positions, zeros, zeros])
    lacks = torch.tensor(short)
    if lacks.any():
        shares = (shares + lacks / lacks.sum()) / 2
    shares = alone * shares + torch.tensor([1 - alone, 0, 0, 0])
    return torch.multinomial(shares, blocks, True, generator=generator)


def answer_of(reference: Reference, logits: Tensor) -> Tensor:
    """Class ids (`UNDEFINED` where the reference is), or numbers, `[row, position]`, of its logits."""
    if logits.shape[-1] == 1:
        return logits.squeeze(-1)
    return torch.where(defined(reference, logits), logits.argmax(-1), UNDEFINED)


@dataclass(frozen=True)
class Targets:
    """What may be replaced: the nodes of each variable (the last row: none) and each silent node, as bool
    `[which, writer]`; the edges outside the circuit and outside the merged one (at `heads`), `[edge]` each; and for
    every layer those that it reads by `[layer, edge]` (the last: those of the logits).
    """

    variables: Bool[Tensor, "variable writer"]
    silent: Bool[Tensor, "silent writer"]
    outside: Float[Tensor, " edge"]
    outside_heads: Float[Tensor, " edge"]
    into: Bool[Tensor, "layer edge"]


def targets_of(reference: Reference, circuit: Circuit) -> Targets:
    """What may be replaced in a subject of this circuit."""
    graph = circuit.graph

    def rows(sets: Sequence[Sequence[str]]) -> Tensor:
        return torch.tensor([[writer in nodes for writer in graph.writers] for nodes in sets]).view(
            -1, len(graph.writers)
        )

    readers = [edge.split("->")[1] for edge in graph.edges]
    layers = [graph.n_layers if name == "logits" else int(name[1:].split(".")[0]) for name in readers]
    return Targets(
        variables=rows([*reference.variables.values(), ()]),
        silent=rows([[node] for node in graph.nodes if node not in circuit.nodes]),
        outside=torch.tensor(1 - circuit.mask()),
        outside_heads=torch.tensor(1 - circuit.heads().mask()),
        into=torch.tensor(layers) == torch.arange(graph.n_layers + 1)[:, None],
    )


def draw_silent(targets: Targets, rows: int, share: float, generator: torch.Generator) -> Bool[Tensor, "row writer"]:
    """Silent nodes to replace on each row, on a share of the rows: a single one on half of these, each with
    probability 1/2 on a quarter, all of them on a quarter.
    """
    count = len(targets.silent)
    if not count:
        return torch.zeros(rows, targets.silent.shape[1], dtype=torch.bool)
    one = F.one_hot(torch.randint(count, (rows,), generator=generator), count).bool()
    kind = torch.rand(rows, 1, generator=generator)
    some = torch.rand(rows, count, generator=generator) < torch.where(kind < 0.75, 0.5, 1.0)
    chosen = torch.where(kind < 0.5, one, some) & (torch.rand(rows, 1, generator=generator) < share)
    return (chosen.float() @ targets.silent.float()) > 0


def draw_edges(
    targets: Targets, generator: torch.Generator, short: Float[Tensor, " edge"] | None = None
) -> Float[Tensor, " edge"]:
    """A random set of edges outside the circuit: of all those, or of those into one layer, each with probability
    .1 or .5; or a single one.

    `short`: what the accuracy lacks when an edge alone is replaced. If anything, single edges are drawn half of the
    time rather than a quarter, and half of them by the square of that.

    Readers that nothing is cut from share one input, so sets within a layer cost little more than a plain run.
    """
    kind = int(torch.randint(4, (), generator=generator))
    weak = None if short is None or not short.any() else short.square()
    if kind == 0 or (kind == 1 and weak is not None):
        weights = targets.outside
        if weak is not None:
            weights = weights / weights.sum() + weak / weak.sum()
        single = torch.multinomial(weights, 1, generator=generator)
        return torch.zeros_like(targets.outside).scatter_(0, single, 1)
    layer = int(torch.randint(len(targets.into), (), generator=generator))
    here = targets.outside * targets.into[layer] if kind < 3 else targets.outside
    share = 0.5 if torch.rand((), generator=generator) < 0.5 else 0.1
    return here * (torch.rand(here.shape, generator=generator) < share)
