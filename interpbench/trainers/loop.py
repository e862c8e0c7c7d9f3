"""The training loop of `siit`: train, measure, decide how to continue. `siit.py` explains the method."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from interpbench.cases.case import Case
from interpbench.cases.pairs import fresh_data
from interpbench.certificate.certificate import THRESHOLD
from interpbench.trainers.checkpoint import resume, save
from interpbench.trainers.rows import draw_round, make_pool
from interpbench.trainers.settings import Config
from interpbench.trainers.standing import Alone, Check
from interpbench.trainers.trainer import Trained
from interpbench.trainers.training import Training
from interpbench.transformer.model import Transformer

ENOUGH = 0.8
"""Accuracy that a bare circuit without further progress needs for the other rows to be added; below it restarts."""

STANDS = 0.97
"""Lowest accuracy beside which silent nodes are turned up, where they are not loud enough."""

NEW_BEST = 0.01
"""By how much a measurement must exceed all before, to count as progress."""

COLLAPSED, FALLEN = 0.5, 0.9
"""Share of the best accuracy since all rows were added, below which training returns to its best; the second after
everything that is measured at once was reached.
"""


MORE = 4
"""Times as many other rows confirm that training is done, where the measurement could be of a subject without
certificate: the first of many to reach a target close to the certificate's is high by chance.
"""


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
    check = _check(training, config.eval_rows, seed=config.seed + 1_000_003)
    began = time.perf_counter() - state.seconds
    while state.step < config.steps and not state.done and not 0 < config.seconds <= state.seconds:
        if state.restart:
            training.start_again()
        rows = draw_round(training.reference, pool, fitted, state, generator)
        for _ in range(min(config.eval_every, config.steps - state.step)):
            loss = training.step(rows)
            progress({"step": state.step, "steps": config.steps, "loss": loss, "open": state.is_open, **state.numbers})
        _measure(training, check)
        state.seconds = time.perf_counter() - began
        if folder is not None:
            save(folder, settings, training.optimizer, state, generator)
    return _finish(training)


def _check(training: Training, rows: int, seed: int) -> Check:
    data = fresh_data(training.case, rows, seed).head(rows)
    return Check(data, training.reference, training.circuit, training.config.seed)


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


def _measure(training: Training, check: Check) -> None:
    """Measure the averaged weights, and decide how training continues."""
    config, state = training.config, training.state
    model = training.optimizer.averaged().to("cpu")
    was_open, alone = state.is_open, check.screen.alone(model)
    _add_rows_or_restart(training, alone.bare)
    found = check.standing(model, alone, config) if state.is_open else None
    alone = alone if found is None else found.alone
    loud = _loud_enough(alone, config)
    state.short_under = alone.short_under
    shares = found.iia if found is not None and was_open else alone.iia
    state.variable_weights = [config.easy + (1 - share) for share in shares.values()]
    state.numbers = (found or alone).to_json()
    lowest = alone.bare if found is None else found.lowest(config)
    if found is not None:
        _keep_or_go_back(training, lowest, loud)
    state.done = found is not None and lowest >= config.margin and loud == 1
    if state.done and config.strict and lowest - check.doubt(lowest) < THRESHOLD:
        state.numbers["on_more_rows"] = _lowest_on_more_rows(training, model)
        state.done = state.numbers["on_more_rows"] >= (config.margin + THRESHOLD) / 2
    if state.done and config.strict:
        state.numbers["one_at_a_time"], short = check.one_at_a_time(model)
        state.short_edges = short.tolist()
        state.done = state.numbers["one_at_a_time"] >= config.margin
    if config.loudness and not state.done:
        training.turn(alone.loud, up=loud < 1 and lowest >= STANDS)


def _lowest_on_more_rows(training: Training, model: Transformer) -> float:
    config = training.config
    more = _check(training, MORE * config.eval_rows, seed=config.seed + 2_000_003)
    return more.whole(model, more.alone(model)).lowest(config)


def _loud_enough(found: Alone, config: Config) -> float:
    """Loudness of the silent nodes in units of what is enough, at most 1."""
    if found.loudness is None or not config.loudness:
        return 1.0
    return min(1.0, found.loudness / config.loudness)


def _add_rows_or_restart(training: Training, bare: float) -> None:
    """Add the other rows once the circuit alone is accurate; plan a restart if it makes no progress."""
    config, state = training.config, training.state
    if bare > state.best + NEW_BEST:
        state.best, state.waited = bare, 0
    else:
        state.waited += 1
    stuck = state.waited >= config.patience
    if not state.is_open and (bare >= config.opens_at or (stuck and bare >= ENOUGH)):
        state.is_open, state.opened = True, state.step
    state.restart = not state.is_open and stuck


def _keep_or_go_back(training: Training, lowest: float, loud: float) -> None:
    """Keep the best weights since all rows were added; return to them at half the rate after a collapse.

    The best have the largest product of the lowest accuracy and of loudness.
    """
    config, state = training.config, training.state
    least = FALLEN if state.reached >= config.margin else COLLAPSED
    if lowest < least * state.lowest:
        state.lr, state.opened, state.began, state.lowest = state.lr / 2, state.step, state.step, 0.0
        training.optimizer.go_back()
        return
    state.lowest = max(state.lowest, lowest)
    if lowest * loud > state.reached:
        state.reached = lowest * loud
        training.optimizer.keep()
