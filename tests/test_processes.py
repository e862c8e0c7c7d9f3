"""Work in several processes, and the settings of a process."""

import ctypes
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import interpbench as ib
from interpbench.errors import UsageError, one_line
from interpbench.processes import Event, run_jobs, tune_process


def work(item: str, report: Any) -> str:
    """Does as it is told."""
    report({"on": item})
    if item == "fails":
        raise ValueError("no\nway")
    if item == "asks too much":
        raise UsageError("one line")
    if item == "dies":
        os._exit(9)
    if item == "waits":
        time.sleep(60)
    return item.upper()


def test_everything_ends_and_failures_are_told() -> None:
    items = ["a", "fails", "dies", "asks too much", "b"]
    events = list(run_jobs(work, items, 2))
    ends = {items[event.item]: event for event in events if event.ended}
    assert len(ends) == 5 and (ends["a"].value, ends["b"].value) == ("A", "B")
    assert ends["fails"].error == "ValueError: no way"
    assert ends["asks too much"].error == "one line"
    assert ends["dies"].error == "its process ended with status 9"
    told = {items[event.item]: event.facts for event in events if not event.ended}
    assert told["a"] == {"on": "a"} and len(told) == 5


def test_no_more_at_a_time_than_asked_and_an_early_end_ends_all() -> None:
    running = run_jobs(work, ["waits", "a"], 1)
    assert next(running) == Event(0, facts={"on": "waits"})
    began = time.monotonic()
    running.close()
    assert time.monotonic() - began < 5


BEATS = """
import sys, time
from interpbench.processes import run_jobs

def beat(path, report):
    with open(path, "a", buffering=1) as file:
        print(file=file)
        report({"beats": True})
        while True:
            print(file=file)
            time.sleep(0.02)

if __name__ == "__main__":
    for event in run_jobs(beat, sys.argv[1:], 1):
        print("beats", flush=True)
"""


def test_work_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program, beats = tmp_path / "beats.py", tmp_path / "beats"
    program.write_text(BEATS)
    with subprocess.Popen([sys.executable, program, beats], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == b"beats\n"
        parent.kill()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        before = beats.stat().st_size
        time.sleep(0.5)
        if beats.stat().st_size == before:
            return
    raise AssertionError("it works on for nobody")


@pytest.mark.parametrize(("error", "text"), [(KeyError("x"), "KeyError: 'x'"), (UsageError("no"), "no")])
def test_errors_are_one_line(error: Exception, text: str) -> None:
    assert one_line(error) == text


@pytest.mark.slow
def test_a_training_killed_fifty_times_ends_in_the_same_weights(tmp_path: Path) -> None:
    """At moments of a fixed seed, resumed from its checkpoint each time; no folder is a subject before the end."""
    command = [sys.executable, "-m", "interpbench", "train", "siit", "--case", "18", "--steps", "1200"]
    command += ["--eval-every", "50", "--margin", "1", "--json", "--out"]
    whole = json.loads(subprocess.run([*command, tmp_path / "whole"], capture_output=True, check=True).stdout)
    moments, folder = random.Random(0), tmp_path / "killed"
    for _ in range(50):
        running = subprocess.Popen([*command, folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(2, 7))
        running.kill()
        running.wait()
        assert not folder.exists() or ib.load_subject(None, folder).weights_hash == whole["weights_hash"]
    if not folder.exists():
        subprocess.run([*command, folder], capture_output=True, check=True)
    assert ib.load_subject(None, folder).weights_hash == whole["weights_hash"]


def test_one_thread_and_no_denormals() -> None:
    tune_process()
    assert torch.get_num_threads() == 1
    assert (torch.tensor([1e-39]) * 0.5).item() == 0
    tune_process()


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    tune_process()
