"""What computes: `run`, `bench` and `report`, `train` and `verify`. A plugin's `Config` is its command's options."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from interpbench.cli.app import (
    Ablation,
    AsJson,
    Cases,
    Force,
    Model,
    Protocol,
    Resamples,
    Runs,
    Samples,
    Seed,
    Suite,
    Unique,
    app,
)
from interpbench.errors import InterpbenchError


@app.command()
def verify(
    case: Annotated[str, typer.Argument(metavar="[CASE,...]", help="Cases, with commas between.")] = "",
    suite: Suite = "",
    model: Model = "siit",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure the certificates of subjects anew; status 1 if one is not certified."""
    from interpbench.cli import verify as certify

    raise typer.Exit(certify.verify(case, suite, model, seed, as_json))


def _run(
    technique: str,
    config: Any,
    context: typer.Context,
    case: Cases = "",
    suite: Suite = "",
    model: Model = "siit",
    samples: Samples = 1000,
    seed: Seed = 0,
    resamples: Resamples = 1,
    ablation: Ablation = "resample",
    unique: Unique = False,
    protocol: Protocol = "default",
    out: Runs = Path("runs"),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    from interpbench.cli import run as discover

    data = {"samples": samples, "seed": seed, "ablation": ablation, "unique": unique, "protocol": protocol}
    given = {name: value for name, value in vars(config).items() if _was_typed(context, name)}
    settings = data | {"out": out, "force": force} | given
    raise typer.Exit(discover.run(technique, case, suite, model, settings, resamples, as_json))


def _was_typed(context: typer.Context, option: str) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"


@app.command()
def bench(
    techniques: Annotated[str, typer.Option(metavar="NAME,...", help="Techniques, with commas between.")],
    case: Cases = "",
    suite: Suite = "",
    models: Annotated[str, typer.Option(metavar="MODEL,...", help="Models, with commas between.")] = "siit",
    grid: Annotated[
        list[str] | None, typer.Option(metavar="TECHNIQUE.OPTION=VALUE,...", help="Settings to go through.")
    ] = None,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[TECHNIQUE.OPTION=VALUE,...]", help="More of the grid.")
    ] = None,
    samples: Samples = 1000,
    seed: Seed = 0,
    resamples: Resamples = 1,
    ablation: Ablation = "resample",
    unique: Unique = False,
    protocol: Protocol = "default",
    jobs: Annotated[int, typer.Option(min=1, help="Processes at a time.")] = os.cpu_count() or 1,
    out: Runs = Path("runs"),
    certified: Annotated[bool, typer.Option("--certified", help="Leave out subjects without a certificate.")] = False,
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be run, and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run techniques on many cases, over processes, and compare them. What is done already is not done again."""
    from interpbench.cli import bench
    from interpbench.runs.bench import Matrix
    from interpbench.runs.record import Conditions

    methods, kinds = (tuple(filter(None, map(str.strip, text.split(",")))) for text in (techniques, models))
    conditions = Conditions(samples, seed, ablation, unique, protocol)
    matrix = Matrix(methods, kinds, (*(grid or ()), *(more or ())), conditions, resamples, out, certified)
    raise typer.Exit(bench.run(case, suite, matrix, jobs, force, dry_run, as_json))


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Folders of runs.")],
    form: Annotated[
        Literal["text", "csv", "markdown", "json", "html"] | None,
        typer.Option("--format", help="Default: by the ending of --out, or text."),
    ] = None,
    metric: Annotated[str, typer.Option(metavar="NAME", help="What is compared: heads.auroc, paper.area, ...")] = (
        "heads.auroc"
    ),
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there, instead of to stdout.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs: tables, statistics, figures; as text, CSV, Markdown, JSON or one page of HTML."""
    from interpbench.cli import report

    raise typer.Exit(report.report(runs, "json" if as_json else form or "", metric, out, force))


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
    from interpbench.cli import train

    settings = train.Settings(config, out, seeds, jobs, force)
    raise typer.Exit(train.train(trainer, case, suite, settings, as_json))


COMMANDS: dict[str, Callable[..., None]] = {"technique": _run, "trainer": _train}
"""What is done with a thing of a kind that plugins provide; first its name, then `config`, then options of all."""


def _group(kind: str) -> type[TyperGroup]:
    """A group with one subcommand for everything of a kind that plugins provide; its `Config` is its options."""

    class Group(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            from interpbench.plugins.registry import load

            return list(getattr(load(), f"{kind}s"))

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            from interpbench.plugins.options import with_options
            from interpbench.plugins.registry import load

            thing = getattr(load(), kind)(cmd_name)
            single = typer.Typer(add_completion=False)
            try:
                options = with_options(functools.partial(COMMANDS[kind], cmd_name), thing.Config, cmd_name)
            except ValueError as error:
                raise InterpbenchError(f"{kind} {cmd_name} cannot have a command: {error}") from None
            single.command(cmd_name, help=(thing.__doc__ or "").strip())(options)
            return typer.main.get_command(single)

    return Group


for _name, _kind, _help in (
    ("run", "technique", "Find circuits with a technique and judge them. `run TECHNIQUE --help`: its options."),
    ("train", "trainer", "Make a subject with a trainer. `train TRAINER --help`: its options."),
):
    app.add_typer(typer.Typer(cls=_group(_kind), help=_help), name=_name)
