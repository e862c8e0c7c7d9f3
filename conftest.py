"""For all tests, the plugins' too: shapes are checked while the tests run, one thread, what every plugin test needs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("INTERPBENCH_PLUGINS", None)
os.environ["INTERPBENCH_CACHE"] = tempfile.mkdtemp(prefix="interpbench-tests-")

import pytest
from jaxtyping import install_import_hook

CHECKED = (
    "cases.pairs",
    "certificate",
    "evaluation",
    "graph.circuit_file",
    "problem",
    "trainers.loop",
    "trainers.optimizer",
    "trainers.rows",
    "trainers.step",
    "trainers.training",
    "transformer",
)
install_import_hook([f"interpbench.{module}" for module in CHECKED], "beartype.beartype")


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Commands that compute make denormals zero for their process; here they share it with all other tests."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command in this process."""

    def run(*words: str) -> Ended:
        from interpbench.cli import main

        monkeypatch.setattr(sys, "argv", ["interpbench", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return Ended(int(end.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def process() -> Callable[..., Ended]:
    """Run a command in a process of its own."""

    def run(*words: str, cwd: Path, **environment: str) -> Ended:
        command = [sys.executable, "-c", "from interpbench.cli import main; main()", *map(str, words)]
        done = subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True)
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def subject_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A subject of case 3 on disk: its compiled reference."""
    import interpbench as ib

    return ib.save_subject(ib.load_subject("3", "tracr"), tmp_path_factory.mktemp("subjects") / "three")
