"""The training loop of `siit`: see there for the idea."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from interpbench.architecture import Config as Shape
from interpbench.case import Case, Reference
from interpbench.certificate import THRESHOLD, Masks, fresh_data, masks_of, measure, single_edges, worst_single
from interpbench.errors import InterpbenchError, UsageError
from interpbench.graph import Circuit
from interpbench.interventions import Data, where_defined
from interpbench.trainers import Trained
from interpbench.trainers.hints import Hints
from interpbench.trainers.rows import (
    UNDEFINED,
    Kind,
    Rows,
    Targets,
    draw_edges,
    draw_round,
    draw_silent,
    make_pool,
    targets_of,
)
from interpbench.trainers.settings import Config
from interpbench.trainers.state import FlatAdam, Progress, resume, save
from interpbench.transformer import Transformer, initialize

ENOUGH = 0.8
"""What a bare circuit that learns no more must reach for the other rows to be let in; below it starts again."""

NEW_BEST = 0.01
"""By how much a measurement must be better than all before, to count as progress."""

COLLAPSED = 0.5
"""Share of the best headline there was since all rows were let in, below which training goes back to that."""


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
    return replace(reference.subject, attn_scale=0.0, **chosen)


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


def headline(numbers: Mapping[str, Any], config: Config) -> float:
    """The lowest of the numbers that these settings train for."""
    asked = [numbers["accuracy"]]
    if config.interchange:
        asked.append(numbers["iia_min"])
    if config.strict:
        asked += [numbers["strict_min"], numbers["edges"], *([numbers["edges_heads"]] if config.merged else [])]
    return min(asked)


def train(
    case: Case, config: Config, folder: Path | None = None, progress: Callable[[dict[str, Any]], None] = lambda _: None
) -> Trained:
    """Train a subject of `case`; with `folder`, keep a checkpoint there at every measurement and resume from it.

    Many subjects either take off or stay on a plateau, as the weights happen to fall and the rate suits them. One
    whose bare circuit makes no progress starts again from other weights at half the rate, and one that collapses once
    all rows are in goes back to its best. If the end is reached uncertified, the best is returned.
    `progress` is called with the step and what was measured. Raises InterpbenchError if the loss is not finite (the
    last checkpoint stays) or if the checkpoint belongs to other settings.
    """
    reference = case.reference()
    shape = subject_shape(case, reference, config)
    config, asked = config.fitted(shape), config
    circuit = reference.circuit(shape.graph)
    masks, targets = masks_of(reference, circuit), targets_of(reference, circuit)
    hints = Hints(reference, shape.graph, shape.d_model) if config.hint else None

    def fresh(starts: int) -> FlatAdam:
        seed = config.seed + 7919 * starts
        weights = start(shape, circuit, replace(config, seed=seed))
        frozen = None if config.silent == "train" else targets.silent.any(0)
        return FlatAdam(weights.to(config.device), config.average, hints.start(seed) if hints else None, frozen)

    adam = fresh(0)
    state = Progress(
        variable_weights=[1.0] * len(masks.variables), is_open=not (config.circuit_first and config.strict)
    )
    state.lr = config.lr
    generator = torch.Generator().manual_seed(config.seed)
    settings = json.loads(json.dumps({"case": case.name, "program_digest": reference.digest, **asdict(asked)}))
    if folder is not None:
        resume(folder, settings, adam, state, generator)
    pool = make_pool(case, config.seed)
    check = fresh_data(case, config.eval_rows, seed=config.seed + 1_000_003)
    check = check.head(config.eval_rows)

    began = time.perf_counter() - state.seconds
    while state.step < config.steps and not state.done and not 0 < config.seconds <= state.seconds:
        if state.restart:
            state.starts, state.began, state.best, state.waited = state.starts + 1, state.step, 0.0, 0
            state.lr, state.restart = state.lr / 2, False
            adam = fresh(state.starts)
        rows = draw_round(reference, pool, config, state.variable_weights, generator)
        for _ in range(min(config.eval_every, config.steps - state.step)):
            loss = train_step(case, config, targets, hints, rows, adam, state, generator)
            if not math.isfinite(loss):
                raise InterpbenchError(
                    f"training of case {case.name} diverged at step {state.step}: the loss is {loss}"
                )
            state.step += 1
            progress({"step": state.step, "steps": config.steps, "loss": loss, "open": state.is_open, **state.numbers})
        _measure(adam, config, check, reference, masks, circuit, state)
        state.seconds = time.perf_counter() - began
        if folder is not None:
            save(folder, settings, adam, state, generator)
    if state.is_open and not state.done:
        adam.go_back()
    facts = {"rows": config.rows, "lr": state.lr, "starts": state.starts + 1, "steps": state.step}
    facts |= {"seconds": round(state.seconds, 1)}
    model = adam.averaged().to("cpu")
    return Trained(model.to(dtype=torch.float16).to(dtype=torch.float32) if config.half else model, circuit, facts)


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


def _measure(
    adam: FlatAdam,
    config: Config,
    check: Data,
    reference: Reference,
    masks: Masks,
    circuit: Circuit,
    state: Progress,
) -> None:
    """Measure on data of its own; then let the other rows in, start again, go back, or stop, as the numbers say."""
    model = adam.averaged().to("cpu")
    numbers = measure(model, check, reference, masks)
    bare = min(numbers["edges"], float(np.mean([*numbers["iia_circuit_only"].values()])))
    if bare > state.best + NEW_BEST:
        state.best, state.waited = bare, 0
    else:
        state.waited += 1
    stuck = state.waited >= config.patience
    if not state.is_open and (bare >= config.opens_at or (stuck and bare >= ENOUGH)):
        state.is_open, state.opened = True, state.step
        state.began = state.step if config.rewarm else state.began
    state.restart = not state.is_open and stuck
    state.variable_weights = [config.easy + (1 - share) for share in numbers["iia"].values()]
    state.numbers = {k: v for k, v in numbers.items() if isinstance(v, float)} | {"iia": numbers["iia"]}
    reached = headline(numbers, config)
    if state.is_open and reached > state.reached:
        state.reached = reached
        adam.keep()
    elif state.is_open and reached < COLLAPSED * state.reached:
        state.lr, state.opened, state.began = state.lr / 2, state.step, state.step
        adam.go_back()
    state.done = state.is_open and reached >= config.margin
    if state.done and config.strict:
        answer = reference.outputs(check.clean)
        check = where_defined(reference, check, answer)
        worst = worst_single(model, check, answer, single_edges(circuit)["edges"])
        state.numbers["worst_edge"] = worst["accuracy"]
        state.done = float(worst["accuracy"] or 0) >= (THRESHOLD + config.margin) / 2
