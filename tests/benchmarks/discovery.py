"""Our techniques beside plain implementations, in one run: `python tests/benchmarks/discovery.py 3 11 2`.

CPU seconds of one thread. The models are bundled subjects, or with --model tracr the compiled references. EAP-IG goes
over masks, with one pass for each point in the plain one, and in the one through hooks of TransformerLens (extra
`lens`); plain ACDC takes one pass for each edge; plain SP is the published one, full batches at one rate.
"""

from __future__ import annotations

import argparse
import importlib.util
import time

import numpy as np
import plain

from interpbench import load_case, load_subject
from interpbench.cases.pairs import scored_positions
from interpbench.problem import make_problem
from interpbench.processes import tune_process
from interpbench_acdc import Acdc
from interpbench_acdc.algorithm import visiting_order
from interpbench_eap import Eap
from interpbench_eap.algorithm import attribute
from interpbench_sp import Sp


def seconds(work, repeats=1):
    """What `work` returns, and the least CPU seconds it took."""
    took = []
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        took.append(time.process_time() - start)
    return result, min(took)


def compare_eap(problem, loss, arguments):
    theirs, slow = seconds(lambda: plain.plain_eap(problem, loss), repeats=3)
    ours, fast = seconds(lambda: attribute(problem, Eap.Config(), loss), repeats=3)
    return slow, fast, difference(ours.numpy(), theirs)


def compare_eap_ig(problem, loss, arguments):
    return _compare_eap_ig(problem, loss, arguments, plain.plain_eap_ig)


def compare_eap_ig_hooks(problem, loss, arguments):
    model = Hooked(problem.model)
    return _compare_eap_ig(problem, loss, arguments, lambda *rest: hooks.hooked_eap_ig(model, *rest))


def _compare_eap_ig(problem, loss, arguments, other):
    theirs, slow = seconds(lambda: other(problem, loss, arguments.points), repeats=3)
    config = Eap.Config(ig="masks", ig_steps=arguments.points)
    ours, fast = seconds(lambda: attribute(problem, config, loss), repeats=3)
    return slow, fast, difference(ours.numpy(), theirs)


def compare_acdc(problem, loss, arguments):
    order = visiting_order(problem.graph)
    (left, _), slow = seconds(lambda: plain.plain_acdc(problem, problem.faithfulness_loss, arguments.tau, order))
    ours, fast = seconds(lambda: Acdc().discover(problem, Acdc.Config(tau=(arguments.tau,))))
    return slow, fast, f"{len(left ^ ours.circuit.edges)} of {len(left)} edges differ"


def compare_sp(problem, loss, arguments):
    ours, fast = seconds(lambda: Sp().discover(problem, Sp.Config()))
    weight = ours.notes["lambda_scale"] * ours.notes["lambda"][0]
    left, slow = seconds(lambda: plain.plain_sp(problem, problem.faithfulness_loss, weight, arguments.steps))
    told = (
        f"{len(left ^ ours.circuit.edges)} of {len(left)} edges differ; {arguments.steps} and {ours.notes['steps'][0]}"
    )
    return slow, fast, f"{told} steps"


def difference(ours, theirs):
    return f"relative difference {np.abs(ours - theirs).max() / np.abs(theirs).max():.1e}"


TECHNIQUES = {"eap": compare_eap, "eap-ig": compare_eap_ig, "acdc": compare_acdc, "sp": compare_sp}
if importlib.util.find_spec("transformer_lens"):
    import hooks

    from interpbench.transformer.lens import Hooked

    TECHNIQUES["eap-ig-hooks"] = compare_eap_ig_hooks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", default=["3", "4"])
    parser.add_argument("--techniques", default=",".join(TECHNIQUES))
    parser.add_argument("--model", default="siit")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--tau", type=float, default=1e-4)
    parser.add_argument("--points", type=int, default=5, help="of EAP-IG")
    parser.add_argument("--steps", type=int, default=300, help="of plain SP")
    arguments = parser.parse_args()
    tune_process()
    print(f"{'case':>6} {'what':<12} {'plain s':>9} {'ours s':>9} {'ratio':>7}  agreement")
    for name in arguments.cases:
        case, subject = load_case(name), load_subject(name, arguments.model)
        clean, corrupted = case.pairs(arguments.samples, 0)
        problem = make_problem(subject.model, clean, corrupted, case.output, scored_positions(case, clean))
        loss = "logit-diff" if case.output == "categorical" else "shift"
        for technique in arguments.techniques.split(","):
            slow, fast, told = TECHNIQUES[technique](problem, loss, arguments)
            print(f"{name:>6} {technique:<12} {slow:9.3f} {fast:9.3f} {slow / fast:7.1f}  {told}", flush=True)


if __name__ == "__main__":
    main()
