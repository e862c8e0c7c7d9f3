"""The commands with a subcommand for every technique (`run`) or trainer (`train`); its `Config` is its options."""

import functools
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from interpbench.cli.app import app, help_if_alone
from interpbench.cli.run import run
from interpbench.cli.train import train
from interpbench.errors import InterpbenchError

COMMANDS: dict[str, Callable[..., None]] = {"technique": run, "trainer": train}
"""The command for each kind of plugin object, called with its name, its config and the shared options."""


def _group(kind: str) -> type[TyperGroup]:
    """A Typer group with one subcommand for every plugin object of a kind; the fields of its `Config` are options."""

    class Group(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            from interpbench.plugins.registry import load

            return list(getattr(load(), f"{kind}s"))

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            from interpbench.plugins.options import with_options
            from interpbench.plugins.registry import load

            worker = getattr(load(), kind)(cmd_name)
            single = typer.Typer(add_completion=False)
            try:
                options = with_options(functools.partial(COMMANDS[kind], cmd_name), worker.Config, cmd_name)
            except ValueError as error:
                raise InterpbenchError(f"{kind} {cmd_name} cannot have a command: {error}") from None
            single.command(cmd_name, help=(worker.__doc__ or "").strip())(options)
            return typer.main.get_command(single)

    return Group


for _name, _kind, _help in (
    ("run", "technique", "Find circuits with a technique and judge them. `run TECHNIQUE --help`: its options."),
    ("train", "trainer", "Train a subject and certify it. `train TRAINER --help`: its options."),
):
    app.add_typer(
        typer.Typer(cls=_group(_kind), help=_help, invoke_without_command=True, callback=help_if_alone), name=_name
    )
