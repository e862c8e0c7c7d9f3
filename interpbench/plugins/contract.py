"""The contract with plugins: the modules of interpbench that they may import, and what in their source breaks it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

PUBLIC_MODULES = (
    "interpbench",
    "interpbench.graph",
    "interpbench.problem",
    "interpbench.transformer",
    "interpbench.cases",
    "interpbench.properties",
    "interpbench.trainers",
    "interpbench.testing",
)
"""The modules that a plugin may import from; of each, the names in its `__all__`."""


def sources(module: str) -> Iterator[tuple[str, ast.Module]]:
    """File name and syntax tree of every module in the package of `module`, or of the module if it stands alone."""
    package = module.partition(".")[0]
    file = import_module(package).__file__
    assert file is not None, f"{package} has no source file"
    source = Path(file)
    for path in sorted(source.parent.rglob("*.py")) if source.name == "__init__.py" else [source]:
        yield path.name, ast.parse(path.read_text(encoding="utf-8"))


def uses(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The modules of interpbench that a source imports, each with a name taken from it (`""`: the module itself)."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_ours(alias.name):
                    known[alias.asname or "interpbench"] = alias.name if alias.asname else "interpbench"
                    yield alias.name, ""
        elif isinstance(node, ast.ImportFrom) and not node.level and _is_ours(node.module or ""):
            for alias in node.names:
                path = f"{node.module}.{alias.name}"
                if path in PUBLIC_MODULES:
                    known[alias.asname or alias.name] = path
                yield (path, "") if path in PUBLIC_MODULES else (node.module or "", alias.name)
    for node in ast.walk(tree):
        path = _dotted(node, known) if isinstance(node, ast.Attribute) else ""
        module, _, name = path.rpartition(".")
        if module in PUBLIC_MODULES:
            yield (path, "") if path in PUBLIC_MODULES else (module, name)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "interpbench"


def _dotted(node: ast.AST, known: dict[str, str]) -> str:
    """The path of an expression such as `ib.problem.Problem`; empty if it does not start at a known module."""
    if isinstance(node, ast.Name):
        return known.get(node.id, "")
    before = _dotted(node.value, known) if isinstance(node, ast.Attribute) else ""
    return f"{before}.{node.attr}" if before and isinstance(node, ast.Attribute) else ""


def breaches(tree: ast.Module) -> list[str]:
    """What a source takes from interpbench that is not public: one line each."""
    found = []
    for module, name in uses(tree):
        if module not in PUBLIC_MODULES:
            found.append(f"imports {module}, which is not one of {', '.join(PUBLIC_MODULES)}")
        elif name and name not in import_module(module).__all__:
            found.append(f"uses {module}.{name}, which is not in `{module}.__all__`")
    return found
