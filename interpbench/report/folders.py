"""Run folders below others: through links, each once. What cannot be read is a failure, not a gap."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from interpbench.errors import InterpbenchError, one_line
from interpbench.files import MEGABYTE, read_bytes
from interpbench.runs import store
from interpbench.runs.store import StoredRun


@dataclass(frozen=True)
class Failure:
    """What is missing in a report: the path of a folder below the root, and why in one line."""

    run: str
    error: str


def read_below(roots: Sequence[Path]) -> tuple[list[StoredRun], list[Failure]]:
    """All complete runs below some folders, and failures: failed runs, damaged ones, unreadable folders, dead links.

    Links are followed. A folder that is reached in several ways is read once, at the first.
    """
    seen: set[tuple[int, int]] = set()
    read: list[StoredRun | Failure | None] = []
    for root in roots:
        for at in _below(root, seen):
            if isinstance(at, Failure):
                read.append(at)
            else:
                read.append(_complete(at, _name(at, root)) or _failed(at, _name(at, root)))
    return _apart(read)


def read_each(folders: Iterable[Path], root: Path) -> tuple[list[StoredRun], list[Failure]]:
    """The complete runs among some run folders below a root, and a failure for every damaged one."""
    return _apart([_complete(folder, _name(folder, root)) for folder in folders])


def _complete(folder: Path, name: str) -> StoredRun | Failure | None:
    """The complete run in a folder, a failure if a file of it is damaged, None if there is none."""
    try:
        run = store.read(folder)
        _ = run and run.scores  # read on first use: a damaged file is found here, not in the middle of a page
        return run
    except InterpbenchError as error:
        return Failure(name, one_line(error).removeprefix(f"{folder}: "))
    except OSError as error:
        return Failure(name, f"unreadable: {error.strerror}")


def _failed(folder: Path, name: str) -> Failure | None:
    """The failure of the run in a folder, by the last line of its traceback; None if there is none."""
    if not (folder / store.ERROR).exists():
        return None
    try:
        lines = read_bytes(folder / store.ERROR, MEGABYTE).decode(errors="replace").strip().splitlines()
    except InterpbenchError as error:
        return Failure(name, one_line(error))
    return Failure(name, lines[-1] if lines else "unknown")


def _below(root: Path, seen: set[tuple[int, int]]) -> Iterator[Path | Failure]:
    """All folders below a root, itself first, in the order of their names; a failure for each that is unreadable."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                names = sorted((entry.name for entry in entries if _may_be_folder(entry)), reverse=True)
        except OSError as error:
            yield Failure(_name(folder, root), f"unreadable: {error.strerror}")
            continue
        waiting += [folder / name for name in names]
        yield folder


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    """Whether to visit it. A link to nothing or in a circle is visited too: then the visit says what is wrong."""
    try:
        return entry.is_dir() or (entry.is_symlink() and not entry.is_file())
    except OSError:
        return True


def _name(folder: Path, root: Path) -> str:
    return str(folder if folder == root else folder.relative_to(root))


def _apart(read: Iterable[StoredRun | Failure | None]) -> tuple[list[StoredRun], list[Failure]]:
    """Runs and failures apart."""
    one_by_one = [one for one in read if one is not None]
    return (
        [one for one in one_by_one if not isinstance(one, Failure)],
        [one for one in one_by_one if isinstance(one, Failure)],
    )
