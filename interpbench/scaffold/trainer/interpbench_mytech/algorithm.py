"""The algorithm: interchange intervention training (arXiv 2112.00826) in its plainest form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from interpbench import Case, Trained
from interpbench.trainers import FlatAdam, Progress, answer_of, resume, row_loss, save, targets_of
from interpbench.transformer import initialize

if TYPE_CHECKING:
    from . import Config


def train(case: Case, config: Config, folder: Path | None, progress: Callable[[dict[str, Any]], None]) -> Trained:
    """On every row at most one variable of the reference is taken from another input, in the reference and at its
    nodes in the model; the model must then answer what the reference answers.
    """
    reference = case.reference()
    model = initialize(reference.subject_config, config.seed)
    circuit = reference.circuit(model.graph)
    nodes = targets_of(reference, circuit).variables
    adam, state, generator = FlatAdam(model, average=0.99), Progress(), torch.Generator().manual_seed(config.seed)
    settings = {"case": case.name, "program_digest": reference.digest, **asdict(config)}
    if folder is not None:
        resume(folder, settings, adam, state, generator)
    while state.step < config.steps:
        rng = np.random.default_rng(int(torch.randint(1 << 62, (), generator=generator)))
        clean, source = (torch.tensor(case.inputs(config.rows, rng)) for _ in range(2))
        picked = rng.integers(len(reference.variables), size=config.rows)
        variable = torch.tensor(np.where(rng.random(config.rows) < config.interchange, picked, -1))
        answer = answer_of(reference, reference.outputs(clean, source, variable))
        model, weights = adam.leaves()
        loss = row_loss(case, model(clean, other=model.writers(source), replaced=nodes[variable].T), answer)
        adam.update(torch.autograd.grad(loss, weights)[0], config.lr, clip=1.0)
        state.step += 1
        progress({"step": state.step, "steps": config.steps, "loss": loss.item()})
        if folder is not None and state.step % config.keep_every == 0:
            save(folder, settings, adam, state, generator)
    return Trained(adam.averaged(), circuit, {"steps": state.step})
