"""The training loop of `siit`: see there for the idea."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interpbench.cases.case import Case
from interpbench.cases.pairs import Data
from interpbench.cases.reference import Reference
from interpbench.certificate.certificate import THRESHOLD, Measurement
from interpbench.certificate.interventions import where_defined
from interpbench.certificate.measure import (
    Masks,
    fresh_data,
    masks_of,
    measure,
    single_edges,
    worst_single,
)
from interpbench.errors import InterpbenchError, UsageError
from interpbench.graph.circuit import Circuit
from interpbench.trainers.checkpoint import Progress, resume, save
from interpbench.trainers.hints import Hints
from interpbench.trainers.optimizer import FlatAdam
from interpbench.trainers.rows import (
    draw_round,
    make_pool,
    targets_of,
)
from interpbench.trainers.settings import Config
from interpbench.trainers.step import train_step
from interpbench.trainers.trainer import Trained
from interpbench.transformer.config import Config as Shape
from interpbench.transformer.model import Transformer, initialize

ENOUGH = 0.8
"""What a bare circuit that learns no more must reach for the other rows to be let in; below it starts again."""

NEW_BEST = 0.01
"""By how much a measurement must be better than all before, to count as progress."""

COLLAPSED = 0.5
"""Share of the best headline there was since all rows were let in, below which training goes back to that."""


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


def headline(measured: Measurement, config: Config) -> float:
    """The lowest of the accuracies that these settings train for."""
    trained_for = [measured.accuracy]
    if config.interchange:
        trained_for.append(measured.iia_min)
    if config.strict:
        trained_for += [measured.strict_min, measured.edges]
    if config.strict and config.merged:
        trained_for.append(measured.edges_heads)
    return min(trained_for)


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
    measured = measure(model, check, reference, masks)
    bare = min(measured.edges, float(np.mean([*measured.iia_circuit_only.values()])))
    if bare > state.best + NEW_BEST:
        state.best, state.waited = bare, 0
    else:
        state.waited += 1
    stuck = state.waited >= config.patience
    if not state.is_open and (bare >= config.opens_at or (stuck and bare >= ENOUGH)):
        state.is_open, state.opened = True, state.step
        state.began = state.step if config.rewarm else state.began
    state.restart = not state.is_open and stuck
    state.variable_weights = [config.easy + (1 - share) for share in measured.iia.values()]
    state.numbers = {k: v for k, v in measured.to_json().items() if isinstance(v, float)} | {"iia": measured.iia}
    reached = headline(measured, config)
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
        state.numbers["worst_edge"] = worst.accuracy
        state.done = worst.accuracy >= (THRESHOLD + config.margin) / 2
