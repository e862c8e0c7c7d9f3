"""Write the package of a new plugin, which installs and passes its tests as it is.

The templates in `interpbench/scaffold/` are themselves working packages, under the name `mytech`.
"""

from __future__ import annotations

import keyword
import re
from importlib import metadata
from pathlib import Path

from interpbench.errors import InterpbenchError, UsageError
from interpbench.files import folder_written_whole
from interpbench.plugins import registry

TEMPLATES = Path(__file__).parents[1] / "scaffold"
KINDS = ("technique", "case", "trainer")
NAME = "mytech"


def write(name: str, kind: str, where: Path) -> Path:
    """Write the package into a new folder in `where`, completely or not at all; returns the folder.

    Raises UsageError for a name that is not valid or is taken, InterpbenchError if the files cannot be written.
    """
    check_name(name, kind)
    folder = where / f"interpbench-{name}"
    if folder.exists():
        raise UsageError(f"{folder.name} exists; choose another name, or another folder to be in")
    try:
        with folder_written_whole(folder) as new:
            _copy(TEMPLATES / kind, new, name)
    except OSError as error:
        raise InterpbenchError(f"{error.filename or folder}: {error.strerror}; nothing was written") from None
    return folder


def _copy(template: Path, target: Path, name: str) -> None:
    """Copy a template into a folder, with its name replaced in paths and texts."""
    for path in template.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            file = target / _renamed(str(path.relative_to(template)), name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_renamed(path.read_text(encoding="utf-8"), name), encoding="utf-8")


def _renamed(text: str, name: str) -> str:
    as_class = "".join(part.capitalize() for part in name.split("_"))
    return text.replace(NAME, name).replace(NAME.capitalize(), as_class)


def check_name(name: str, kind: str) -> None:
    """Raise UsageError unless the name is valid and free for a new plugin that provides one object of the kind."""
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
