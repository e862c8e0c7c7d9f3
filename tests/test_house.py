"""The shape of the code: few loose modules, short functions, few parameters, a library that does not print."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "interpbench"
SOURCES = [path for path in sorted(CORE.rglob("*.py")) if "scaffold" not in path.relative_to(CORE).parts]
SOURCES += sorted(ROOT.glob("plugins/*/interpbench_*/*.py"))
ENTRY_POINTS = {"run", "rasp_case", "make_problem", "evaluate_circuit", "realism"}
"""Public functions whose options are their parameters; so are those of commands."""


def functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


def length(function: ast.FunctionDef) -> int:
    """Lines without the docstring."""
    documentation = ast.get_docstring(function, clean=False)
    lines = (function.end_lineno or 0) - function.lineno + 1
    return lines - (len(documentation.splitlines()) if documentation else 0)


def test_few_modules_are_loose() -> None:
    assert len(list(CORE.glob("*.py"))) <= 9


def test_functions_are_short() -> None:
    lengths = {f"{path}:{each.name}": length(each) for path in SOURCES for each in functions(path)}
    longest = max(lengths, key=lengths.__getitem__)
    assert lengths[longest] <= 60, longest
    assert np.quantile(list(lengths.values()), 0.95) <= 25


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_have_few_parameters(path: Path) -> None:
    for function in functions(path):
        names = [each.arg for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
        few = len([name for name in names if name not in ("self", "cls")]) <= 6
        assert few or function.name in ENTRY_POINTS or path.parent.name == "cli", function.name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_library_does_not_print(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    prints = [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]
    assert not prints or path.parent.name == "cli"
