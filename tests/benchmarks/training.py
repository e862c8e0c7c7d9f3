"""Our trainer beside a plain one, in one run: `python tests/benchmarks/training.py [CASE ...] [--seconds N]`.

The plain trainer is what the published recipe says (arXiv 2407.14494): behaviour, interchange and strictness on nodes
one after the other on the same 256 pairs, one variable and one silent node a batch, through the plain transformer,
at Adam's rate 1e-3. A pair gets all three terms there; ours gives each row one of them, so both numbers are shown:
pairs a second, and terms a second. With `--seconds`, both train from nothing for at most so long, and it is told when
the subject reached .99 in everything on nodes, and on edges; while ours trains, replacing every outside edge at once
stands for replacing one silent node, which it does not measure. CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import functools
import random
import time

import plain
import torch

from interpbench import load_case
from interpbench.cases.pairs import fresh_data
from interpbench.certificate.measure import masks_of, measure
from interpbench.processes import tune_process
from interpbench.trainers.loop import train
from interpbench.trainers.rows import draw_round, make_pool
from interpbench.trainers.settings import Config
from interpbench.trainers.step import row_loss
from interpbench.trainers.training import Training
from interpbench.transformer import Transformer, initialize

PAIRS, TERMS, BAR = 256, 3, 0.99


def seconds_a_step(step, steps: int) -> float:
    """CPU seconds of one call, after two that do not count."""
    step(), step()
    began = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - began) / steps


class Plain:
    """The plain trainer: a step, and the model as it stands."""

    def __init__(self, case, reference, circuit, pool):
        self.case, self.reference, self.pool = case, reference, pool
        model = initialize(reference.subject_config, 0)
        self.weights = {name: weight.clone().requires_grad_() for name, weight in model.weights.items()}
        self.model = Transformer(model.config, self.weights)
        self.adam = torch.optim.Adam(self.weights.values(), lr=1e-3, betas=(0.9, 0.9))
        self.silent = [node for node in model.graph.nodes if node not in circuit.nodes]
        self.draw = random.Random(0)

    def from_source(self, model, tokens, source, nodes):
        with torch.no_grad():
            other = plain.forward(model, source)[1]
        cut = {edge for edge in model.graph.edges if edge.split("->")[0] in nodes}
        return plain.forward(model, tokens, cut, other)[0]

    def step(self) -> None:
        clean = self.pool.clean
        tokens, source = (clean[torch.randint(len(clean), (PAIRS,))] for _ in range(2))
        variable = self.draw.randrange(len(self.reference.variables))
        name, aligned = list(self.reference.variables.items())[variable]
        with torch.no_grad():
            label = plain.forward(self.reference.model, tokens)[0]
            changed = self.from_source(self.reference.model, tokens, source, {name})
        told = [
            (plain.forward(self.model, tokens)[0], label),
            (self.from_source(self.model, tokens, source, set(aligned)), changed),
            (self.from_source(self.model, tokens, source, {self.draw.choice(self.silent)}), label),
        ]
        loss = sum(row_loss(self.case, logits, _answer(target)) for logits, target in told)
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self.weights.values()), 1.0)
        self.adam.step()


def _answer(logits):
    return logits.squeeze(-1) if logits.shape[-1] == 1 else logits.argmax(-1)


class Reached:
    """When numbers first reached the bar, on nodes and on edges, and how far they came."""

    def __init__(self):
        self.began, self.when, self.numbers = time.process_time(), {}, {}

    def note(self, numbers) -> None:
        nodes = min(numbers[key] for key in ("accuracy", "iia_min", "strict_min"))
        self.numbers = {"nodes": nodes, "edges": min(nodes, numbers["edges"])}
        for name, lowest in self.numbers.items():
            if lowest >= BAR:
                self.when.setdefault(name, time.process_time() - self.began)

    def __str__(self) -> str:
        shown = (
            f"{name} {self.when[name]:.0f} s" if name in self.when else f"{name} not ({lowest:.2f})"
            for name, lowest in self.numbers.items()
        )
        return ", ".join(shown)


def train_plainly(trainer: Plain, data, masks, seconds: float) -> Reached:
    """Train until the bar is reached on edges, or for so long; measuring is not counted."""
    reached = Reached()
    while "edges" not in reached.when and time.process_time() - reached.began < seconds:
        for _ in range(50):
            trainer.step()
        paused = time.process_time()
        reached.note(measure(trainer.model, data, trainer.reference, masks).to_json())
        reached.began += time.process_time() - paused
    return reached


class EnoughError(Exception):
    """The time is over."""


def train_ours(case, seconds: float) -> Reached:
    """The same with our trainer; measuring is counted, since training goes by it."""
    reached, seen = Reached(), {}

    def note(facts) -> None:
        told = {key: facts[key] for key in ("accuracy", "iia_min", "edges") if key in facts}
        if told and told != seen:
            seen.update(told)
            reached.note({**told, "strict_min": told["edges"]})
        if time.process_time() - reached.began > seconds:
            raise EnoughError

    try:
        trained = train(case, Config(), None, note)
    except EnoughError:
        return reached
    reference = case.reference()
    data = fresh_data(case, 1000, seed=1).head(1000)
    reached.note(measure(trained.model, data, reference, masks_of(reference, trained.circuit)).to_json())
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", default=["3", "11", "2"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0)
    arguments = parser.parse_args()
    tune_process()
    columns = f"{'case':>4} {'plain pairs/s':>14} {'terms/s':>8} {'ours, circuit first':>20} {'ours, all rows':>15}"
    print(f"{columns} {'ratio to pairs':>15} {'to terms':>12}")
    for name in arguments.cases:
        case = load_case(name)
        reference = case.reference()
        circuit = reference.circuit(reference.subject_config.graph)
        pool, config = make_pool(case, 0), Config().fitted(reference.subject_config)
        simple = Plain(case, reference, circuit, pool)
        pairs = PAIRS / seconds_a_step(simple.step, arguments.steps)
        speeds = []
        for is_open in (False, True):
            training = Training.begin(case, Config(lr=1e-3, circuit_first=not is_open))
            weights = [1.0] * len(reference.variables)
            began = time.process_time()
            rows = draw_round(reference, pool, config, weights, training.generator)
            ahead = (time.process_time() - began) / config.eval_every
            step = functools.partial(training.step, rows)
            speeds.append(config.rows / (ahead + seconds_a_step(step, arguments.steps)))
        ratios = ["  ".join(f"{speed / base:4.1f}" for speed in speeds) for base in (pairs, TERMS * pairs)]
        numbers = f"{name:>4} {pairs:14.0f} {TERMS * pairs:8.0f} {speeds[0]:20.0f} {speeds[1]:15.0f}"
        print(f"{numbers} {ratios[0]:>15} {ratios[1]:>12}", flush=True)
        if arguments.seconds:
            masks, data = masks_of(reference, circuit), fresh_data(case, 1000, seed=1).head(1000)
            slow = train_plainly(Plain(case, reference, circuit, pool), data, masks, arguments.seconds)
            print(f"     plain: {slow}\n     ours:  {train_ours(case, arguments.seconds)}", flush=True)


if __name__ == "__main__":
    main()
