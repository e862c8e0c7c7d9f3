"""The training loop of `siit`: see there for the idea."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from interpbench.case import Case, Reference, defined
from interpbench.certificate import (
    THRESHOLD,
    Data,
    Masks,
    fresh_data,
    masks_of,
    measure,
    single_edges,
    where_defined,
    worst_single,
)
from interpbench.errors import InterpbenchError
from interpbench.graph import Circuit
from interpbench.trainers import Trained
from interpbench.trainers.rows import Pool, draw_masks, make_pool
from interpbench.trainers.siit import Config
from interpbench.trainers.state import FlatAdam, Progress, resume, save
from interpbench.transformer import Config as Shape
from interpbench.transformer import Transformer, initialize

UNDEFINED = -100


def row_loss(case: Case, reference: Reference, logits: Tensor, target: Tensor, tokens: Tensor, plain: Tensor) -> Tensor:
    """Mean loss at scored positions where the reference answers: cross-entropy with its answer, or squared error.

    A language model (`next_token`) also learns every next token, with a tenth of the weight, on plain rows.
    `logits`, `target` `[*, row, position, class]`, `tokens` `[*, row, position]`, `plain` `[*, 1]` bool.
    """
    scored = slice(1, None) if case.scored == "all" else slice(-1, None)
    if logits.shape[-1] == 1:
        return F.mse_loss(logits[..., scored, :], target[..., scored, :])
    target = target[..., scored, :]
    answers = torch.where(defined(reference, target), target.argmax(-1), UNDEFINED)
    loss = F.cross_entropy(logits[..., scored, :].flatten(0, -2), answers.flatten(), ignore_index=UNDEFINED)
    if case.next_token and plain.any():
        told, following = logits[plain.squeeze(-1)][..., :-1, :], tokens[plain.squeeze(-1)][..., 1:]
        language = F.cross_entropy(told.flatten(0, -2), following.flatten())
        loss = loss + 0.1 * (logits.shape[-2] - 1) * language * plain.float().mean()
    return loss


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
        asked += [numbers["strict_min"], numbers["edges"]]
    return min(asked)


def train(
    case: Case, config: Config, folder: Path | None = None, progress: Callable[[dict[str, Any]], None] = lambda _: None
) -> Trained:
    """Train a subject of `case`; with `folder`, keep a checkpoint there at every measurement and resume from it.

    `progress` is called with the step and what was measured. Raises InterpbenchError if the loss is not finite (the
    last checkpoint stays) or if the checkpoint belongs to other settings.
    """
    reference = case.reference()
    sizes = {k: getattr(config, k) for k in ("d_model", "d_head", "d_mlp") if getattr(config, k)}
    shape = replace(reference.subject, attn_scale=0.0, **sizes)
    circuit = reference.circuit(shape.graph)
    masks = masks_of(reference, circuit)
    adam = FlatAdam(start(shape, circuit, config))
    state = Progress(
        variable_weights=[1.0] * len(masks.variables), is_open=not (config.circuit_first and config.strict)
    )
    state.lr = config.lr
    generator = torch.Generator().manual_seed(config.seed)
    settings = {"case": case.name, "program_digest": reference.digest, **asdict(config)}
    if folder is not None:
        resume(folder, settings, adam, state, generator)
    pool = make_pool(case, config.seed)
    check = fresh_data(case, config.eval_rows, seed=config.seed + 1_000_003)
    check = check.head(config.eval_rows)

    began = time.perf_counter() - state.seconds
    while state.step < config.steps and not state.done:
        loss = train_step(case, reference, config, masks, pool, adam, state, generator)
        if not math.isfinite(loss):
            raise InterpbenchError(f"training of case {case.name} diverged at step {state.step}: the loss is {loss}")
        state.step += 1
        if state.step % config.eval_every == 0 or state.step == config.steps:
            _measure(adam, config, check, reference, masks, circuit, state)
            state.seconds = time.perf_counter() - began
            if folder is not None:
                save(folder, settings, adam, state, generator)
        progress({"step": state.step, "steps": config.steps, "loss": loss, "open": state.is_open, **state.numbers})
    facts = {"config": asdict(config), "steps": state.step, "seconds": round(state.seconds, 1)}
    return Trained(
        Transformer(shape, {k: v.detach().clone() for k, v in adam.model()[0].weights.items()}), circuit, facts
    )


def train_step(
    case: Case,
    reference: Reference,
    config: Config,
    masks: Masks,
    pool: Pool,
    adam: FlatAdam,
    state: Progress,
    generator: torch.Generator,
) -> float:
    """Draw rows, run them in one pass, take one step; returns the loss."""
    groups = config.rows // config.group
    weights = torch.tensor(state.variable_weights)
    mask, variable = draw_masks(masks, config, groups, state.is_open, weights, generator)
    tokens, source = pool.draw(config.rows, generator)
    target = reference.outputs(tokens, source, variable.repeat_interleave(config.group))
    tokens, source, target = (x.unflatten(0, (groups, config.group)) for x in (tokens, source, target))
    model, flat = adam.model(grad=True)
    logits = model(tokens, mask, model.writers(source))
    loss = row_loss(case, reference, logits, target, tokens, (mask == 0).all(-1, keepdim=True))
    (gradient,) = torch.autograd.grad(loss, flat)
    adam.update(gradient, state.lr * min(1, (state.step + 1) / config.warmup), config.clip)
    return loss.item()


def _measure(
    adam: FlatAdam,
    config: Config,
    check: Data,
    reference: Reference,
    masks: Masks,
    circuit: Circuit,
    state: Progress,
) -> None:
    """Measure on data of its own; then halve the rate, let the other rows in, or stop, as the numbers say."""
    model, _ = adam.model()
    numbers = measure(model, check, reference, masks)
    bare = min(numbers["edges"], float(np.mean([*numbers["iia_circuit_only"].values()])))
    reached = headline(numbers, config) if state.is_open else bare
    if reached > state.best:
        state.best, state.waited = reached, 0
    else:
        state.waited += 1
    if state.waited >= config.patience:
        state.lr, state.waited = state.lr / 2, 0
    if not state.is_open and bare >= config.opens_at:
        state.is_open, state.best, state.waited = True, 0.0, 0
    state.variable_weights = [0.1 + (1 - share) for share in numbers["iia"].values()]
    state.numbers = {k: v for k, v in numbers.items() if isinstance(v, float)} | {"iia": numbers["iia"]}
    state.done = state.is_open and headline(numbers, config) >= config.margin
    if state.done and config.strict:
        answer = reference.outputs(check.clean)
        check = where_defined(reference, check, answer)
        worst = worst_single(model, check, answer, single_edges(circuit)["edges"])
        state.numbers["worst_edge"] = worst["accuracy"]
        state.done = float(worst["accuracy"] or 0) >= (THRESHOLD + config.margin) / 2
