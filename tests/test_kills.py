"""Killed at random moments: nothing reads as complete that is not, and the same command ends in the same numbers.

`bench` has its own test (`test_bench.py`). Also: processes that share a folder, two of them with the same number.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import interpbench as ib

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "interpbench"]
DATA = Path(__file__).parent / "data" / "hub" / "dict_cfg" / "3"

COMMANDS = {
    "train": "train siit --case 3,18 --jobs 2 --steps 120 --eval-every 8 --rows 16 --eval-rows 40 --margin 1 --out",
    "generate": "generate --property gate --level 1 --seeds 0:2 --jobs 2 --seconds 0 --out",
    "hub": f"hub convert {DATA} --out",
}
"""By kind: a command that makes subjects below a folder, which is its last word."""

KILLS, LONGEST = {"train": 20, "generate": 20, "hub": 20}, {"train": 25.0, "generate": 40.0, "hub": 8.0}
"""How often it is killed, and at most how many seconds after its start."""


def subjects(folder: Path) -> dict[str, tuple[str, str]]:
    """Hashes of the weights and the truth of every folder below that reads as a subject."""
    found = [path.parent for path in folder.glob("**/card.json")]
    read = {str(each.relative_to(folder)): ib.load_subject(None, each) for each in found}
    return {name: (subject.weights_hash, subject.truth_hash) for name, subject in read.items()}


@pytest.mark.parametrize("kind", COMMANDS)
def test_killed_at_any_moment_it_ends_in_the_same_subjects(tmp_path: Path, kind: str) -> None:
    words, moments = COMMANDS[kind].split(), random.Random(kind)
    subprocess.run([*COMMAND, *words, tmp_path / "whole"], capture_output=True, check=True)
    whole = subjects(tmp_path / "whole")
    assert whole
    for _ in range(KILLS[kind]):
        running = subprocess.Popen(
            [*COMMAND, *words, tmp_path / "killed"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(moments.uniform(0.5, LONGEST[kind]))
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        so_far = subjects(tmp_path / "killed")
        assert so_far.items() <= whole.items()
        if so_far == whole:  # from here on it would only be skipped
            shutil.rmtree(tmp_path / "killed")
    force = ["--force"] if (tmp_path / "killed").exists() and kind == "hub" else []
    subprocess.run([*COMMAND, *words, tmp_path / "killed", *force], capture_output=True, check=True)
    assert subjects(tmp_path / "killed") == whole
    left = [path.name for path in tmp_path.rglob("*") if path.name.startswith(".") or "checkpoints" in path.name]
    assert len(left) <= KILLS[kind], "a killed process can leave what it was writing, and no more"


def namespaces() -> bool:
    """Whether processes may have numbers of their own here."""
    probe = ["unshare", "--pid", "--fork", "true"]
    return shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True).returncode == 0


@pytest.mark.parametrize("count", [2, 4])
def test_processes_with_the_same_number_share_a_folder(tmp_path: Path, count: int) -> None:
    """As in containers, where every command is process 1."""
    if not namespaces():
        pytest.skip("processes cannot have numbers of their own here")
    words = [*COMMAND, "bench", "--suite", "quick", "--techniques", "eap,norm", "--samples", "50", "--json", "--out"]
    alone = subprocess.run([*words, tmp_path / "alone"], capture_output=True, text=True, check=True)
    apart = ["unshare", "--pid", "--fork"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*apart, *words, tmp_path / "shared"], **pipes) for _ in range(count)]
    said = [each.communicate() for each in running]
    assert [each.returncode for each in running] == [0] * count, said
    numbers = json.loads(alone.stdout)["numbers"]
    assert all(json.loads(out)["numbers"] == numbers for out, _ in said)
    assert not [path for path in (tmp_path / "shared").rglob(".*") if path.is_file()]
