"""State that all code of a process shares: PyTorch's modes and defaults, and the global random generators.

What a caller, a technique or a trainer sets of it must not reach the result of another.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

KINDS_OF_DEVICE = ("cpu", "cuda")
"""Kinds of device, each with an autocast of its own."""


@contextmanager
def clean_state(seed: int | None = None) -> Iterator[None]:
    """Inside, state is as at the start of a process; afterwards it is as it was before, whatever was set inside.

    Inside, gradients are enabled, inference mode and autocast are off, and defaults are float32 and the CPU. The
    global generators of PyTorch, NumPy and Python start from `seed`, if given. Serves as a decorator, too.
    """
    import numpy as np
    import torch

    with ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in KINDS_OF_DEVICE:
            stack.callback(torch.set_autocast_enabled, kind, torch.is_autocast_enabled(kind))
            torch.set_autocast_enabled(kind, False)
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
        _default_to_cpu(stack)
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
        yield


def _default_to_cpu(stack: ExitStack) -> None:
    """Make the CPU the default device until the stack is closed."""
    import torch

    before = torch.get_default_device()

    def put_back() -> None:
        if torch.get_default_device() != before:
            torch.set_default_device(None if before.type == "cpu" else before)

    stack.callback(put_back)
    if before.type != "cpu":
        torch.set_default_device(None)
    if torch.get_default_device().type != "cpu":  # a `with torch.device(...)` of the caller
        stack.enter_context(torch.device("cpu"))
