"""Baselines as techniques of interpbench: `random`, `norm` and `patching`, as in `interpbench run norm --case 3`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from interpbench import hookimpl, option

if TYPE_CHECKING:
    from interpbench import Technique
    from interpbench.problem import Discovery, Problem


@dataclass(frozen=True)
class NoOptions:
    """Nothing to choose."""


class Random:
    """Every edge gets an independent uniform score: what a technique reaches by chance."""

    name = "random"
    version = "0.1.0"
    baseline = True
    Config = NoOptions

    def discover(self, problem: Problem, config: NoOptions) -> Discovery:
        """Score every edge by a number between 0 and 1 that the problem's seed, inputs and model decide."""
        from interpbench_baselines.blind import random_scores

        return random_scores(problem)


class Norm:
    """Score an edge by how much its two nodes vary over inputs: no gradient and no intervention."""

    name = "norm"
    version = "0.1.0"
    baseline = True
    Config = NoOptions

    def discover(self, problem: Problem, config: NoOptions) -> Discovery:
        """Score every edge by the smaller deviation of its two nodes. Raises UsageError for a single input."""
        from interpbench_baselines.blind import norm_scores

        return norm_scores(problem)


@dataclass(frozen=True)
class PatchingConfig:
    """Which way to patch, and what to measure."""

    direction: Literal["noising", "denoising", "both"] = option(
        "noising", "Cut each edge alone, or restore it alone in the corrupted run, or the larger of the two effects."
    )
    loss: Literal["auto", "kl", "ce", "logit-diff", "shift", "mse", "mae", "label"] = option(
        "auto", "Loss; auto: KL to the full model for classes, squared error to it for numbers."
    )
    sign: Literal["signed", "absolute"] = option("absolute", "Rank by the effect or by its size.")
    faithful: float = option(0.1, "Choose the fewest edges that leave this share of the fully cut model's loss.")


class Patching:
    """Activation patching of every edge alone, in either direction or both (arXiv 2505.10039)."""

    name = "patching"
    version = "0.1.0"
    baseline = True
    Config = PatchingConfig

    def discover(self, problem: Problem, config: PatchingConfig) -> Discovery:
        """Score every edge by the effect of cutting or restoring it. Raises UsageError for a loss not offered."""
        from interpbench_baselines.patching import discover

        return discover(problem, config)


@hookimpl
def interpbench_techniques() -> list[Technique]:
    """The three techniques of this plugin."""
    return [Random(), Norm(), Patching()]
