"""Subjects and circuits judged: `eval`, and `score` for files of any tool."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from interpbench.cli.app import Ablation, AsJson, By, Cases, Force, Model, Plot, Samples, Seed, Suite, app


@app.command()
def score(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Circuit file of MIB or EAP-IG (.json, .pt), or ours.")],
    case: Annotated[str, typer.Option(metavar="CASE", help="The case that the circuit is of.")],
    model: Model = "siit",
    absolute: Annotated[bool, typer.Option("--absolute", help="Rank edges by the size of their scores.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge a circuit or edge scores that any tool has found."""
    from interpbench.cli import score

    score.score(file, case, model, absolute, as_json)


evaluations = typer.Typer(help="Measure nodes, circuits, and how realistic subjects are.", no_args_is_help=True)
app.add_typer(evaluations, name="eval")


@evaluations.command("node-effects")
def node_effects(
    case: Cases = "",
    suite: Suite = "",
    model: Model = "siit",
    metric: Annotated[Literal["accuracy", "kl_div", "kl_div_self"], typer.Option(help="What may change.")] = "accuracy",
    ablation: Ablation = "resample",
    samples: Annotated[int, typer.Option(min=1, help="Pairs of inputs; all pairs if there are no more.")] = 1000,
    seed: Seed = 0,
    plot: Plot = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """What changes if one node alone carries another input's value: circuit nodes against silent ones."""
    from interpbench.cli import eval as evaluations

    chosen = evaluations.Chosen(case, suite, model, plot, force, as_json)
    evaluations.node_effects(chosen, metric=metric, ablation=ablation, samples=samples, seed=seed)


@evaluations.command("circuit")
def circuit(
    case: Cases = "",
    suite: Suite = "",
    model: Model = "siit",
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A circuit: scores.json of a run, MIB's JSON, or circuit.json.")
    ] = None,
    true: Annotated[bool, typer.Option("--true", help="The true circuit.")] = False,
    complement: Annotated[bool, typer.Option("--complement", help="All but that circuit.")] = False,
    by: By = "edges",
    ablation: Ablation = "resample",
    samples: Samples = 1000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Accuracy with everything outside a circuit replaced; MIB's numbers if the circuit's file has scores."""
    from interpbench.cli import eval as evaluations

    chosen = evaluations.Chosen(case, suite, model, None, False, as_json)
    settings = {"by": by, "ablation": ablation, "samples": samples, "seed": seed}
    evaluations.circuit(chosen, file, true, complement, **settings)


@evaluations.command("realism")
def realism(
    case: Cases = "",
    suite: Suite = "",
    technique: Annotated[str, typer.Option(metavar="NAME", help="Whose ranking of the edges to follow.")] = "",
    true: Annotated[bool, typer.Option("--true", help="The true circuit instead of a found one.")] = False,
    models: Annotated[
        str, typer.Option(metavar="MODEL,...", help="Kinds of model, or folders.")
    ] = "siit,natural,iit,tracr",
    by: By = "nodes",
    ablation: Ablation = "mean",
    thresholds: Annotated[str, typer.Option(metavar="X,...", help="Keep what scores above; else top shares.")] = "",
    samples: Samples = 1000,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where runs are kept.")] = Path("runs"),
    plot: Plot = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Scores of growing circuits in the models of a case, and how their curves go with the natural model's."""
    from interpbench.cli import eval as evaluations

    chosen = evaluations.Chosen(case, suite, "", plot, force, as_json)
    settings = {"by": by, "ablation": ablation, "samples": samples, "seed": seed, "out": out}
    evaluations.realism(chosen, technique, true, models, thresholds, **settings)
