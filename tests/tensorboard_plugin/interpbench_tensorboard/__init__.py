"""Training curves in TensorBoard: `INTERPBENCH_TENSORBOARD=logs interpbench train siit --case 3`.

One folder for each piece of work, `logs/train/<case>/<trainer>/<seed>`; without the variable, nothing.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from interpbench import ProgressEvent, hookimpl


@functools.cache
def writer(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder)


@hookimpl
def interpbench_progress(event: ProgressEvent) -> None:
    root = os.environ.get("INTERPBENCH_TENSORBOARD")
    if not root:
        return
    to = writer(Path(root, event.what, event.case, event.name, str(event.seed)))
    for name, number in event.numbers.items():
        to.add_scalar(f"certificate/{name}" if event.ended else name, number, event.step)
    if event.ended:
        to.close()
