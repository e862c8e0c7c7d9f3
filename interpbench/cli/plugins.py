"""`plugins new`: the package of a new plugin, which installs and passes its tests as it is.

The templates in `interpbench/scaffold/` are packages that work themselves, under the name `mytech`.
"""

from __future__ import annotations

import keyword
import re
import tempfile
from importlib import metadata
from pathlib import Path

from interpbench.cli.console import print_json, print_lines
from interpbench.errors import InterpbenchError, UsageError
from interpbench.plugins import registry

TEMPLATES = Path(__file__).parent.parent / "scaffold"
KINDS = ("technique", "case", "trainer")
NAME = "mytech"


def new(name: str, kind: str, as_json: bool) -> None:
    """Write the package and say what to do with it."""
    folder = write(name, kind, Path.cwd())
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    if as_json:
        print_json({"name": name, "kind": kind, "folder": str(folder), "files": files})
        return
    print_lines(
        [
            f"{folder.name}: a {kind} that works; its algorithm is yours to change",
            f"  pip install -e './{folder.name}[test]'",
            f"  python -m pytest {folder.name}",
            f"  interpbench {_first_use(name, kind)}",
        ]
    )


def _first_use(name: str, kind: str) -> str:
    return {"technique": f"run {name} --case 3", "trainer": f"train {name} --case 3"}.get(kind, f"show {name}")


def write(name: str, kind: str, where: Path) -> Path:
    """Write a new plugin's package into a folder of its own in `where`: all of it or nothing; returns the folder.

    Raises UsageError for a name that will not do or is taken, InterpbenchError if nothing can be written there.
    """
    check_name(name, kind)
    folder = where / f"interpbench-{name}"
    if folder.exists():
        raise UsageError(f"{folder.name} exists; choose another name, or another folder to be in")
    template = TEMPLATES / kind
    try:
        with tempfile.TemporaryDirectory(dir=where, prefix=f".{folder.name}.") as aside:
            made = Path(aside) / folder.name
            for path in template.rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    target = made / _renamed(str(path.relative_to(template)), name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(_renamed(path.read_text(encoding="utf-8"), name), encoding="utf-8")
            made.rename(folder)
    except OSError as error:
        raise InterpbenchError(f"{error.filename or folder}: {error.strerror}; nothing was written") from None
    return folder


def _renamed(text: str, name: str) -> str:
    as_class = "".join(part.capitalize() for part in name.split("_"))
    return text.replace(NAME, name).replace(NAME.capitalize(), as_class)


def check_name(name: str, kind: str) -> None:
    """Raise UsageError unless a new plugin, with a thing of the kind, can have the name."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        like = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_0123456789") or "my_technique"
        raise UsageError(
            f"'{name}' cannot be the name of a package: expected a letter, then letters, digits or _, all lower-case"
            + (f", such as '{like}'" if like != name and not keyword.iskeyword(like) else "")
        )
    installed = registry.load()
    taken = {plugin.name: f"plugin of {plugin.distribution}" for plugin in installed.plugins}
    taken |= dict.fromkeys(getattr(installed, f"{kind}s"), kind)
    if name in taken:
        raise UsageError(f"there is a {taken[name]} '{name}' already; choose another name")
    try:
        metadata.version(f"interpbench-{name}")
    except metadata.PackageNotFoundError:
        return
    raise UsageError(f"a distribution interpbench-{name} is installed already; choose another name")
