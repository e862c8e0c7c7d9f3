"""`hub`: published subjects fetched and converted, ours published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interpbench.cli.console import print_json, print_lines, print_table, progress
from interpbench.errors import InterpbenchError, UsageError
from interpbench.plugins.registry import load, load_case
from interpbench.subjects.folder import save_subject
from interpbench.subjects.zoo import HUB, UNCERTIFIED


def pull(names: Sequence[str], repository: str, revision: str, as_json: bool) -> int:
    """Fetch and convert the cases named, or all that the repository holds; the status is 1 if one failed.

    The hub is asked nothing if all that is named has been converted.
    """
    from interpbench.hub.pull import is_here, open_repository
    from interpbench.hub.pull import pull as pull_one

    cases = [load_case(name) for name in dict.fromkeys(names)]
    opened = None
    if not cases or not all(is_here(case, repository, revision) for case in cases):
        opened = open_repository(repository, revision)
        cases = cases or opened.cases(load().cases)
    rows: list[dict[str, str]] = []
    with progress("hub pull", len(cases)) as update:
        for case in cases:
            try:
                fetched = opened is not None and pull_one(case, opened)
                rows.append({"case": case.name, "state": "converted" if fetched else "there already"})
            except InterpbenchError as error:
                if len(names) == 1:
                    raise
                rows.append({"case": case.name, "state": "failed", "error": str(error)})
            update(len(rows), {})
    failed = [row for row in rows if "error" in row]
    if as_json:
        print_json({"repository": repository, "revision": revision, "cases": rows})
    else:
        states = [(row["case"], row["state"]) for row in rows if row not in failed]
        print_table(f"{repository} at {revision[:12]}", ("case", ""), states)
        print_lines([UNCERTIFIED])
        print_lines([f"case {row['case']} failed: {row['error']}" for row in failed], to="stderr")
    return 1 if failed else 0


def convert(folder: Path, name: str, out: Path | None, force: bool, as_json: bool) -> None:
    """Convert one published folder into a subject's."""
    from interpbench.hub.published import read_published

    if not folder.is_dir():
        raise UsageError(f"no folder {folder}")
    case = load_case(name or folder.resolve().name)
    target = out or Path("subjects") / case.name / HUB
    if target.exists() and not force:
        raise UsageError(f"{target} exists; --force replaces it")
    subject = read_published(folder, case, {"folder": folder.name})
    save_subject(subject, target, force)
    facts = {"case": case.name, "folder": str(target), "weights_hash": subject.weights_hash}
    if as_json:
        print_json(facts | {"circuit": subject.circuit.to_json(), "source": subject.card["source"]})
        return
    print_lines([f"saved in {target}; use it with --model {target}", UNCERTIFIED])


def push(folder: Path, repository: str, private: bool, force: bool, as_json: bool) -> None:
    """Upload one subject."""
    from interpbench.hub.push import push as push_one

    address = push_one(folder, repository, private, force)
    print_json({"repository": repository, "commit": address}) if as_json else print_lines([address])
