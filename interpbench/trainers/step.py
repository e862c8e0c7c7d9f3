"""Parts of a training step: losses, the learning rate, and the kinds of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from interpbench.cases.case import Case
from interpbench.trainers.checkpoint import Progress
from interpbench.trainers.rows import (
    UNDEFINED,
    Kind,
    Targets,
)
from interpbench.trainers.settings import Config


def row_loss(case: Case, logits: Tensor, answer: Tensor) -> Tensor:
    """Mean loss at scored positions where the reference answers: cross-entropy with its answer, or squared error.

    `logits` `[*, row, position, class]`, `answer` `[*, row, position]`.
    """
    scored = slice(1, None) if case.scored == "all" else slice(-1, None)
    logits, answer = logits[..., scored, :], answer[..., scored]
    if logits.shape[-1] == 1:
        return F.mse_loss(logits.squeeze(-1), answer)
    return F.cross_entropy(logits.flatten(0, -2), answer.flatten(), ignore_index=UNDEFINED)


def power(outputs: Sequence[Tensor], targets: Targets) -> Tensor:
    """Sum of the mean squares of the outputs of the circuit's heads and MLPs, `[feature, position, row]` each."""
    writers = zip(outputs[2:], ~targets.silent.any(0)[2:], strict=True)
    return sum((out.square().mean() for out, is_in in writers if is_in), torch.zeros((), device=outputs[0].device))


def language_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Cross-entropy of every next token, summed over positions; `[row, position, class]`, `[row, position]`."""
    predicted, following = logits[:, :-1].flatten(0, -2), tokens[:, 1:]
    return following.shape[1] * F.cross_entropy(predicted, following.flatten())


def rate(config: Config, state: Progress) -> float:
    """Learning rate of the next step.

    Linear warm-up, then as `config.falling` says. Once all rows are added, cosine decay to a fiftieth in cycles, each
    twice as long as the one before (arXiv 1608.03983). The first has `config.cycle` steps.
    """
    since = state.step - state.began
    warm = state.lr * min(1, (since + 1) / config.warmup)
    if not state.is_open:
        return warm * (1 - 0.75 * min(1, since / config.falling)) if config.falling else warm
    gone, length = state.step - state.opened, config.cycle
    while gone >= length:
        gone, length = gone - length, 2 * length
    return config.settled * warm * (0.02 + 0.98 * (1 + math.cos(math.pi * gone / length)) / 2)


def plan(config: Config, is_open: bool, step: int) -> list[tuple[Kind, int]]:
    """The passes of a step: kind of rows, and blocks.

    `circuit`: every edge outside the circuit carries the source; `heads`: every edge outside the merged circuit, in
    some of the steps instead. `edges`: some edges do. `nodes`: some silent nodes do, or nothing. While the circuit is
    learnt all rows are of the first kind.
    """
    blocks = config.rows // config.group
    if not is_open:
        return [("circuit", blocks)]
    strict = round(blocks * config.strict * config.edges)
    whole = round(strict * config.whole)
    is_merged = math.floor((step + 1) * config.merged) > math.floor(step * config.merged)
    passes: list[tuple[Kind, int]] = [
        ("heads" if is_merged else "circuit", whole),
        ("edges", strict - whole),
        ("nodes", blocks - strict),
    ]
    return [(kind, count) for kind, count in passes if count]


def silent_share(config: Config) -> float:
    """Of the rows that replace no edges: share on which silent nodes are replaced."""
    return config.strict * (1 - config.edges) / max(1e-9, 1 - config.strict * config.edges)
