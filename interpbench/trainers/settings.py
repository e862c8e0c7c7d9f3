"""The settings of `siit`, `iit` and `natural`: one training loop, three sets of defaults; see `siit.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from interpbench.hooks import option

if TYPE_CHECKING:
    from interpbench.transformer.config import Config as Shape


@dataclass(frozen=True)
class Config:
    """Settings of a training run; the same settings give the same weights on one machine."""

    seed: int = option(0, "Seed of weights, inputs and masks.")
    interchange: float = option(0.5, "Share of rows with a reference variable taken from the source (0: no IIT term).")
    easy: float = option(0.1, "Sampling weight of a variable at IIA 1; one at IIA 0 gets this plus 1.")
    strict: float = option(0.75, "Share of rows with something outside the circuit replaced (0: no strict term).")
    positions: float = option(0.6, "Of rows without a variable: share whose source has its positions permuted.")
    zeros: float = option(0.3, "Of rows without a variable: share with zeros or means instead of the source's values.")
    edges: float = option(0.7, "Of strict rows: share that replaces edges; the others replace whole silent nodes.")
    whole: float = option(0.4, "Of the rows on edges: share that replaces every edge outside the circuit at once.")
    merged: float = option(
        0.25, "Of the rows that replace all outside edges: share that keeps the head-level circuit instead."
    )
    circuit_first: bool = option(True, "Start with every outside edge replaced on every row.")
    opens_at: float = option(0.98, "Accuracy and mean IIA of the circuit alone at which the other rows are added.")
    silent_scale: float = option(
        0.0,
        "Initial scale of the outputs of silent nodes, which are noise to the circuit (0: 3, and .3 with a norm).",
        least=0,
    )
    silent_part: float = option(0.3, "Share of the residual stream's dimensions that silent nodes write into at first.")
    silent_fixed: bool = option(
        True,
        "Silent nodes keep the random weights they start with, but for their loudness.",
        flags="--silent-fixed/--silent-learn",
    )
    hint: float = option(1.0, "Weight of an auxiliary loss: a linear probe reads each variable off its node.", least=0)
    calm: float = option(0.1, "Weight of a penalty on the mean square of the outputs of the circuit's nodes.", least=0)
    loudness: float = option(
        0.8, "Median over silent nodes of their deviation, in units of the circuit's, to reach.", least=0
    )
    steps: int = option(20_000, "Maximum number of optimiser steps.", least=0)
    seconds: float = option(0.0, "Stop at the first measurement after this many seconds (0: no limit).", least=0)
    rows: int = option(0, "Rows per step (0: 256, and 128 for larger subjects).", least=0)
    group: int = option(4, "Rows that share one source.", least=1)
    own_source: float = option(0.25, "Share of the sources that are an input's own counterfactual.")
    reuse: int = option(8, "Average number of times a row is drawn between two measurements.", least=1)
    lr: float = option(0.0, "Peak learning rate of Adam (0: half over layers times width, at most .01).", least=0)
    falling: int = option(
        0,
        "Steps over which the rate falls to a quarter while the circuit is learnt (0: it stays; for long training).",
        least=0,
    )
    settled: float = option(0.5, "Factor on the rate once all rows are added.")
    warmup: int = option(100, "Steps of linear warm-up.", least=0)
    patience: int = option(
        10,
        "Measurements of the circuit alone without progress before other rows are added or training restarts.",
        least=1,
    )
    cycle: int = option(800, "Steps of the first cosine cycle of the rate, once all rows are added.", least=1)
    average: float = option(0.99, "Decay of the moving average of the weights, which is measured and kept.")
    clip: float = option(1.0, "Largest gradient norm.", least=0)
    eval_every: int = option(100, "Steps between measurements.", least=1)
    eval_rows: int = option(1000, "Rows of a measurement.", least=1)
    margin: float = option(0.995, "Stop when every measured accuracy reaches this.")
    same_size: bool = option(False, "Use the widths of the compiled reference.")
    d_model: int = option(0, "Width of the residual stream (0: the case's own).", least=0)
    d_head: int = option(0, "Width of a head (0: the case's own).", least=0)
    d_mlp: int = option(0, "Width of an MLP (0: the case's own).", least=0)
    half: bool = option(True, "Round the final weights to half precision: files half as large.")
    device: str = option("cpu", "Device of the training steps: cpu, cuda...")

    def __post_init__(self) -> None:
        shares = (
            "interchange",
            "strict",
            "positions",
            "zeros",
            "silent_part",
            "settled",
            "edges",
            "whole",
            "merged",
            "own_source",
            "opens_at",
            "margin",
            "average",
        )
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a share between 0 and 1")
        if self.positions + self.zeros > 1:
            raise ValueError(f"positions ({self.positions}) and zeros ({self.zeros}) are shares of the same rows")
        if self.easy <= 0:
            raise ValueError(f"easy is {self.easy}, expected a weight above 0: variables that are right need rows too")
        if self.rows < 0 or self.rows % self.group:
            raise ValueError(f"rows ({self.rows}) must be a multiple of group ({self.group})")

    def fitted(self, shape: Shape) -> Config:
        """The same settings with rows, rate and initial loudness chosen for a subject of this shape, where they are 0.

        Wide and deep subjects diverge or never start at rates that small ones need (measured on cases 2, 3, 18, 44).
        Where silent nodes stay as they are, the rate may be high: docs/subjects.md has what was measured.
        Under a norm loud silent nodes change the scale of all that the circuit reads: `ioi` was at .03 after 100 steps
        with them, and at .32 without.
        """
        size = shape.n_layers * shape.d_model
        area = size * shape.n_ctx
        rows = 256 if area < 800 else 128
        loud = 0.3 if shape.normalization_type else 3.0
        lr, scale = self.lr or min(0.01, 0.5 / size), self.silent_scale or loud
        return replace(self, rows=self.rows or rows, lr=lr, silent_scale=scale)


@dataclass(frozen=True)
class IitConfig(Config):
    """Interchange without strictness (arXiv 2112.00826)."""

    hint: float = option(0.0, "Weight of an auxiliary loss: a linear probe reads each variable off its node.", least=0)
    calm: float = option(0.0, "Weight of a penalty on the mean square of the outputs of the circuit's nodes.", least=0)
    strict: float = option(0.0, "Share of rows with something outside the circuit replaced (0: no strict term).")
    loudness: float = option(
        0.0, "Median over silent nodes of their deviation, in units of the circuit's, to reach.", least=0
    )


@dataclass(frozen=True)
class NaturalConfig(IitConfig):
    """Behaviour alone: training on the task, without a constraint on where it is computed."""

    interchange: float = option(0.0, "Share of rows with a reference variable taken from the source (0: no IIT term).")
