"""What the recipe does, apart from the trainer's speed: `python tests/benchmarks/recipe.py [CASE ...]`.

Both subjects of a case come from this trainer, seed and number of steps. `published` is strict on nodes only, from
the first step, as arXiv 2407.14494 says; `ours` is strict on edges, also under values that no clean run writes, learns
the circuit first and keeps silent nodes loud. Accuracies on 5,000 fresh rows; the last two with all edges outside the
true circuit replaced, and with the worst single one.
"""

from __future__ import annotations

import argparse

from interpbench import load_case
from interpbench.certificate.certify import certify
from interpbench.processes import tune_process
from interpbench.trainers.loop import train
from interpbench.trainers.settings import Config

PUBLISHED = {
    "edges": 0.0,
    "circuit_first": False,
    "silent_scale": 1.0,
    "silent_part": 1.0,
    "positions": 0.0,
    "zeros": 0.0,
    "silent_fixed": False,
    "loudness": 0.0,
    "hint": 0.0,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", default=["3", "11", "2"])
    parser.add_argument("--steps", type=int, default=Config.steps, help="at most so many")
    arguments = parser.parse_args()
    tune_process()
    columns = ("accuracy", "IIA", "silent node", "outside edges", "one edge")
    print(f"{'case':>4} {'recipe':>10} {'steps':>6} " + " ".join(f"{column:>13}" for column in columns))
    for name in arguments.cases:
        case, steps = load_case(name), arguments.steps
        for recipe, settings in {"ours": {}, "published": PUBLISHED}.items():
            trained = train(case, Config(steps=steps, **settings))
            steps = trained.facts["steps"]
            told = certify(case, trained.model, trained.circuit, seed=1, rows=5000)
            measured = told.measurement
            shares = [measured.accuracy, measured.iia_min, measured.strict_min, measured.edges]
            shares.append(told.worst_edge["edges"].accuracy)
            print(f"{name:>4} {recipe:>10} {steps:6d} " + " ".join(f"{share:13.3f}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
