"""The markers of hooks: `hookimpl` for the functions of plugins, `hookspec` for core's specifications."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import pluggy

GROUP = "interpbench"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


def option(default: Any, text: str, **more: str) -> Any:
    """A field of a `Config` with its help text; `flags="--on/--off"` names the flags of a bool."""
    return field(default=default, metadata={"help": text, **more})
