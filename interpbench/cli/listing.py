"""What there is: `list`, `plugins`, `show`, `try`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from interpbench.cli.app import AsJson, CaseName, Force, app
from interpbench.errors import UsageError

lists = typer.Typer(help="List cases, techniques and trainers, or one kind: `list models`.")
app.add_typer(lists, name="list")


def _list(what: str) -> Callable[..., None]:
    def command(context: typer.Context, as_json: AsJson = False) -> None:
        if context.invoked_subcommand is None:
            from interpbench.cli import list as inventory

            inventory.list_(what, as_json)

    return command


lists.callback(invoke_without_command=True)(_list("all"))
for _part in ("techniques", "trainers", "models", "suites"):
    lists.command(_part, help=f"List the {_part}.")(_list(_part))


@lists.command("cases")
def list_cases(
    format: Annotated[Literal["table", "json", "csv", "croissant"], typer.Option(help="Form of the list.")] = "table",
    as_json: AsJson = False,
) -> None:
    """List the cases; as CSV or Croissant (JSON-LD) for other catalogues."""
    from interpbench.cli import list as inventory

    inventory.list_cases("json" if as_json else format)


plugins = typer.Typer(help="List the installed plugins: what they provide, or why they are broken; start a new one.")
app.add_typer(plugins, name="plugins")


@plugins.callback(invoke_without_command=True)
def _plugins(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        from interpbench.cli import list as inventory

        inventory.plugins(as_json)


@plugins.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called: lower-case letters, digits, _.")],
    technique: Annotated[bool, typer.Option("--technique", help="A technique (the default).")] = False,
    case: Annotated[bool, typer.Option("--case", help="A case.")] = False,
    trainer: Annotated[bool, typer.Option("--trainer", help="A trainer.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the package of a new plugin into interpbench-NAME: it installs, runs, and passes its own tests."""
    from interpbench.cli import plugins as scaffold

    chosen = [kind for kind, wanted in zip(scaffold.KINDS, (technique, case, trainer), strict=True) if wanted]
    if len(chosen) > 1:
        raise UsageError(f"--{' and --'.join(chosen)}: one kind at a time")
    scaffold.new(name, chosen[0] if chosen else "technique", as_json)


@app.command()
def show(
    case: CaseName,
    model: Annotated[str, typer.Option(metavar="MODEL", help="Kind of subject or a folder (default: the first).")] = "",
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw the true circuit.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Describe a case: shapes, true circuit, and the certificate of its subject."""
    from interpbench.cli import show as describe

    describe.show(case, model, plot, force, as_json)


@app.command("try")
def try_(
    case: CaseName,
    tokens: Annotated[list[str], typer.Argument(metavar="TOKEN...", help="One input, without BOS.")],
    model: Annotated[str, typer.Option(metavar="MODEL", help="Kind of subject or a folder (default: the first).")] = "",
    as_json: AsJson = False,
) -> None:
    """Show what the program, its reference and the subject answer for one input."""
    from interpbench.cli import show as describe

    describe.try_(case, tokens, model, as_json)
