"""The markers of hooks: `hookimpl` for the functions of plugins, `hookspec` for core's specifications."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import pluggy

GROUP = "interpbench"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


def option(default: Any, text: str, **more: Any) -> Any:
    """A field of a `Config` with its help text; `flags="--on/--off"` names the flags of a bool.

    `least` and `most` are bounds of a number, or of each number of a tuple.
    """
    return field(default=default, metadata={"help": text, **more})
