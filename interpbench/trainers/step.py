"""One step of training: rows of several kinds, a pass for each, and the update."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from interpbench.cases.case import Case
from interpbench.trainers.checkpoint import Progress
from interpbench.trainers.hints import Hints
from interpbench.trainers.optimizer import FlatAdam
from interpbench.trainers.rows import (
    UNDEFINED,
    Kind,
    Rows,
    Targets,
    draw_edges,
    draw_silent,
)
from interpbench.trainers.settings import Config
from interpbench.transformer.model import Transformer


def row_loss(case: Case, logits: Tensor, answer: Tensor) -> Tensor:
    """Mean loss at scored positions where the reference answers: cross-entropy with its answer, or squared error.

    `logits` `[*, row, position, class]`, `answer` `[*, row, position]`.
    """
    scored = slice(1, None) if case.scored == "all" else slice(-1, None)
    logits, answer = logits[..., scored, :], answer[..., scored]
    if logits.shape[-1] == 1:
        return F.mse_loss(logits.squeeze(-1), answer)
    return F.cross_entropy(logits.flatten(0, -2), answer.flatten(), ignore_index=UNDEFINED)


def loudness(outputs: Sequence[Tensor], targets: Targets) -> Tensor:
    """Mean square of what the circuit's heads and MLPs write, `[feature, position, row]` each, summed over them."""
    heard = zip(outputs[2:], ~targets.silent.any(0)[2:], strict=True)
    return sum((out.square().mean() for out, is_in in heard if is_in), torch.zeros((), device=outputs[0].device))


def language_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Cross-entropy of every next token, summed over positions; `[row, position, class]`, `[row, position]`."""
    told, following = logits[:, :-1].flatten(0, -2), tokens[:, 1:]
    return following.shape[1] * F.cross_entropy(told, following.flatten())


def rate(config: Config, state: Progress) -> float:
    """Learning rate of the next step.

    It rises linearly at first. Once all rows are let in it falls along a cosine to a fiftieth, and starts again in
    cycles each twice as long as the one before (arXiv 1608.03983), of which the first has `config.cycle` steps.
    """
    warm = state.lr * min(1, (state.step - state.began + 1) / config.warmup)
    if not state.is_open:
        return warm
    gone, length = state.step - state.opened, config.cycle
    while gone >= length:
        gone, length = gone - length, 2 * length
    return warm * (0.02 + 0.98 * (1 + math.cos(math.pi * gone / length)) / 2)


def plan(config: Config, is_open: bool) -> dict[Kind, int]:
    """Blocks of each kind in a step.

    `circuit`: every edge outside the circuit carries the source; `heads`: every edge outside the merged
    circuit. `edges`: some of them do. `nodes`: some silent nodes do, or nothing. While the circuit is learnt all rows
    are of the first kind.
    """
    blocks = config.rows // config.group
    if not is_open:
        return {"circuit": blocks}
    strict = round(blocks * config.strict * config.edges)
    whole = round(strict * config.whole)
    heads = round(whole * config.merged)
    kinds: dict[Kind, int] = {"circuit": whole - heads, "heads": heads}
    kinds |= {"edges": strict - whole, "nodes": blocks - strict}
    return {kind: count for kind, count in kinds.items() if count}


def silent_share(config: Config) -> float:
    """Share of the rows that replace no edges on which silent nodes are replaced."""
    return config.strict * (1 - config.edges) / max(1e-9, 1 - config.strict * config.edges)


def train_step(
    case: Case,
    config: Config,
    targets: Targets,
    hints: Hints | None,
    rows: Rows,
    adam: FlatAdam,
    state: Progress,
    generator: torch.Generator,
) -> float:
    """Run some of the rows, a pass for each kind, and take one step; returns the loss.

    What a row replaces are whole nodes, row by row, and edges, the same for all rows of a kind: then every pass has
    one mask, and products are over all rows at once.
    """
    kinds = plan(config, state.is_open)
    blocks = sum(kinds.values())
    picked = rows.take(torch.randint(len(rows.source), (blocks,), generator=generator)).to(config.device)
    model, *leaves = adam.leaves()
    other = model.writers(picked.source)
    losses: list[Tensor] = []
    first = 0
    for kind, count in kinds.items():
        part = picked.take(slice(first, first + count))
        here = other[..., first : first + count].repeat_interleave(config.group, -1)
        first += count
        if losses and not config.single_loss:
            model, *leaves = adam.leaves()
        loss, outputs = _loss(case, config, targets, model, kind, part, here, generator)
        if hints is not None:
            loss = loss + config.hint * hints.loss(leaves[1], outputs, part)
        if config.calm:
            loss = loss + config.calm * loudness(outputs, targets)
        losses.append(loss * (count / blocks))
        if not config.single_loss:
            _update(config, adam, state, losses[-1], leaves)
    if config.single_loss:
        _update(config, adam, state, sum(losses[1:], losses[0]), leaves)
    return sum(loss.item() for loss in losses)


def _loss(
    case: Case,
    config: Config,
    targets: Targets,
    model: Transformer,
    kind: Kind,
    rows: Rows,
    other: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, list[Tensor]]:
    """Mean loss of rows of one kind, and the writers' outputs; `other` are those on each row's source."""
    tokens, variable = rows.tokens.flatten(0, 1), rows.variable.flatten().cpu()
    replaced, mask = targets.variables[variable][..., None] & rows.where.flatten(0, 1)[:, None].cpu(), None
    if kind == "nodes":
        silent = draw_silent(targets, len(tokens), silent_share(config), config.sampling, generator)
        replaced = replaced | silent[..., None]
    else:
        every = {"circuit": targets.outside, "heads": targets.outside_heads}
        mask = (every[kind] if kind in every else draw_edges(targets, generator)).to(config.device)
    frozen = targets.silent.any(0) if config.silent == "stop_grad" else None
    here = replaced.movedim(0, -1).to(config.device)
    logits, outputs = model.run(tokens, mask, other, replaced=here, detached=frozen)
    loss = row_loss(case, logits, rows.answer.flatten(0, 1))
    plain = ~replaced.flatten(1).any(-1)
    if case.next_token and kind == "nodes" and plain.any():
        plain = plain.to(config.device)
        loss = loss + 0.1 * language_loss(logits[plain], tokens[plain]) * plain.float().mean()
    return loss, outputs


def _update(config: Config, adam: FlatAdam, state: Progress, loss: Tensor, leaves: Sequence[Tensor]) -> None:
    gradient, *of_readout = torch.autograd.grad(loss, leaves)
    adam.update(gradient, rate(config, state), config.clip)
    if of_readout:
        adam.update_readout(of_readout[0])
