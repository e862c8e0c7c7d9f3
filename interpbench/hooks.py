"""The marks of hooks: what a plugin puts on its functions (`hookimpl`), and core on its specifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    pass


GROUP = "interpbench"


hookspec = pluggy.HookspecMarker(GROUP)


hookimpl = pluggy.HookimplMarker(GROUP)
