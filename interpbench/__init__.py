"""Circuit discovery on transformers whose true circuit is known.

Everything public is here, loaded on first use: importing this package imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interpbench.lazy import lazy

if TYPE_CHECKING:
    from interpbench.cases.case import Case
    from interpbench.certificate.edge_classes import EdgeClasses
    from interpbench.errors import InterpbenchError, MissingExtra, UsageError
    from interpbench.evaluation.judge import judge
    from interpbench.evaluation.protocols import PAPER_GRID
    from interpbench.graph.circuit import Circuit, EdgeScores
    from interpbench.graph.graph import Graph
    from interpbench.hooks import hookimpl, option
    from interpbench.plugins.progress import ProgressEvent
    from interpbench.plugins.registry import load_case
    from interpbench.problem.problem import Problem
    from interpbench.problem.technique import Discovery, Technique
    from interpbench.runs.run import Result, run
    from interpbench.runs.score import score
    from interpbench.subjects.classes import edge_classes
    from interpbench.subjects.folder import save_subject
    from interpbench.subjects.subject import Subject, from_transformer_lens
    from interpbench.subjects.zoo import load_subject
    from interpbench.trainers.trainer import Trained, Trainer
    from interpbench.transformer.config import Config
    from interpbench.transformer.model import Transformer

__all__ = [
    "PAPER_GRID",
    "Case",
    "Circuit",
    "Config",
    "Discovery",
    "EdgeClasses",
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
    "edge_classes",
    "from_transformer_lens",
    "hookimpl",
    "judge",
    "load_case",
    "load_subject",
    "option",
    "run",
    "save_subject",
    "score",
]

_load, __dir__ = lazy(
    __name__,
    {
        "cases.case": ("Case",),
        "certificate.edge_classes": ("EdgeClasses",),
        "errors": ("InterpbenchError", "MissingExtra", "UsageError"),
        "evaluation.protocols": ("PAPER_GRID",),
        "evaluation.judge": ("judge",),
        "graph.circuit": ("Circuit", "EdgeScores"),
        "graph.graph": ("Graph",),
        "hooks": ("hookimpl", "option"),
        "plugins.progress": ("ProgressEvent",),
        "plugins.registry": ("load_case",),
        "problem.problem": ("Problem",),
        "problem.technique": ("Discovery", "Technique"),
        "runs.run": ("Result", "run"),
        "runs.score": ("score",),
        "subjects.classes": ("edge_classes",),
        "subjects.folder": ("save_subject",),
        "subjects.subject": ("Subject", "from_transformer_lens"),
        "subjects.zoo": ("load_subject",),
        "trainers.trainer": ("Trained", "Trainer"),
        "transformer.config": ("Config",),
        "transformer.model": ("Transformer",),
    },
)


def __getattr__(name: str) -> object:
    if name != "__version__":
        return _load(name)
    from importlib.metadata import version  # takes a third of the time of `interpbench --help`

    return version("interpbench")
