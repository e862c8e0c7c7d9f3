"""The training loop of `siit`: train, measure, decide how to continue. `siit.py` explains the method."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interpbench.cases.case import Case
from interpbench.cases.pairs import Data, fresh_data
from interpbench.certificate.certificate import THRESHOLD, Measurement
from interpbench.certificate.interventions import where_defined
from interpbench.certificate.measure import measure, single_edges, worst_single
from interpbench.trainers.checkpoint import resume, save
from interpbench.trainers.rows import draw_round, make_pool
from interpbench.trainers.settings import Config
from interpbench.trainers.trainer import Trained
from interpbench.trainers.training import Training

ENOUGH = 0.8
"""Accuracy that a bare circuit without further progress needs for the other rows to be added; below it restarts."""

NEW_BEST = 0.01
"""By how much a measurement must exceed all before, to count as progress."""

COLLAPSED = 0.5
"""Share of the best headline since all rows were added, below which training returns to that best."""


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

    Whether a subject learns or stays on a plateau depends on its initial weights and the rate. A subject whose bare
    circuit makes no progress restarts from other weights at half the rate. One that collapses after all rows are added
    returns to its best. If training ends before the target is reached, the best is returned. `progress` is called with
    the step and the last measurement. Raises InterpbenchError if the loss is not finite (the last checkpoint stays) or
    if the checkpoint belongs to other settings.
    """
    training = Training.begin(case, config)
    state, generator, fitted = training.state, training.generator, training.config
    facts = {"case": case.name, "program_digest": training.reference.digest, **asdict(config)}
    settings = json.loads(json.dumps(facts))
    if folder is not None:
        resume(folder, settings, training.optimizer, state, generator)
    pool = make_pool(case, config.seed)
    check = fresh_data(case, config.eval_rows, seed=config.seed + 1_000_003).head(config.eval_rows)
    began = time.perf_counter() - state.seconds
    while state.step < config.steps and not state.done and not 0 < config.seconds <= state.seconds:
        if state.restart:
            training.start_again()
        rows = draw_round(training.reference, pool, fitted, state.variable_weights, generator)
        for _ in range(min(config.eval_every, config.steps - state.step)):
            loss = training.step(rows)
            progress({"step": state.step, "steps": config.steps, "loss": loss, "open": state.is_open, **state.numbers})
        _measure(training, check)
        state.seconds = time.perf_counter() - began
        if folder is not None:
            save(folder, settings, training.optimizer, state, generator)
    return _finish(training)


def _finish(training: Training) -> Trained:
    """The averaged weights, or the best if all rows were added but the target was not reached."""
    config, state = training.config, training.state
    if state.is_open and not state.done:
        training.optimizer.go_back()
    facts = {"rows": config.rows, "lr": state.lr, "starts": state.starts + 1, "steps": state.step}
    model = training.optimizer.averaged().to("cpu")
    if config.half:
        model = model.to(dtype=torch.float16).to(dtype=torch.float32)
    return Trained(model, training.circuit, facts | {"seconds": round(state.seconds, 1)})


def _measure(training: Training, check: Data) -> None:
    """Measure the averaged weights on `check`, and decide how training continues."""
    config, state, reference = training.config, training.state, training.reference
    model = training.optimizer.averaged().to("cpu")
    measured = measure(model, check, reference, training.masks)
    state.variable_weights = [config.easy + (1 - share) for share in measured.iia.values()]
    state.numbers = {k: v for k, v in measured.to_json().items() if isinstance(v, float)} | {"iia": measured.iia}
    reached = headline(measured, config)
    _add_rows_or_restart(training, measured)
    _keep_or_go_back(training, reached)
    state.done = state.is_open and reached >= config.margin
    if state.done and config.strict:
        answer = reference.outputs(check.clean)
        on_answer = where_defined(reference, check, answer)
        worst = worst_single(model, on_answer, answer, single_edges(training.circuit)["edges"])
        state.numbers["worst_edge"] = worst.accuracy
        state.done = worst.accuracy >= (THRESHOLD + config.margin) / 2


def _add_rows_or_restart(training: Training, measured: Measurement) -> None:
    """Add the other rows once the circuit alone is accurate; plan a restart if it makes no progress."""
    config, state = training.config, training.state
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


def _keep_or_go_back(training: Training, reached: float) -> None:
    """Keep the best weights since all rows were added; return to them at half the rate after a collapse."""
    state = training.state
    if state.is_open and reached > state.reached:
        state.reached = reached
        training.optimizer.keep()
    elif state.is_open and reached < COLLAPSED * state.reached:
        state.lr, state.opened, state.began = state.lr / 2, state.step, state.step
        training.optimizer.go_back()
