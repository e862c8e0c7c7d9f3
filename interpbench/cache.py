"""Where things that can be made or fetched again are kept. `INTERPBENCH_CACHE` says where, else the user's cache."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder; it need not exist."""
    if chosen := os.environ.get("INTERPBENCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interpbench"
