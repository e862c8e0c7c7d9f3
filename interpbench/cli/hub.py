"""`hub`: published subjects."""

from pathlib import Path
from typing import Annotated

import typer

from interpbench.cli.app import AsJson, Force, app

hub = typer.Typer(help="Published subjects: fetch them, convert them, publish ours.")
app.add_typer(hub, name="hub")


@hub.command()
def pull(
    cases: Annotated[list[str] | None, typer.Argument(metavar="[CASE...]", help="Default: all there are.")] = None,
    repo: Annotated[str, typer.Option(metavar="NAME", help="Repository.")] = "cybershiptrooper/InterpBench",
    revision: Annotated[
        str, typer.Option(metavar="COMMIT", help="Commit, branch or tag.")
    ] = "a1242a84f8a4d07d1be9a8f5ec710415198016b2",
    as_json: AsJson = False,
) -> None:
    """Fetch published subjects and convert them once; then `--model hub` is one of them."""
    from interpbench.cli import hub_commands as hub

    raise typer.Exit(hub.pull(cases or [], repo, revision, as_json))


@hub.command()
def convert(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A published folder (ll_model.pth and so on).")],
    case: Annotated[str, typer.Option(metavar="CASE", help="Default: the name of the folder.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Default: subjects/CASE/hub.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Convert a local folder of the published form into a subject, for `--model FOLDER`."""
    from interpbench.cli import hub_commands as hub

    hub.convert(folder, case, out, force, as_json)


@hub.command()
def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A subject of ours.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Repository, as in `you/name`.")],
    private: Annotated[bool, typer.Option("--private", help="If the repository is made, make it private.")] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Upload a subject with a card for people and the benchmark's metadata."""
    from interpbench.cli import hub_commands as hub

    hub.push(folder, repo, private, force, as_json)
