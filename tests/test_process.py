"""Settings of the process."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest
import torch

from interpbench.processes import tune_process


def test_one_thread_and_no_denormals() -> None:
    tune_process()
    assert torch.get_num_threads() == 1
    assert (torch.tensor([1e-39]) * 0.5).item() == 0
    tune_process()


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    tune_process()
