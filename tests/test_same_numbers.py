"""Scores are the same to the last bit, whatever the process and its environment.

What a caller may set in PyTorch is in `test_torch_state.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from interpbench.runs import store

RUNS = {"eap": {}, "acdc": {}, "sp": {"steps": 20}}
"""Techniques, with options that make them quick."""

PROCESSES = {
    "two threads": ({"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}, []),
    "another hash seed": ({"PYTHONHASHSEED": "12345"}, []),
    "without assertions and docstrings": ({}, ["-OO"]),
    "a locale of plain bytes": ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, []),
    "another time and place": ({"TZ": "Pacific/Apia", "COLUMNS": "40"}, []),
}
"""What another process may have: variables of its environment, options of Python."""


def in_a_process(out: Path, environment: dict[str, str], options: list[str]) -> dict[str, np.ndarray]:
    found = {}
    for technique, config in RUNS.items():
        words = [word for name, value in config.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, *options, "-m", "interpbench", "run", technique, "--case", "3", "--samples", "60"]
        subprocess.run([*command, *words, "--out", out], env=os.environ | environment, capture_output=True, check=True)
        (folder,) = (out / "3" / "siit" / technique).iterdir()
        stored = store.read(folder)
        assert stored is not None
        found[technique] = stored.scores.values
    return found


@pytest.fixture(scope="module")
def usual_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return in_a_process(tmp_path_factory.mktemp("usual"), {}, [])


@pytest.mark.slow
@pytest.mark.parametrize("kind", PROCESSES)
def test_in_any_process(usual_process: dict[str, np.ndarray], tmp_path: Path, kind: str) -> None:
    found = in_a_process(tmp_path, *PROCESSES[kind])
    assert all(np.array_equal(found[technique], usual_process[technique]) for technique in RUNS)
