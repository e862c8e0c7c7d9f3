"""`list`: cases, properties, techniques, trainers, models and suites. Imports nothing that computes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from interpbench.cli.app import AsJson, app
from interpbench.cli.console import print_json, print_lines, print_table

if TYPE_CHECKING:
    from interpbench.plugins.registry import Registry

COLUMNS = {
    "cases": ("name", "output", "n_ctx", "circuit_size", "models", "suites", "description"),
    "properties": ("name", "what", "aimed_at", "levels"),
    "techniques": ("name", "description"),
    "trainers": ("name", "description"),
    "models": (
        *("case", "model", "certified", "version", "accuracy>", "iia_min>", "strict_min>", "edges>"),
        *("positions>", "zero>", "exclusive>", "steps>", "seconds>"),
    ),
    "suites": ("name", "version", "description", "cases"),
}
"""The columns of each table; > aligns to the right."""

lists = typer.Typer(help="List cases, properties, techniques and trainers, or one kind: `list models`.")
app.add_typer(lists, name="list")


def _command(part: str) -> Callable[..., None]:
    def command(context: typer.Context, as_json: AsJson = False) -> None:
        if context.invoked_subcommand is None:
            _list(part, as_json)

    return command


lists.callback(invoke_without_command=True)(_command("all"))
for _part in COLUMNS:
    if _part != "cases":
        lists.command(_part, help=f"List the {_part}.")(_command(_part))


@lists.command("cases")
def list_cases(
    format: Annotated[Literal["table", "json", "csv", "croissant"], typer.Option(help="Format of the list.")] = "table",
    as_json: AsJson = False,
) -> None:
    """List the cases; as CSV or Croissant (JSON-LD) for other catalogues."""
    if as_json or format in ("table", "json"):
        _list("cases", as_json or format == "json")
        return
    from interpbench.catalogue.croissant import cases_csv, croissant
    from interpbench.plugins.registry import load

    cases = load().cases.values()
    if format == "csv":
        print(cases_csv(cases), end="")
    else:
        print_json(croissant(cases))


def _list(part: str, as_json: bool) -> None:
    """Print one part of the inventory, or all of it."""
    from interpbench.catalogue.inventory import PARTS, inventory
    from interpbench.plugins.registry import load

    registry = load()
    if as_json:
        print_json(inventory(registry) if part == "all" else {part: PARTS[part](registry)})
        return
    if part == "all":
        _print_short(registry)
    for each in ("properties", "techniques", "trainers") if part == "all" else (part,):
        rows = [[row[column.rstrip(">")] for column in COLUMNS[each]] for row in PARTS[each](registry)]
        print_table(each, COLUMNS[each], rows)
    broken = [plugin.name for plugin in registry.plugins if plugin.error]
    if broken:
        print_lines([f"broken plugins: {', '.join(broken)}; see `interpbench plugins`"])
    if registry.contested:
        print_lines([f"provided twice and refused: {', '.join(registry.contested)}; see `interpbench plugins`"])


def _print_short(registry: "Registry") -> None:
    """The cases in three columns: all columns of all cases, from their cards, would take longer than the rest."""
    from interpbench.subjects.zoo import models

    rows = [[case.name, models(case), case.description] for case in registry.cases.values()]
    print_table("cases", ("name", "models", "description"), rows)
