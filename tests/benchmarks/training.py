"""Our fused training step beside a plain three-pass one, in one run: `python tests/benchmarks/training.py`.

Both get through training rows: an input, a source, and one of the three terms. The plain step runs behaviour,
interchange and strictness one after the other on 256 pairs, with one variable and one silent node a batch, through
the plain transformer; ours makes rows of them. CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import random
import time

import plain
import torch

from interpbench import load_case
from interpbench.certificate import masks_of
from interpbench.process import tune_process
from interpbench.trainers.rows import make_pool
from interpbench.trainers.siit import Config
from interpbench.trainers.state import FlatAdam, Progress
from interpbench.trainers.training import row_loss, start, train_step
from interpbench.transformer import Transformer

PAIRS, TERMS = 256, 3


def seconds_a_step(step, steps: int) -> float:
    """CPU seconds of one call, after two that do not count."""
    step(), step()
    began = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - began) / steps


def plain_step(case, reference, model: Transformer, circuit, pool, generator):
    """A function that does one three-pass step."""
    weights = {name: weight.clone().requires_grad_() for name, weight in model.weights.items()}
    model = Transformer(model.config, weights)
    adam = torch.optim.Adam(weights.values(), lr=1e-3, betas=(0.9, 0.9))
    graph = model.graph
    silent = [node for node in graph.nodes if node not in circuit.nodes]
    draw = random.Random(0)

    def from_source(model, tokens, source, nodes):
        with torch.no_grad():
            other = plain.forward(model, source)[1]
        cut = {edge for edge in model.graph.edges if edge.split("->")[0] in nodes}
        return plain.forward(model, tokens, cut, other)[0]

    def step() -> None:
        tokens, source = pool.draw(PAIRS, generator)
        variable = draw.randrange(len(reference.variables))
        name, aligned = list(reference.variables.items())[variable]
        with torch.no_grad():
            label = plain.forward(reference.model, tokens)[0]
            changed = from_source(reference.model, tokens, source, {name})
        told = [
            (plain.forward(model, tokens)[0], label),
            (from_source(model, tokens, source, set(aligned)), changed),
            (from_source(model, tokens, source, {draw.choice(silent)}), label),
        ]
        never = torch.zeros(1, 1, dtype=torch.bool)
        loss = sum(row_loss(case, reference, logits, target, tokens, never) for logits, target in told)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        adam.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", default=["3", "44", "2"])
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    tune_process()
    print(f"{'case':>6} {'plain rows/s':>13} {'ours, circuit first':>20} {'ours, all rows':>15} {'ratios':>12}")
    for name in arguments.cases:
        case, config = load_case(name), Config()
        reference = case.reference()
        circuit = reference.circuit(reference.subject.graph)
        pool, generator = make_pool(case, 0), torch.Generator().manual_seed(0)
        model = start(reference.subject, circuit, config)
        slow = seconds_a_step(plain_step(case, reference, model, circuit, pool, generator), arguments.steps)
        speeds = [PAIRS * TERMS / slow]
        for is_open in (False, True):
            masks, adam = masks_of(reference, circuit), FlatAdam(model)
            state = Progress(variable_weights=[1.0] * len(masks.variables), lr=1e-3, is_open=is_open)
            step = lambda: train_step(case, reference, config, masks, pool, adam, state, generator)  # noqa: E731
            speeds.append(config.rows / seconds_a_step(step, arguments.steps))
        ratios = " ".join(f"{speed / speeds[0]:5.1f}" for speed in speeds[1:])
        print(f"{name:>6} {speeds[0]:13.0f} {speeds[1]:20.0f} {speeds[2]:15.0f} {ratios:>12}")


if __name__ == "__main__":
    main()
