"""The problem that a technique gets, and tools for finding circuits. Part of the contract with plugins."""

from __future__ import annotations

from interpbench.problem.ablation import ABLATIONS, Ablation
from interpbench.problem.adam import adam_step
from interpbench.problem.choose import choose_among, choose_top
from interpbench.problem.incremental import Attempt, Incremental
from interpbench.problem.losses import LOSSES, Loss, Output
from interpbench.problem.problem import Problem, make_problem
from interpbench.problem.technique import Discovery, Technique

__all__ = [
    "ABLATIONS",
    "LOSSES",
    "Ablation",
    "Attempt",
    "Discovery",
    "Incremental",
    "Loss",
    "Output",
    "Problem",
    "Technique",
    "adam_step",
    "choose_among",
    "choose_top",
    "make_problem",
]
