"""Baselines as techniques of interpbench: `random`, `norm`, `patching`, `hisp`, `flow` and `ranks`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from interpbench import hookimpl, option

if TYPE_CHECKING:
    from interpbench import Technique
    from interpbench.problem import Discovery, Loss, Problem


@dataclass(frozen=True)
class NoOptions:
    """Nothing to choose."""


class Random:
    """Every edge gets an independent uniform score: what a technique reaches by chance."""

    name = "random"
    version = "0.1.0"
    baseline = True
    scores = "nothing"
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
    scores = "sizes"
    Config = NoOptions

    def discover(self, problem: Problem, config: NoOptions) -> Discovery:
        """Score every edge by the smaller deviation of its two nodes. Raises UsageError for a single input."""
        from interpbench_baselines.blind import norm_scores

        return norm_scores(problem)


@dataclass(frozen=True)
class PatchingConfig:
    """Which way to patch, and what to measure."""

    by: Literal["edges", "nodes"] = option(
        "edges", "Patch single edges, or everything that a node writes; an edge then gets the lower of its two nodes."
    )
    direction: Literal["noising", "denoising", "both"] = option(
        "noising", "Cut each edge alone, or restore it alone in the corrupted run, or the larger of the two effects."
    )
    loss: Literal["auto", "kl", "ce", "logit-diff", "shift", "mse", "mae", "label"] = option(
        "auto", "Loss; auto: KL to the full model for classes, squared error to it for numbers."
    )
    sign: Literal["signed", "absolute"] = option("absolute", "Rank by the effect or by its size.")
    faithful: float = option(
        0.1, "Choose the fewest edges that leave this share of the fully cut model's loss.", least=0, most=1
    )


class Patching:
    """Activation patching of every edge or node alone, in either direction or both (arXiv 2505.10039)."""

    name = "patching"
    version = "0.1.0"
    baseline = True
    Config = PatchingConfig

    def discover(self, problem: Problem, config: PatchingConfig) -> Discovery:
        """Score every edge by the effect of cutting or restoring it. Raises UsageError for a loss not offered."""
        from interpbench_baselines.patching import discover

        return discover(problem, config)


@dataclass(frozen=True)
class GradientConfig:
    """What to differentiate, and how large a circuit to choose."""

    loss: Literal["auto", "ce", "logit-diff", "shift", "label"] = option(
        "auto", "Loss; auto: logit-diff for classes, shift for numbers."
    )
    faithful: float = option(
        0.1, "Choose the fewest edges that leave this share of the fully cut model's loss.", least=0, most=1
    )

    def of(self, problem: Problem) -> Loss:
        """The loss. Raises UsageError if the problem does not offer it."""
        default = "logit-diff" if problem.output == "categorical" else "shift"
        return problem.check_loss(default if self.loss == "auto" else self.loss)


class Hisp:
    """Head importance (arXiv 1905.10650): nodes by the size of output times gradient, row by row."""

    name = "hisp"
    version = "0.1.0"
    baseline = True
    scores = "nodes"
    Config = GradientConfig

    def discover(self, problem: Problem, config: GradientConfig) -> Discovery:
        """Score every edge by the lower importance of its two nodes. Raises UsageError for a loss not offered."""
        from interpbench_baselines.nodes import importance

        return importance(problem, config.of(problem), config.faithful)


@dataclass(frozen=True)
class FlowConfig:
    """How large a circuit to choose."""

    faithful: float = option(
        0.1, "Choose the fewest edges that leave this share of the fully cut model's loss.", least=0, most=1
    )


class Flow:
    """Information flow routes (arXiv 2403.00824): what each writer contributes to what a reader reads."""

    name = "flow"
    version = "0.1.0"
    baseline = True
    scores = "sizes"
    Config = FlowConfig

    def discover(self, problem: Problem, config: FlowConfig) -> Discovery:
        """Score every edge by the weakest contribution on the strongest route from it to the logits."""
        from interpbench_baselines.nodes import flow

        return flow(problem, config.faithful)


@dataclass(frozen=True)
class RanksConfig(GradientConfig):
    """What to differentiate, and at how many points."""

    steps: int = option(5, "Points of each path.")

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, expected at least 1")


class Ranks:
    """The mean rank of four attributions: at the clean and the corrupted point, and on two paths between them."""

    name = "ranks"
    version = "0.1.0"
    baseline = True
    Config = RanksConfig

    def discover(self, problem: Problem, config: RanksConfig) -> Discovery:
        """Score every edge by its mean rank. Raises UsageError for a loss not offered."""
        from interpbench_baselines.ranks import discover

        return discover(problem, config.of(problem), config.steps, config.faithful)


@hookimpl
def interpbench_techniques() -> list[Technique]:
    """The techniques of this plugin."""
    return [Random(), Norm(), Patching(), Hisp(), Flow(), Ranks()]
