"""Our EAP and ACDC beside plain implementations, in one run: `python tests/benchmarks/discovery.py`.

CPU seconds of one thread. The models are bundled subjects, or with --model tracr the compiled references.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import plain

from interpbench import load_case, load_subject
from interpbench.interventions import scored_positions
from interpbench.problem import make_problem
from interpbench.process import tune_process
from interpbench_acdc import Acdc
from interpbench_acdc.algorithm import visiting_order
from interpbench_eap import Eap
from interpbench_eap.algorithm import attribute


def seconds(work, repeats=1):
    """What `work` returns, and the least CPU seconds it took."""
    took = []
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        took.append(time.process_time() - start)
    return result, min(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", default=["3", "4"])
    parser.add_argument("--model", default="siit")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--tau", type=float, default=1e-4)
    arguments = parser.parse_args()
    tune_process()
    print(f"{'case':>6} {'what':<6} {'plain s':>9} {'ours s':>9} {'ratio':>7}  agreement")
    for name in arguments.cases:
        case, subject = load_case(name), load_subject(name, arguments.model)
        clean, corrupted = case.pairs(arguments.samples, 0)
        problem = make_problem(subject.model, clean, corrupted, case.output, scored_positions(case, clean))
        loss = "logit-diff" if case.output == "categorical" else "shift"
        theirs, slow = seconds(lambda: plain.plain_eap(problem, loss), repeats=3)
        ours, fast = seconds(lambda: attribute(problem, Eap.Config(), loss), repeats=3)
        apart = np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max()
        print(f"{name:>6} {'eap':<6} {slow:9.3f} {fast:9.3f} {slow / fast:7.1f}  relative difference {apart:.1e}")

        acdc, order = Acdc.Config(tau=(arguments.tau,)), visiting_order(problem.graph)
        (left, _), slow = seconds(lambda: plain.plain_acdc(problem, problem.faithfulness, arguments.tau, order))
        ours, fast = seconds(lambda: Acdc().discover(problem, acdc))
        same = len(left ^ ours.circuit.edges)
        print(f"{name:>6} {'acdc':<6} {slow:9.3f} {fast:9.3f} {slow / fast:7.1f}  {same} of {len(left)} edges differ")


if __name__ == "__main__":
    main()
