"""`plugins`: the installed plugins, and `plugins new`, which starts one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from interpbench.cli.app import AsJson, app
from interpbench.cli.console import print_json, print_lines, print_table
from interpbench.errors import UsageError

plugins = typer.Typer(help="List the installed plugins: what they provide, or why they are broken; start a new one.")
app.add_typer(plugins, name="plugins")


@plugins.callback(invoke_without_command=True)
def _plugins(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is not None:
        return
    from interpbench.catalogue.inventory import PARTS
    from interpbench.plugins.registry import load

    rows = PARTS["plugins"](load())
    if as_json:
        print_json({"plugins": rows})
        return
    shown = [[row["name"], row["distribution"], row["version"], row["error"] or _provides(row)] for row in rows]
    print_table("plugins", ("name", "distribution", "version", "provides, or why it is broken"), shown)


def _provides(plugin: dict[str, Any]) -> str:
    kinds = ("cases", "trainers", "techniques")
    provides = [f"{kind}: {', '.join(plugin[kind])}" for kind in kinds if plugin[kind]]
    contested = [f"{name} is provided twice and refused" for name in plugin["contested"]]
    return "; ".join([*provides, *["follows progress"] * plugin["progress"], *contested])


@plugins.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: lower-case letters, digits, _.")],
    technique: Annotated[bool, typer.Option("--technique", help="A technique (the default).")] = False,
    case: Annotated[bool, typer.Option("--case", help="A case.")] = False,
    trainer: Annotated[bool, typer.Option("--trainer", help="A trainer.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the package of a new plugin into interpbench-NAME: it installs, runs, and passes its own tests."""
    from interpbench.plugins import scaffold

    chosen = [kind for kind, wanted in zip(scaffold.KINDS, (technique, case, trainer), strict=True) if wanted]
    if len(chosen) > 1:
        raise UsageError(f"--{' and --'.join(chosen)}: one kind at a time")
    kind = chosen[0] if chosen else "technique"
    folder = scaffold.write(name, kind, Path.cwd())
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    if as_json:
        print_json({"name": name, "kind": kind, "folder": str(folder), "files": files})
        return
    first_use = {"technique": f"run {name} --case 3", "trainer": f"train {name} --case 3", "case": f"show {name}"}
    print_lines(
        [
            f"{folder.name}: a {kind} that works; replace its algorithm with yours",
            f"  pip install -e './{folder.name}[test]'",
            f"  python -m pytest {folder.name}",
            f"  interpbench {first_use[kind]}",
        ]
    )
