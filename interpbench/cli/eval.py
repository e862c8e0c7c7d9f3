"""`eval`: node effects, the score of a circuit, and realism."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpbench.cases.case import Case
from interpbench.cli.choose import cases, is_one
from interpbench.cli.console import print_json, print_lines, print_table, progress
from interpbench.errors import UsageError
from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.plugins import registry
from interpbench.processes import tune_process
from interpbench.report import charts
from interpbench.runs.score import read_found
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import load_subject
from interpbench.table import cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 20
"""Nodes of a table; the others are in the JSON and in the chart."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Which cases, which model, and how to answer."""

    names: str
    suite: str
    model: str
    plot: Path | None
    force: bool
    as_json: bool


def node_effects(chosen: Chosen, **settings: Any) -> None:
    """Print the effect of every node, the largest first."""
    from interpbench.evaluation.node_effects import NodeEffects
    from interpbench.evaluation.node_effects import node_effects as measure

    def show(found: NodeEffects) -> None:
        pairs = f"{'all ' if found.exhaustive else ''}{found.pairs} pairs with different answers"
        effects = sorted(found.effects.items(), key=lambda each: -(each[1] or 0.0))
        rows = [[node, "circuit" if found.in_circuit[node] else "silent", size] for node, size in effects[:FEW]]
        print_lines([f"case {found.case}, model {found.model}: {found.metric}, {found.ablation} ablation, {pairs}"])
        print_table("", ("node", "", "effect>"), rows)
        for kind, wanted in (("circuit", True), ("silent", False)):
            sizes = [size for node, size in effects if found.in_circuit[node] == wanted and size is not None]
            told = f"from {min(sizes):.3f} to {max(sizes):.3f}" if sizes else "-"
            print_lines([f"{kind}: {len(sizes)} nodes, {told}"])
        print_lines([f"AUROC of circuit against silent nodes: {cell(found.auroc)}"])

    def draw(found: NodeEffects) -> Figure:
        title = f"case {found.case}, {found.model}: effect of each node ({found.ablation})"
        return charts.bars(title, found.metric, found.effects, found.in_circuit)

    _each(chosen, lambda case: measure(load_subject(case, chosen.model), **settings), show, draw)


def circuit(chosen: Chosen, file: Path | None, true: bool, complement: bool, **settings: Any) -> None:
    """Print the score of a circuit: of a file, the true one, or the complement of either."""
    from interpbench.evaluation.circuit_score import Evaluation, evaluate_circuit

    if file is not None and (true or not is_one(chosen.names, chosen.suite)):
        raise UsageError("--file is the circuit of one case, instead of the true one")
    if file is None and not (true or complement):
        raise UsageError("which circuit? expected --file FILE, --true or --complement")

    def measure(case: Case) -> Evaluation:
        subject = load_subject(case, chosen.model)
        found, scores = (subject.circuit, None) if file is None else _read_circuit(file, subject)
        return evaluate_circuit(subject, found, scores, complement=complement, **settings)

    def show(found: Evaluation) -> None:
        what = ("everything but " if complement else "") + ("the true circuit" if file is None else str(file))
        numbers = dataclasses.asdict(found.score) | {"faithfulness": found.faithfulness}
        print_lines([f"case {found.case}, model {found.model}: {what}, by {found.by}, {found.ablation} ablation"])
        print_table("", ("", ""), list(numbers.items()))
        if (mib := found.mib) is not None:
            curve = zip(mib.shares, mib.kept, mib.faithfulness or [None] * len(mib.kept), strict=True)
            print_table("edges by score, embed and pos merged", ("share>", "kept>", "faithfulness>"), list(curve))
            print_lines([f"CPR {cell(mib.cpr)}, CMD {cell(mib.cmd)}, AUROC {cell(found.auroc)}"])

    _each(chosen, measure, show)


def _read_circuit(path: Path, subject: Subject) -> tuple[Circuit, EdgeScores | None]:
    """The circuit that a file singles out, or the whole graph, and the file's scores if it has more than membership."""
    scores, circuit = read_found(path, subject)
    if circuit is None:
        return Circuit(scores.graph, frozenset(scores.graph.edges)), scores
    return circuit, None if (scores.values == circuit.mask()).all() else scores


def realism(chosen: Chosen, technique: str, true: bool, models: str, thresholds: str, **settings: Any) -> None:
    """Print the curves of the models of a case and how they go together."""
    from interpbench.runs.realism import Realism
    from interpbench.runs.realism import realism as measure

    if bool(technique) == true:
        raise UsageError("name a --technique, or --true for the true circuit" + (", not both" if true else ""))
    if true and thresholds:
        raise UsageError("--thresholds are of a technique's scores; the true circuit has none")
    if technique:
        registry.load().technique(technique)
    settings["thresholds"] = _numbers(thresholds)
    wanted = [name.strip() for name in models.split(",") if name.strip()]

    def show(found: Realism) -> None:
        place = "true circuit" if true else "scored above>" if settings["thresholds"] else "share kept>"
        rows = [
            [None if at is None else f"{at:g}", *(curve.scores[i].relative for curve in found.curves.values())]
            for i, at in enumerate(found.at)
        ]
        what = f"accuracy relative to the whole model, by {found.by}, {found.ablation} ablation"
        print_lines([f"case {found.case}: {what}"])
        print_table("", (place, *(f"{name}>" for name in found.curves)), rows)
        for name, curve in found.curves.items():
            print_lines([f"correlation of {name} with natural: {cell(curve.correlation)}"])
        print_lines([f"not there: {reason}" for reason in found.missing.values()])

    def draw(found: Realism) -> Figure:
        curves = {name: [score.relative for score in curve.scores] for name, curve in found.curves.items()}
        labels = "threshold" if settings["thresholds"] else f"share of {found.by} kept", "relative accuracy"
        return charts.lines(f"case {found.case}: {found.technique or 'true circuit'}", labels, found.at, curves)

    _each(chosen, lambda case: measure(case, technique or None, wanted, **settings), show, draw)


def _numbers(text: str) -> list[float]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        raise UsageError(f"thresholds are {text!r}, expected numbers with commas between") from None
    if any(map(math.isnan, numbers)):
        raise UsageError(f"thresholds are {text!r}, expected numbers with commas between")
    return numbers


def _each(
    chosen: Chosen,
    measure: Callable[[Case], Any],
    show: Callable[[Any], None],
    draw: Callable[[Any], Figure] | None = None,
) -> None:
    """Measure every case; then print and draw."""
    tune_process()
    asked = cases(chosen.names, chosen.suite)
    if chosen.plot is not None:
        if not is_one(chosen.names, chosen.suite):
            raise UsageError("--plot draws one case")
        charts.check(chosen.plot, chosen.force)
    found = []
    with progress("eval", len(asked)) as update:
        for done, case in enumerate(asked):
            found.append(measure(case))
            update(done + 1, {})
    if chosen.plot is not None and draw is not None:
        charts.save(draw(found[0]), chosen.plot)
    if chosen.as_json:
        plain = [dataclasses.asdict(each) for each in found]
        print_json(plain[0] if is_one(chosen.names, chosen.suite) else plain)
        return
    for each in found:
        show(each)
