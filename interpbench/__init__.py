"""Circuit discovery on transformers whose true circuit is known.

Everything public is here, loaded on first use: importing this package imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from interpbench.architecture import Config
    from interpbench.case import Case
    from interpbench.errors import InterpbenchError, MissingExtra, UsageError
    from interpbench.evaluate import judge
    from interpbench.events import ProgressEvent
    from interpbench.graph import Circuit, EdgeScores, Graph
    from interpbench.hookspecs import hookimpl
    from interpbench.plugins import load_case
    from interpbench.problem import Discovery, Problem, Technique
    from interpbench.protocols import PAPER_GRID
    from interpbench.runner import Result, run
    from interpbench.scoring import score
    from interpbench.subjects import Subject, from_transformer_lens, load_subject, save_subject
    from interpbench.trainers import Trained, Trainer
    from interpbench.transformer import Transformer

_HOME = {
    "architecture": ("Config",),
    "case": ("Case",),
    "errors": ("InterpbenchError", "MissingExtra", "UsageError"),
    "evaluate": ("judge",),
    "events": ("ProgressEvent",),
    "graph": ("Circuit", "EdgeScores", "Graph"),
    "hookspecs": ("hookimpl",),
    "plugins": ("load_case",),
    "problem": ("Discovery", "Problem", "Technique"),
    "protocols": ("PAPER_GRID",),
    "runner": ("Result", "run"),
    "scoring": ("score",),
    "subjects": ("Subject", "from_transformer_lens", "load_subject", "save_subject"),
    "trainers": ("Trained", "Trainer"),
    "transformer": ("Transformer",),
}
_MODULE = {name: f"{__name__}.{module}" for module, names in _HOME.items() for name in names}

__all__ = [
    "PAPER_GRID",
    "Case",
    "Circuit",
    "Config",
    "Discovery",
    "EdgeScores",
    "Graph",
    "InterpbenchError",
    "MissingExtra",
    "Problem",
    "ProgressEvent",
    "Result",
    "Subject",
    "Technique",
    "Trained",
    "Trainer",
    "Transformer",
    "UsageError",
    "__version__",
    "from_transformer_lens",
    "hookimpl",
    "judge",
    "load_case",
    "load_subject",
    "run",
    "save_subject",
    "score",
]


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("interpbench")
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
