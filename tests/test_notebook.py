"""The notebook: it runs, and is kept as it was before it ran."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
TOUR = ROOT / "docs" / "tour.ipynb"


def cells() -> list[dict[str, Any]]:
    return [cell for cell in json.loads(TOUR.read_text())["cells"] if cell["cell_type"] == "code"]


def test_nothing_that_it_printed_is_kept() -> None:
    assert len(cells()) > 5
    for cell in cells():
        assert cell["outputs"] == [] and cell["execution_count"] is None


def test_its_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a plain module; the checks in it raise what they find."""
    tour, said = types.ModuleType("tour"), io.StringIO()
    monkeypatch.setitem(sys.modules, tour.__name__, tour)
    with contextlib.redirect_stdout(said):
        for cell in cells():
            code = compile("".join(cell["source"]), f"{TOUR.name}, {cell['id']}", "exec", dont_inherit=True)
            exec(code, vars(tour))
    assert said.getvalue().count("passed") == 3
    for result in (tour.found, tour.mine):
        assert result.metrics["heads"]["identifiable"]["auroc"] >= result.metrics["heads"]["auroc"] > 0.8
        assert result.metrics["chosen"]["core_found"] > 0.8
        assert result.record["weights_hash"] == tour.subject.weights_hash
    assert tour.mine.record["technique"] == "alone" and len(tour.mine.circuit.edges) == 8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_it_runs_as_a_notebook(tmp_path: Path) -> None:
    """In a kernel of its own; every cell says or draws something."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    tour = nbformat.read(TOUR, as_version=4)
    nbformat.validate(tour)
    nbclient.NotebookClient(tour, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell in tour.cells:
        if cell.cell_type == "code":
            assert cell.outputs, cell.id
    outputs = [output for cell in tour.cells for output in cell.get("outputs", [])]
    assert sum("image/svg+xml" in output.get("data", {}) for output in outputs) == 3
    assert list(tmp_path.iterdir()) == []
