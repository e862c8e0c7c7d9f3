"""The command line. Each command is a few lines; what is heavy is imported inside.

Results go to stdout (`--json` for machines), progress and errors to stderr. Status 0: good, 1: something failed or
fell short, 2: a mistake in what was asked.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from interpbench.errors import InterpbenchError, UsageError

app = typer.Typer(
    help="Circuit discovery on transformers whose true circuit is known.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

CaseName = Annotated[str, typer.Argument(metavar="CASE", help="Name of a case; see `interpbench list`.")]
Cases = Annotated[str, typer.Option("--case", metavar="CASE,...", help="Cases, with commas between.")]
Suite = Annotated[str, typer.Option("--suite", metavar="NAME", help="All cases of a suite.")]
Model = Annotated[str, typer.Option("--model", metavar="MODEL", help="Kind of subject (siit, tracr, ...) or a folder.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the data.")]
Samples = Annotated[int, typer.Option("--samples", min=1, help="Pairs of clean and corrupted inputs.")]
Ablation = Annotated[Literal["resample", "mean", "zero"], typer.Option("--ablation", help="What a cut edge carries.")]
By = Annotated[Literal["nodes", "edges"], typer.Option("--by", help="Replace nodes, or single edges.")]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw a chart (svg, png or pdf).")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> None:
    """Run the command line and end the process with its status."""
    try:
        status = app(standalone_mode=False)
    except InterpbenchError as error:
        status = _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except typer.TyperException as error:
        status = _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except BrokenPipeError:  # whoever read our output has gone: nothing more can be written, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)


def _fail(message: str, status: int) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return status


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        from interpbench import __version__

        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


lists = typer.Typer(help="List cases, techniques and trainers, or one kind: `list models`.")
app.add_typer(lists, name="list")


def _list(what: str) -> Callable[..., None]:
    def command(context: typer.Context, as_json: AsJson = False) -> None:
        if context.invoked_subcommand is None:
            from interpbench.commands import inventory

            inventory.list_(what, as_json)

    return command


lists.callback(invoke_without_command=True)(_list("all"))
for _part in ("cases", "techniques", "trainers", "models", "suites"):
    lists.command(_part, help=f"List the {_part}.")(_list(_part))


@app.command()
def plugins(as_json: AsJson = False) -> None:
    """List the installed plugins: what they provide, or why they are broken."""
    from interpbench.commands import inventory

    inventory.plugins(as_json)


@app.command()
def show(
    case: CaseName,
    model: Annotated[str, typer.Option(metavar="MODEL", help="Kind of subject or a folder (default: the first).")] = "",
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw the true circuit.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Describe a case: shapes, true circuit, and the certificate of its subject."""
    from interpbench.commands import describe

    describe.show(case, model, plot, force, as_json)


@app.command("try")
def try_(
    case: CaseName,
    tokens: Annotated[list[str], typer.Argument(metavar="TOKEN...", help="One input, without BOS.")],
    model: Annotated[str, typer.Option(metavar="MODEL", help="Kind of subject or a folder (default: the first).")] = "",
    as_json: AsJson = False,
) -> None:
    """Show what the program, its reference and the subject answer for one input."""
    from interpbench.commands import describe

    describe.try_(case, tokens, model, as_json)


@app.command()
def verify(
    case: Annotated[str, typer.Argument(metavar="[CASE,...]", help="Cases, with commas between.")] = "",
    suite: Suite = "",
    model: Model = "siit",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure the certificates of subjects anew; status 1 if one is not certified."""
    from interpbench.commands import certify

    raise typer.Exit(certify.verify(case, suite, model, seed, as_json))


def _run(
    technique: str,
    config: Any,
    case: Cases = "",
    suite: Suite = "",
    model: Model = "siit",
    samples: Samples = 1000,
    seed: Seed = 0,
    ablation: Ablation = "resample",
    unique: Annotated[bool, typer.Option("--unique", help="Draw no clean input twice.")] = False,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where runs are kept.")] = Path("runs"),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    from interpbench.commands import discover

    data = {"samples": samples, "seed": seed, "ablation": ablation, "unique": unique}
    settings = data | {"out": out, "force": force, "config": config}
    raise typer.Exit(discover.run(technique, case, suite, model, settings, as_json))


def _train(
    trainer: str,
    config: Any,
    case: Cases = "",
    suite: Suite = "",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Default: subjects/CASE/TRAINER. For several cases: instead of subjects."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds to try; the best certificate is kept.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at a time, for several cases.")] = 1,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    from interpbench.commands import train

    settings = train.Settings(config, out, seeds, jobs, force)
    raise typer.Exit(train.train(trainer, case, suite, settings, as_json))


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
    from interpbench.commands import evaluations

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
    from interpbench.commands import evaluations

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
    from interpbench.commands import evaluations

    chosen = evaluations.Chosen(case, suite, "", plot, force, as_json)
    settings = {"by": by, "ablation": ablation, "samples": samples, "seed": seed, "out": out}
    evaluations.realism(chosen, technique, true, models, thresholds, **settings)


def _group(kind: str, command: Callable[..., None]) -> type[TyperGroup]:
    """A group with one subcommand for everything of a kind that plugins provide; its `Config` is its options."""

    class Group(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            from interpbench.plugins import load

            return list(getattr(load(), f"{kind}s"))

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            from interpbench.options import with_options
            from interpbench.plugins import load

            thing = getattr(load(), kind)(cmd_name)
            single = typer.Typer(add_completion=False)
            options = with_options(functools.partial(command, cmd_name), thing.Config, cmd_name)
            single.command(cmd_name, help=(thing.__doc__ or "").strip())(options)
            return typer.main.get_command(single)

    return Group


for _name, _kind, _command, _help in (
    ("run", "technique", _run, "Find circuits with a technique and judge them. `run TECHNIQUE --help`: its options."),
    ("train", "trainer", _train, "Make a subject with a trainer. `train TRAINER --help`: its options."),
):
    app.add_typer(typer.Typer(cls=_group(_kind, _command), help=_help), name=_name)
