"""`hub`: published subjects fetched and converted, and ours published."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interpbench.cli.app import AsJson, Force, app, help_if_alone
from interpbench.cli.console import print_json, print_lines, print_table, progress
from interpbench.errors import InterpbenchError, UsageError

if TYPE_CHECKING:
    from interpbench.cases.case import Case

hub = typer.Typer(
    help="Published subjects: fetch them, convert them, publish ours.",
    invoke_without_command=True,
    callback=help_if_alone,
)
app.add_typer(hub, name="hub")


@hub.command()
def pull(
    cases: Annotated[list[str] | None, typer.Argument(metavar="[CASE...]", help="Default: all published.")] = None,
    repo: Annotated[str, typer.Option(metavar="NAME", help="Repository.")] = "cybershiptrooper/InterpBench",
    revision: Annotated[
        str, typer.Option(metavar="COMMIT", help="Commit, branch or tag.")
    ] = "a1242a84f8a4d07d1be9a8f5ec710415198016b2",
    as_json: AsJson = False,
) -> None:
    """Fetch published subjects and convert them; `--model hub` then uses them. Converted subjects are skipped."""
    from interpbench.plugins.registry import load_case
    from interpbench.subjects.zoo import UNCERTIFIED

    rows = _pull_all([load_case(name) for name in dict.fromkeys(cases or ())], repo, revision)
    failed = [row for row in rows if "error" in row]
    if as_json:
        print_json({"repository": repo, "revision": revision, "cases": rows})
    else:
        states = [(row["case"], row["state"]) for row in rows if row not in failed]
        print_table(f"{repo} at {revision[:12]}", ("case", ""), states)
        print_lines([UNCERTIFIED])
        print_lines([f"case {row['case']} failed: {row['error']}" for row in failed], to="stderr")
    if failed:
        raise typer.Exit(1)


def _pull_all(cases: "list[Case]", repo: str, revision: str) -> list[dict[str, str]]:
    """What became of each case, or of all that the repository holds. Raises InterpbenchError if the only one fails.

    The hub is not contacted if all the cases have been converted.
    """
    from interpbench.hub.pull import is_here, open_repository
    from interpbench.hub.pull import pull as pull_one
    from interpbench.plugins.registry import load

    single, opened = len(cases) == 1, None
    if not cases or not all(is_here(case, repo, revision) for case in cases):
        opened = open_repository(repo, revision)
        cases = cases or opened.cases(load().cases)
    rows: list[dict[str, str]] = []
    with progress("hub pull", [case.name for case in cases]) as update:
        for case in cases:
            update(case.name, None, "")
            try:
                fetched = opened is not None and pull_one(case, opened)
                rows.append({"case": case.name, "state": "converted" if fetched else "there already"})
            except InterpbenchError as error:
                if single:
                    raise
                rows.append({"case": case.name, "state": "failed", "error": str(error)})
            update(case.name, None, rows[-1]["state"])
    return rows


@hub.command()
def convert(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A published folder (ll_model.pth and so on).")],
    case: Annotated[str, typer.Option(metavar="CASE", help="Default: the name of the folder.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Default: subjects/CASE/hub.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Convert a local folder in the published format into a subject, for `--model FOLDER`."""
    from interpbench.hub.published import read_published
    from interpbench.plugins.registry import load_case
    from interpbench.subjects.folder import check_place, save_subject
    from interpbench.subjects.zoo import HUB, UNCERTIFIED

    if not folder.is_dir():
        raise UsageError(f"no folder {folder}")
    chosen = load_case(case or folder.resolve().name)
    target = out or Path("subjects") / chosen.name / HUB
    check_place(target, force)
    subject = read_published(folder, chosen, {"folder": folder.name})
    save_subject(subject, target, force)
    if as_json:
        facts = {"case": chosen.name, "folder": str(target), "weights_hash": subject.weights_hash}
        print_json(facts | {"circuit": subject.circuit.to_json(), "source": subject.card["source"]})
        return
    print_lines([f"saved in {target}; use it with --model {target}", UNCERTIFIED])


@hub.command()
def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A subject of ours.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Repository, as in `you/name`.")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private if it is new.")] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Upload a subject with a model card and the benchmark's metadata."""
    from interpbench.hub.push import push as push_one

    address = push_one(folder, repo, private, force)
    if as_json:
        print_json({"repository": repo, "commit": address})
    else:
        print_lines([address])
