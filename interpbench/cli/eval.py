"""`eval`: node effects, the score of a circuit, and realism."""

import math
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from interpbench.cli.app import (
    Ablation,
    AsJson,
    By,
    Cases,
    Force,
    Model,
    Plot,
    Runs,
    Samples,
    Seed,
    Suite,
    app,
    help_if_alone,
)
from interpbench.cli.choose import Choice, split
from interpbench.cli.console import STOPPED, Stoppable, print_json, print_lines, print_table, progress
from interpbench.errors import InterpbenchError, UsageError
from interpbench.table import cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from interpbench.cases.case import Case
    from interpbench.evaluation.circuit_score import Evaluation
    from interpbench.evaluation.node_effects import NodeEffects
    from interpbench.graph.circuit import Circuit, EdgeScores
    from interpbench.runs.realism import Realism
    from interpbench.subjects.subject import Subject

FEW = 20
"""Nodes in the printed table; JSON and chart have all."""

Told = Callable[[dict[str, Any]], None]
"""Called with numbers while a case is measured."""

evaluations = typer.Typer(
    help="Measure nodes, circuits, and how realistic subjects are.",
    invoke_without_command=True,
    callback=help_if_alone,
)
app.add_typer(evaluations, name="eval")


@evaluations.command("node-effects")
def node_effects(
    case: Cases = "",
    suite: Suite = "",
    model: Model = "siit",
    metric: Annotated[Literal["accuracy", "kl_div", "kl_div_self"], typer.Option(help="The effect.")] = "accuracy",
    ablation: Ablation = "resample",
    samples: Annotated[int, typer.Option(min=1, help="Pairs of inputs; all pairs if there are no more.")] = 1000,
    seed: Seed = 0,
    plot: Plot = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Effect of ablating each node alone: circuit nodes against silent ones."""
    from interpbench.evaluation.node_effects import node_effects as measure
    from interpbench.report import charts
    from interpbench.subjects.zoo import load_subject

    def effects(case: "Case", _: Told) -> "NodeEffects":
        return measure(load_subject(case, model), metric=metric, ablation=ablation, samples=samples, seed=seed)

    def draw(found: "NodeEffects") -> "Figure":
        title = f"case {found.case}, {found.model}: effect of each node ({found.ablation})"
        return charts.bars(title, found.metric, found.effects, found.in_circuit)

    choice = Choice(case, suite)
    _evaluate(choice, choice.cases_with(model), effects, _print_effects, as_json, _Chart(plot, force, draw))


def _print_effects(found: "NodeEffects") -> None:
    """The largest effects, and their range in the circuit and outside."""
    pairs = f"{'all ' if found.exhaustive else ''}{found.pairs} pairs with different answers"
    effects = sorted(found.effects.items(), key=lambda each: -(each[1] or 0.0))
    rows = [[node, "circuit" if found.in_circuit[node] else "silent", size] for node, size in effects[:FEW]]
    print_lines([f"case {found.case}, model {found.model}: {found.metric}, {found.ablation} ablation, {pairs}"])
    print_table("", ("node", "", "effect>"), rows)
    for kind, wanted in (("circuit", True), ("silent", False)):
        sizes = [size for node, size in effects if found.in_circuit[node] == wanted and size is not None]
        span = f"from {min(sizes):.3f} to {max(sizes):.3f}" if sizes else "-"
        print_lines([f"{kind}: {len(sizes)} nodes, {span}"])
    print_lines([f"AUROC of circuit against silent nodes: {cell(found.auroc)}"])


@evaluations.command("circuit")
def circuit(
    case: Cases = "",
    suite: Suite = "",
    model: Model = "siit",
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A circuit: scores.json of a run, MIB's JSON, or circuit.json.")
    ] = None,
    true: Annotated[bool, typer.Option("--true", help="The true circuit.")] = False,
    complement: Annotated[bool, typer.Option("--complement", help="All edges outside that circuit.")] = False,
    absolute: Annotated[bool, typer.Option("--absolute", help="Rank edges by the size of their scores.")] = False,
    by: By = "edges",
    ablation: Ablation = "resample",
    samples: Samples = 1000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Accuracy with everything outside a circuit ablated; MIB's metrics if the circuit's file has scores."""
    from interpbench.evaluation.circuit_score import evaluate_circuit
    from interpbench.subjects.zoo import load_subject

    choice = Choice(case, suite)
    if file is not None and (true or not choice.is_one):
        raise UsageError("--file is the circuit of one case, instead of the true one")
    if file is None and absolute:
        raise UsageError("--absolute ranks the scores of a --file; the true circuit has none")
    if file is None and not (true or complement):
        raise UsageError("which circuit? expected --file FILE, --true or --complement")

    def measure(case: "Case", _: Told) -> "Evaluation":
        subject = load_subject(case, model)
        found, scores = (subject.circuit, None) if file is None else _read_circuit(file, subject)
        if absolute and scores is None:
            raise UsageError(f"{file} has no scores that --absolute could rank")
        settings: dict[str, Any] = {"by": by, "ablation": ablation, "samples": samples, "seed": seed}
        return evaluate_circuit(subject, found, scores, complement=complement, absolute=absolute, **settings)

    what = ("everything but " if complement else "") + ("the true circuit" if file is None else str(file))
    _evaluate(choice, choice.cases_with(model), measure, lambda found: _print_score(found, what), as_json)


def _read_circuit(path: Path, subject: "Subject") -> "tuple[Circuit, EdgeScores | None]":
    """The circuit in a file, or the whole graph if it has none, and its scores unless they only state membership."""
    from interpbench.graph.circuit import Circuit
    from interpbench.runs.score import read_found

    content = read_found(path, subject)
    scores, circuit = content.scores, content.circuit
    if circuit is None:
        return Circuit(scores.graph, frozenset(scores.graph.edges)), scores
    return circuit, None if (scores.values == circuit.mask()).all() else scores


def _print_score(found: "Evaluation", what: str) -> None:
    from dataclasses import asdict

    numbers = asdict(found.score) | {"faithfulness": found.faithfulness}
    print_lines([f"case {found.case}, model {found.model}: {what}, by {found.by}, {found.ablation} ablation"])
    print_table("", ("", ""), list(numbers.items()))
    if (mib := found.mib) is not None:
        curve = zip(mib.shares, mib.kept, mib.faithfulness or [None] * len(mib.kept), strict=True)
        ranked = "absolute score" if found.absolute else "score"
        print_table(f"edges by {ranked}, embed and pos merged", ("share>", "kept>", "faithfulness>"), list(curve))
        print_lines([f"CPR {cell(mib.cpr)}, CMD {cell(mib.cmd)}, AUROC {cell(found.auroc)}"])


@evaluations.command("realism")
def realism(
    case: Cases = "",
    suite: Suite = "",
    technique: Annotated[str, typer.Option(metavar="NAME", help="The technique that ranks the edges.")] = "",
    true: Annotated[bool, typer.Option("--true", help="The true circuit instead of a found one.")] = False,
    models: Annotated[
        str, typer.Option(metavar="MODEL,...", help="Kinds of model, or folders.")
    ] = "siit,natural,iit,tracr",
    by: By = "nodes",
    ablation: Ablation = "mean",
    thresholds: Annotated[
        str, typer.Option(metavar="X,...", help="Keep scores above each of these. Default: the top shares.")
    ] = "",
    samples: Samples = 1000,
    seed: Seed = 0,
    out: Runs = Path("runs"),
    plot: Plot = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Accuracy of growing circuits in each model of a case, correlated with the naturally trained model's."""
    from interpbench.plugins import registry
    from interpbench.runs.realism import realism as measure

    if bool(technique) == true:
        raise UsageError("name a --technique, or --true for the true circuit" + (", not both" if true else ""))
    if true and thresholds:
        raise UsageError("--thresholds apply to a technique's scores; the true circuit has none")
    if technique:
        registry.load().technique(technique)
    limits, kinds = _numbers(thresholds), split(models)

    def curves(case: "Case", told: Told) -> "Realism":
        settings: dict[str, Any] = {"by": by, "ablation": ablation, "samples": samples, "seed": seed, "out": out}
        return measure(case, technique or None, kinds, thresholds=limits, **settings, progress=told)

    place = "true circuit" if true else "scored above>" if limits else "share kept>"
    chart = _Chart(plot, force, lambda found: _curves(found, "threshold" if limits else f"share of {by} kept"))
    choice = Choice(case, suite)
    _evaluate(choice, choice.cases(), curves, lambda found: _print_realism(found, place), as_json, chart)


def _print_realism(found: "Realism", place: str) -> None:
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


def _curves(found: "Realism", x: str) -> "Figure":
    from interpbench.report import charts

    curves = {name: [score.relative for score in curve.scores] for name, curve in found.curves.items()}
    title = f"case {found.case}: {found.technique or 'true circuit'}"
    return charts.lines(title, (x, "relative accuracy"), found.at, curves)


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(word) for word in split(text)]
    except ValueError:
        numbers = [math.nan]
    if any(map(math.isnan, numbers)):
        raise UsageError(f"thresholds are {text!r}, expected numbers with commas between")
    return numbers


class _Chart(NamedTuple):
    """A chart of what is measured on a single case; without a path nothing is drawn."""

    path: Path | None = None
    force: bool = False
    draw: "Callable[[Any], Figure] | None" = None

    def check(self, choice: Choice) -> None:
        """Raise UsageError for several cases, a path that does not fit, or a missing extra: before measuring."""
        from interpbench.report import charts

        if self.path is not None:
            if not choice.is_one:
                raise UsageError("--plot draws one case")
            charts.check(self.path, self.force)

    def save(self, found: Any) -> None:
        """Draw and write the chart."""
        from interpbench.report import charts

        if self.path is not None and self.draw is not None:
            charts.save(self.draw(found), self.path, self.force)


NO_CHART = _Chart()


def _evaluate(
    choice: Choice,
    cases: "list[Case]",
    measure: "Callable[[Case, Told], Any]",
    show: Callable[[Any], None],
    as_json: bool,
    chart: _Chart = NO_CHART,
) -> None:
    """Measure every case; then draw and print. One of several that fails is told at the end; the others continue."""
    from interpbench.processes import tune_process

    tune_process()
    chart.check(choice)
    found, errors = [], []
    with Stoppable() as work, progress("eval", [case.name for case in cases]) as update:
        for case in cases:
            update(case.name, None, "")
            try:
                with redirect_stdout(sys.stderr):  # stdout is for results, not for what a technique prints
                    found.append(measure(case, lambda facts, name=case.name: update(name, facts, "")))
                update(case.name, None, "done")
            except InterpbenchError as error:
                if choice.is_one:
                    raise
                errors.append(f"case {case.name} failed: {error}")
                update(case.name, None, "failed")
    if found:
        chart.save(found[0])
    if as_json:
        from dataclasses import asdict

        plain = [asdict(each) for each in found]
        print_json(plain[0] if choice.is_one and plain else plain)
    else:
        for each in found:
            show(each)
    print_lines(errors, to="stderr")
    if errors or work.stopped:
        raise typer.Exit(STOPPED if work.stopped else 1)
