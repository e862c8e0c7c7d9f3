"""The hooks that a plugin can implement. A plugin is a module named by an entry point of the group `interpbench`:

    [project.entry-points.interpbench]
    mine = "interpbench_mine"

and in `interpbench_mine/__init__.py`

    from interpbench import hookimpl

    @hookimpl
    def interpbench_techniques():
        return [Mine()]

Import what is heavy (torch) inside `discover` or `train`: every plugin is imported by every command.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from interpbench.hooks import hookspec

if TYPE_CHECKING:
    from interpbench.cases.case import Case
    from interpbench.plugins.progress import ProgressEvent
    from interpbench.problem.technique import Technique
    from interpbench.properties.property import Property
    from interpbench.trainers.trainer import Trainer


@hookspec
def interpbench_cases() -> Iterable[Case]:  # type: ignore[empty-body]
    """Tasks with a known algorithm."""


@hookspec
def interpbench_properties() -> Iterable[Property]:  # type: ignore[empty-body]
    """Properties to plant: each makes generated cases, at levels and by seed."""


@hookspec
def interpbench_trainers() -> Iterable[Trainer]:  # type: ignore[empty-body]
    """Ways to make a subject for a case."""


@hookspec
def interpbench_techniques() -> Iterable[Technique]:  # type: ignore[empty-body]
    """Ways to find a circuit in a transformer."""


@hookspec
def interpbench_progress(event: ProgressEvent) -> None:
    """Receive progress events, for a tracking service: one for every training step. Errors do not stop the work."""
